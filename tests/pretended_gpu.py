"""A GPU that is only pretended: it computes on the CPU, and refuses what CUDA refuses.

Tensors on it say that they are on PyTorch's device "meta", which every build of PyTorch knows and
autograd runs without threads of its own. Their numbers lie in a tensor on the CPU, so that results
can be compared. Refused are tensors of both devices in one operation, arrays made of tensors that
are still on the GPU, and random numbers of a CPU's generator on it. What makes the host wait for a
GPU is written down, and what is recorded as a graph is replayed as CUDA does: without Python, on
the same memory. What is asked of CUDA by name (pinned memory, its compiler) is not pretended, nor
is autocast, which changes nothing here, and speed even less.
"""

import sys
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils import _pytree as tree
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing

DEVICE = torch.device("meta")

aten = torch.ops.aten
CROSSING = (aten._to_copy.default, aten.copy_.default)
#: May be given indices that lie on the CPU.
INDEXING = (aten.index.Tensor, aten.index_put.default, aten.index_put_.default)
#: The host needs a value, or the shape of the result.
READING = (
    *("aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal"),
    *("aten::unique", "aten::_unique", "aten::bincount", "aten::repeat_interleave.Tensor"),
)
#: Take numbers that are tensors of no dimension from the CPU, as pointwise operations do.
TAKING_NUMBERS = ("aten::_foreach_", "aten::_fused_", "aten::fill_", "aten::index_put")

#: Of optimisers, at each step; older PyTorch has it by the second name.
HEALTH_CHECK = next(
    name
    for name in ("_accelerator_graph_capture_health_check", "_cuda_graph_capture_health_check")
    if hasattr(torch.optim.Optimizer, name)
)


