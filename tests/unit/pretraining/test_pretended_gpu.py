"""The pretended GPU that other tests rely on refuses what CUDA refuses, and nothing else."""

import numpy as np
import pytest
import torch
from pretended_gpu import DEVICE, PretendedGPU, choose

here = torch.arange(6.0).view(2, 3)
places = torch.tensor([1, 0])

REFUSED = {
    "sum": lambda there: there + here,
    "sum in place": lambda there: there.add_(here),
    "product": lambda there: here @ there.T,
    "linear map": lambda there: torch.nn.functional.linear(there, here),
    "concatenation": lambda there: torch.cat([there, here]),
    "stack": lambda there: torch.stack([here, there]),
    "embedding": lambda there: torch.nn.functional.embedding(places, there),
    "gather": lambda there: there.gather(0, places.view(2, 1)),
    "selection by index_select": lambda there: there.index_select(0, places),
    "a mask": lambda there: there.masked_fill(here > 2, 0.0),
    "where": lambda there: torch.where(here > 2, there, 0.0),
    "values put at indices": lambda there: there.index_put_((places,), here),
    "number that is no pointwise operand": lambda there: torch.stack([there[0, 0], here[0, 0]]),
}


@pytest.mark.parametrize("what", REFUSED)
def test_tensors_of_both_devices_are_refused(what):
    with PretendedGPU(), pytest.raises(RuntimeError, match="on the GPU and on the CPU"):
        REFUSED[what](here.to(DEVICE))


def test_indices_on_the_gpu_for_a_tensor_on_the_cpu_are_refused():
    with PretendedGPU(), pytest.raises(RuntimeError, match="indices on the GPU"):
        here[places.to(DEVICE)]


def test_an_array_needs_a_copy_on_the_cpu():
    with PretendedGPU():
        there = here.to(DEVICE)
        for make in (np.asarray, lambda x: x.numpy()):
            with pytest.raises(TypeError):
                make(there)
        np.testing.assert_array_equal(there.cpu().numpy(), here.numpy())


def test_a_generator_of_the_cpu_is_refused():
    with PretendedGPU(), pytest.raises(RuntimeError, match="generator of the CPU"):
        torch.rand(3, device=DEVICE, generator=torch.Generator())


ALLOWED = {
    "number from the CPU": lambda x: x * torch.tensor(2.0),
    "number that is put": lambda x: x.index_put_((places.to(x.device),), torch.tensor(3.0)),
    "indices from the CPU": lambda x: x[places],
    "list of indices": lambda x: x[[1, 0], 1:],
    "assignment to a list of indices": lambda x: x.__setitem__([1], 5.0) or x,
    "copy": lambda x: x.copy_(here.flip(0)),
    "view that is written to": lambda x: x[0].zero_().shape and x,
    "tensor made there": lambda x: x + torch.tensor([1.0, 2, 3], device=x.device),
    "array": lambda x: x + torch.as_tensor(np.ones(3, dtype="f4"), device=x.device),
    "made like it": lambda x: torch.zeros_like(x) + x.new_ones(3) + torch.ones(3, device=x.device),
    "sparse product": lambda x: (
        torch.sparse_csr_tensor(
            *(torch.tensor(each, device=x.device) for each in ([0, 1, 2], [1, 0])),
            torch.ones(2, device=x.device),
            (2, 2),
        )
        @ x
    ),
}


@pytest.mark.parametrize("what", ALLOWED)
def test_what_cuda_can_do_gives_what_the_cpu_gives(what):
    expected = ALLOWED[what](here.clone())
    with PretendedGPU():
        there = ALLOWED[what](here.clone().to(DEVICE))
        assert there.device == DEVICE
        assert torch.equal(there.cpu(), expected)


def test_a_copy_on_the_other_device_is_other_memory():
    with PretendedGPU():
        there = here.to(DEVICE)
        there += 1
        assert torch.equal(there.cpu(), here + 1)
        back = there.cpu()
        back.zero_()
        assert torch.equal(there.cpu(), here + 1)


WAITING = {
    "value": lambda x: x.sum().item(),
    "truth": lambda x: bool(x.any()),
    "shape": lambda x: x.nonzero(),
    "mask": lambda x: x[x > 2],
    "values put at a mask": lambda x: x.__setitem__(x > 2, 0.0),
    "copy to the CPU": lambda x: x.cpu(),
    "list": lambda x: x.tolist(),
    "copy from the CPU": lambda x: places.to(x.device),
    "tensor from numbers": lambda x: torch.tensor([1.0], device=x.device),
    "indices on the CPU": lambda x: x[places],
    "different values": lambda x: x.unique(),
}


@pytest.mark.parametrize("what", WAITING)
def test_what_the_host_waits_for_is_written_down(what):
    with PretendedGPU() as gpu:
        there = here.to(DEVICE)
        assert len(gpu.waits) == 1  # for the copy
        gpu.waits.clear()
        WAITING[what](there)
        assert len(gpu.waits) == 1


