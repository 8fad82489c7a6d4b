"""The C library beside this file, compiled for the machine that it runs on.

A compiler is not everywhere, and OpenMP neither: where either is missing, `library` says so in the
log, and callers do without. Nothing of Python or PyTorch is compiled against, so one build serves
all versions of both; the threads are PyTorch's own, since its OpenMP has been loaded before.
"""

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import torch

from clustersae.runtime.environment import user_cache
from clustersae.runtime.errors import InputError

logger = logging.getLogger(__name__)

SOURCES = [Path(__file__).with_name(name) for name in ("step.h", "topk.c", "step.c")]
# No -ffast-math: a NaN must stay one, and linking with it changes the rounding of the process.
FLAGS = [
    *("-O3", "-march=native", "-fopenmp", "-shared", "-fPIC"),
    *("-fno-math-errno", "-fassociative-math", "-fno-signed-zeros", "-fno-trapping-math"),
    *(["-mprefer-vector-width=512"] if platform.machine() in ("x86_64", "AMD64") else []),
]
#: Set to 0, nothing is compiled, and training takes PyTorch's own operations.
SWITCH = "CLUSTERSAE_NATIVE"


class Step(ctypes.Structure):
    """The `Step` of step.c, field by field."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("rows", "d_model", "d_sae", "k", "threads", "block")),
        *((name, ctypes.c_void_p) for name in ("W_dec", "W_enc", "b_enc", "b_dec")),
        *(
            (f"{moment}_{name}", ctypes.c_void_p)
            for name in ("W_dec", "W_enc", "b_enc", "b_dec")
            for moment in "mv"
        ),
        *(
            (name, ctypes.c_void_p)
            for name in (
                *("updates", "silent_for", "centred", "indices", "values", "grad", "grad_values"),
                *("half_centred", "half_W_enc", "norm_centred", "error_centred"),
                *("norm_W_enc", "error_W_enc"),
                *("starts", "tokens", "by_latent", "grad_by_latent", "squares", "norms"),
                *("grad_sums", "bias_sums", "grad_b_enc", "kept"),
                *("place", "aux_W_dec", "aux_W_enc", "aux_b_enc"),
            )
        ),
    ]


@cache
def library() -> ctypes.CDLL | None:
    """The compiled library, from the cache if it is there; None where it cannot be had."""
    if os.environ.get(SWITCH, "1") == "0":
        return None
    try:
        found = ctypes.CDLL(str(_build()))
    except (OSError, subprocess.SubprocessError, InputError) as error:
        logger.info(
            "SAEs are trained and read without compiled code, more slowly: %s", _reason(error)
        )
        return None
    step, pointer, integer = ctypes.POINTER(Step), ctypes.c_void_p, ctypes.c_int64
    found.centre.argtypes = [step, pointer]
    found.topk.argtypes = [pointer, pointer, integer, integer, integer, pointer, pointer, integer]
    found.topk_rescored.argtypes = [step, pointer, integer, integer]
    found.halve_W_enc.argtypes = [step]
    found.reconstruct.argtypes, found.reconstruct.restype = [step, pointer], ctypes.c_double
    found.update.argtypes = [step, ctypes.c_double, ctypes.c_double, integer]
    found.update.restype = ctypes.c_double
    return found


def largest(pre: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor] | None:
    """The k largest positive of pre-activations [..., d_sae]: values, indices int64 [..., k].

    Exact, in no order, and several times as fast as `torch.topk`. What is missing is value 0 of
    latent 0, and gradients do not pass. None where it cannot be had: without the library, off the
    CPU, in another number format than float32, or if something is no number, which must show.
    """
    found = library()
    if found is None or pre.device.type != "cpu" or pre.dtype != torch.float32:
        return None
    if pre.sum().isnan():
        return None
    rows, bias = pre.detach().contiguous(), pre.new_zeros(pre.shape[-1])
    values = pre.new_empty(*pre.shape[:-1], k)
    indices = torch.empty_like(values, dtype=torch.int32)
    size = (pre[..., 0].numel(), pre.shape[-1], k)
    chosen = address(indices), address(values)
    found.topk(address(rows), address(bias), *size, *chosen, torch.get_num_threads())
    return values, indices.long()


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        return f"the compiler says {error.stderr.strip().splitlines()[-1:]}"
    return str(error)


def _build() -> Path:
    """The library's file; made under another name first, so that jobs may start side by side."""
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("cc")
    if not compiler:
        raise FileNotFoundError("there is no C compiler (gcc) on the PATH")
    told = [*(source.read_bytes() for source in SOURCES), " ".join(FLAGS).encode(), _processor()]
    digest = hashlib.sha256(b"\0".join([*told, compiler.encode()])).hexdigest()[:16]
    folder = user_cache()
    file = folder / f"sae-{digest}.so"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            made = Path(scratch, file.name)
            sources = [str(source) for source in SOURCES if source.suffix == ".c"]
            command = [compiler, *FLAGS, *sources, "-o", str(made), "-lm"]
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
            made.replace(file)
    return file


def multiplies_bfloat16() -> bool:
    """Whether the processor has instructions for it: twice the speed of single precision."""
    return any(flag in _processor().split() for flag in (b"avx512_bf16", b"amx_bf16"))


@cache
def _processor() -> bytes:
    """What -march=native depends on: a home directory may be shared by unlike machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    told = {line for line in lines if line.startswith(("flags", "Features", "model name"))}
    return "\n".join([platform.machine(), *sorted(told)]).encode()


def address(tensor: torch.Tensor) -> int:
    """Where the values of a contiguous tensor on the CPU lie."""
    if not tensor.is_contiguous() or tensor.device.type != "cpu":
        raise ValueError("Compiled steps take contiguous tensors on the CPU.")
    return tensor.data_ptr()