class OnGPU(Tensor):
    """A tensor on the pretended GPU."""

    numbers: Tensor  # on the CPU

    @staticmethod
    def __new__(cls, numbers: Tensor) -> "OnGPU":
        # Sparse matrices have no strides; nothing that is done with one asks.
        is_dense = numbers.layout is torch.strided
        dense = numbers if is_dense else torch.empty(numbers.shape, device="meta")
        made = Tensor._make_wrapper_subclass(
            cls,
            numbers.shape,
            strides=dense.stride(),
            storage_offset=dense.storage_offset(),
            dtype=numbers.dtype,
            device=DEVICE,
        )
        made.numbers = numbers
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, function, types, arguments=(), keywords=None):
        raise RuntimeError("the pretended GPU is in use, and no PretendedGPU is entered")

    def __getitem__(self, index: Any) -> Tensor:
        return super().__getitem__(_with_tensors(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        super().__setitem__(_with_tensors(index), value)

    def __repr__(self, **_: Any) -> str:
        return f"OnGPU({self.numbers})"

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def numpy(self, **_: Any) -> None:
        raise TypeError("a tensor on a GPU is no numpy array: copy it to the CPU first")

    __array__ = numpy


class PretendedGPU(TorchDispatchMode):
    """While entered, tensors can be made on DEVICE or be brought there.

    Attributes:
        waits: names of the operations for which the host waited since it was entered.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []
        self._patches = ExitStack()
        self._recording: Recording | None = None

    def __enter__(self) -> "PretendedGPU":
        for replaced in _replacements():
            self._patches.enter_context(replaced)
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._patches.close()

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        keywords = dict(keywords or {})
        given = [each for each in tree.tree_leaves((arguments, keywords)) if _is_tensor(each)]
        on_gpu = any(isinstance(each, OnGPU) for each in given)
        made_on = keywords.get("device")
        to_gpu = on_gpu if made_on is None else torch.device(made_on) == DEVICE
        if not (on_gpu or to_gpu):
            return function(*arguments, **keywords)
        _check(function, arguments, keywords, to_gpu)
        if _waits(function, arguments, keywords, to_gpu):
            self.waits.append(
                f"{function}{' to the CPU' * _brings_back(function, arguments, to_gpu)}"
            )
            if self._recording:
                raise RuntimeError(f"{function}: no host can wait for a GPU in a graph")
        if self._recording and _crosses(function, arguments, to_gpu):
            raise RuntimeError(f"{function}: memory of the host is not the same in a graph later")
        if made_on is not None:
            keywords["device"] = "cpu"
        bare = tree.tree_map_only(Tensor, self._bare, (arguments, keywords))
        if self._recording:
            result = self._recording.run(function, *bare)
        else:
            result = function(*bare[0], **bare[1])
        if function is aten.copy_.default:
            return arguments[0]
        if function is aten._to_copy.default and result is bare[0][0]:
            result = result.clone()  # another device, so other memory
        if not to_gpu:
            return result
        result = tree.tree_map_only(Tensor, OnGPU, result)
        if made_on is not None:
            return result
        return return_and_correct_aliasing(function, arguments, keywords, result)

    def _bare(self, each: Tensor) -> Tensor:
        if isinstance(each, OnGPU):
            return each.numbers
        return each.clone() if self._recording else each  # a number, which the graph holds

    def record(self, function: Callable[[], Tensor]) -> Callable[[], Tensor]:
        """What `graphs.record` does on CUDA: nothing is changed by the recording."""
        random = torch.random.get_rng_state()
        self._recording = recording = Recording()
        try:
            with patch.object(torch.optim.Optimizer, HEALTH_CHECK, _require_capturable):
                output = function()
        finally:
            self._recording = None
        recording.undo()
        torch.random.set_rng_state(random)

        def replay() -> Tensor:
            recording.replay()
            return output

        return replay


class Recording:
    """Operations on the CPU, with the tensors that they read and write."""

    def __init__(self) -> None:
        self._operations: list[tuple[Any, tuple, dict, list[Tensor]]] = []
        self._before: list[tuple[Tensor, Tensor]] = []  # what was written to, and a copy

    def run(self, function: Any, arguments: tuple, keywords: dict) -> Any:
        """Call `function` with tensors of the GPU, and numbers that are frozen from now on."""
        self._before += [(each, each.clone()) for each in _written(function, arguments, keywords)]
        result = function(*arguments, **keywords)
        if not function.is_view:
            results = tree.tree_leaves(result)
            self._operations.append((function, arguments, keywords, results))
        return result

    def undo(self) -> None:
        """As if nothing had been run; what was made along the way holds nothing yet."""
        for *_, results in self._operations:
            for each in results:
                if _is_tensor(each) and each.is_floating_point():
                    each.fill_(torch.nan)
        for tensor, copy in reversed(self._before):
            tensor.copy_(copy)

    def replay(self) -> None:
        for function, arguments, keywords, results in self._operations:
            again = tree.tree_leaves(function(*arguments, **keywords))
            for old, new in zip(results, again, strict=True):
                if _is_tensor(old) and new is not old:
                    old.copy_(new)


def _written(function: Any, arguments: tuple, keywords: dict) -> list[Tensor]:
    """The tensors among the arguments that `function` writes to."""
    schema = function._schema.arguments
    given = [*zip(schema, arguments)]
    given += [(each, keywords[each.name]) for each in schema if each.name in keywords]
    return [
        tensor
        for description, value in given
        if description.alias_info is not None and description.alias_info.is_write
        for tensor in tree.tree_leaves(value)
        if _is_tensor(tensor)
    ]


def choose(gpus: int = 0) -> torch.device:
    """For jobs of the workflow, in the place of `clustersae.runtime.device.choose`."""
    if gpus < 1:
        return torch.device("cpu")
    PretendedGPU().__enter__()  # until the process ends
    return DEVICE


def _check(function: Any, arguments: tuple, keywords: dict, to_gpu: bool) -> None:
    """Raise RuntimeError for what CUDA would refuse."""
    if to_gpu and keywords.get("generator") is not None:
        raise RuntimeError(f"{function}: a generator of the CPU for numbers on the GPU")
    if function in CROSSING:
        return
    tensors = tree.tree_leaves((arguments, keywords))
    if function in INDEXING:
        if not isinstance(arguments[0], OnGPU):
            raise RuntimeError(f"{function}: indices on the GPU, and what they index on the CPU")
        tensors = tree.tree_leaves(arguments[2:])
    name = function.name()
    takes_numbers = torch.Tag.pointwise in function.tags or name.startswith(TAKING_NUMBERS)
    for each in tensors:
        foreign = _is_tensor(each) and not isinstance(each, OnGPU)
        if foreign and not (each.dim() == 0 and takes_numbers):
            raise RuntimeError(f"{name}: tensors on the GPU and on the CPU ({tuple(each.shape)})")


def _waits(function: Any, arguments: tuple, keywords: dict, to_gpu: bool) -> bool:
    if function.name().startswith(READING):
        return True
    if function in INDEXING:
        indices = [each for each in arguments[1] if each is not None]
        return any(each.dtype is torch.bool or not isinstance(each, OnGPU) for each in indices)
    if not _crosses(function, arguments, to_gpu):
        return False
    in_passing = any(arguments[2:]) if function is aten.copy_.default else False
    return not (in_passing or keywords.get("non_blocking"))


def _crosses(function: Any, arguments: tuple, to_gpu: bool) -> bool:
    """Whether numbers go from one device to the other."""
    if function is aten.copy_.default:
        return isinstance(arguments[0], OnGPU) != isinstance(arguments[1], OnGPU)
    return function is aten._to_copy.default and isinstance(arguments[0], OnGPU) != to_gpu


def _brings_back(function: Any, arguments: tuple, to_gpu: bool) -> bool:
    """Whether numbers go to the CPU, where the host may decide something by them."""
    ends_on_gpu = isinstance(arguments[0], OnGPU) if function is aten.copy_.default else to_gpu
    return _crosses(function, arguments, to_gpu) and not ends_on_gpu


def _require_capturable(optimizer: torch.optim.Optimizer) -> None:
    if not all(group["capturable"] for group in optimizer.param_groups):
        raise RuntimeError("an optimiser whose steps are recorded must be capturable")


def _replacements() -> Iterable[Any]:
    """Patches of what PyTorch does not do on "meta" and does on CUDA."""
    autocast = torch.autocast

    class Autocast(autocast):
        def __init__(self, device_type: str, *arguments: Any, **keywords: Any) -> None:
            device_type = "cpu" if device_type == DEVICE.type else device_type
            super().__init__(device_type, *arguments, **keywords)

    yield patch.object(torch, "autocast", Autocast)
    for name in ("tensor", "as_tensor"):  # on "meta" these forget their data
        yield patch.object(torch, name, _made_on_the_cpu_first(getattr(torch, name)))
    for module in list(sys.modules.values()):  # fused optimisers
        # `hasattr` would ask packages that import their parts when these are asked for.
        if "_get_fused_kernels_supported_devices" in getattr(module, "__dict__", ()):
            yield patch.object(module, "_get_fused_kernels_supported_devices", _fused_devices)
    # Otherwise a module's weights become others on "meta", and tied ones two.
    yield patch.object(torch.__future__, "_swap_module_params_on_conversion", True)


def _fused_devices() -> list[str]:
    return ["cpu", DEVICE.type]


def _made_on_the_cpu_first(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def made(data: Any, *arguments: Any, device: Any = None, **keywords: Any) -> Tensor:
        if isinstance(data, Tensor):
            return make(data, *arguments, device=device, **keywords)
        result = make(data, *arguments, **keywords)
        return result if device is None else result.to(device)

    return made


def _with_tensors(index: Any) -> Any:
    """Lists of numbers as tensors: PyTorch makes them itself, on "meta" without their numbers."""
    if isinstance(index, tuple):
        return tuple(_with_tensors(each) for each in index)
    return torch.tensor(index) if isinstance(index, list) else index


def _is_tensor(each: Any) -> bool:
    return isinstance(each, Tensor)