def test_copies_to_the_cpu_are_told_from_those_to_the_gpu():
    with PretendedGPU() as gpu:
        there = here.to(DEVICE)
        there.cpu()
        torch.empty(2, 3).copy_(there)
        there.copy_(here)
    back = ["aten._to_copy.default to the CPU", "aten.copy_.default to the CPU"]
    assert gpu.waits == ["aten._to_copy.default", *back, "aten.copy_.default"]


def test_nobody_waits_for_arithmetic():
    with PretendedGPU() as gpu:
        there, indices = here.to(DEVICE), places.to(DEVICE)
        gpu.waits.clear()
        there[indices] = there.relu() @ torch.ones(3, 3, device=DEVICE) + 1
        there.masked_fill_(there > 2, 0.0).topk(2)
        torch.ones(2, 3).to(DEVICE, non_blocking=True)
        there.copy_(here, non_blocking=True)
        assert gpu.waits == []


@pytest.mark.parametrize("fused", [True, False])
def test_a_module_trains_there_as_on_the_cpu(fused):
    def trained(device):
        torch.manual_seed(0)
        embedding = torch.nn.Embedding(5, 4)
        head = torch.nn.Linear(4, 5, bias=False)
        head.weight = embedding.weight  # stays tied
        model = torch.nn.Sequential(embedding, torch.nn.LayerNorm(4), head).to(device)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=fused)
        tokens = torch.arange(5).to(device)
        for _ in range(3):
            optimizer.zero_grad()
            with torch.autocast(device.type, torch.bfloat16, enabled=False):
                loss = torch.nn.functional.cross_entropy(model(tokens), tokens)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        assert len(list(model.parameters())) == 3
        return [weight.detach().cpu() for weight in model.parameters()]

    expected = trained(torch.device("cpu"))
    with PretendedGPU():
        for weight, other in zip(trained(DEVICE), expected):
            torch.testing.assert_close(weight, other)


def test_a_graph_does_again_what_was_recorded_on_the_same_memory():
    asked = []

    def function():
        asked.append(1)
        x.add_(y * 2)
        return x[0] + torch.rand(3, device=DEVICE)

    with PretendedGPU() as gpu:
        x, y = here.to(DEVICE), torch.ones(3, device=DEVICE)
        torch.manual_seed(5)
        replay = gpu.record(function)
        assert torch.equal(x.cpu(), here)  # recorded, not run
        expected = torch.rand(3)
        torch.manual_seed(5)
        first = replay()
        torch.testing.assert_close(first.cpu(), here[0] + 2 + expected)
        y.fill_(10)
        assert replay() is first  # overwritten
        assert torch.equal(x.cpu(), here + 22)
    assert len(asked) == 1


def test_a_graph_cannot_wait_and_takes_nothing_from_the_host():
    with PretendedGPU() as gpu:
        there = here.to(DEVICE)
        with pytest.raises(RuntimeError, match="no host can wait for a GPU in a graph"):
            gpu.record(lambda: there * there.max().item())
        with pytest.raises(RuntimeError, match="memory of the host"):
            gpu.record(lambda: there + here.to(DEVICE, non_blocking=True))
        number = torch.tensor(2.0)
        replay = gpu.record(lambda: there * number)
        number.fill_(3.0)  # too late
        assert torch.equal(replay().cpu(), 2 * here)


def test_what_a_graph_returns_holds_nothing_before_it_is_replayed():
    with PretendedGPU() as gpu:
        there, outputs = here.to(DEVICE), []
        gpu.record(lambda: outputs.append(there + 1) or outputs[0])
        assert outputs[0].isnan().all()


@pytest.mark.parametrize("capturable", [False, True])
def test_a_recorded_optimiser_must_be_capturable(capturable):
    with PretendedGPU() as gpu:
        weight = torch.nn.Parameter(here.to(DEVICE))
        optimizer = torch.optim.AdamW([weight], lr=0.1, fused=True, capturable=capturable)
        weight.grad = torch.ones_like(weight)
        if capturable:
            gpu.record(lambda: optimizer.step() or weight)
        else:
            with pytest.raises(RuntimeError, match="must be capturable"):
                gpu.record(lambda: optimizer.step() or weight)


def test_nothing_is_left_behind():
    before = torch.tensor, torch.autocast, torch.__future__.get_swap_module_params_on_conversion()
    with PretendedGPU():
        there = here.to(DEVICE)
    after = torch.tensor, torch.autocast, torch.__future__.get_swap_module_params_on_conversion()
    assert before == after
    with pytest.raises(RuntimeError, match="no PretendedGPU is entered"):
        there + 1


def test_a_job_without_a_gpu_gets_the_cpu():
    assert choose(0) == torch.device("cpu")
