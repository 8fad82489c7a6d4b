"""The step in Triton where there is no GPU: compiled for one, interpreted, or done without."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sae_settings_of import topk_settings

from clustersae.sae import native, training, triton_step
from clustersae.sae.architectures.topk import TopK
from clustersae.sae.triton_step import triton_step as chosen

TESTS = Path(__file__).parents[2]
INTERPRETED = (
    TESTS / "gpu" / "test_triton_on_gpu.py",
    Path(__file__).with_name("interpreted_triton.py"),
)
NO_TRITON = "triton is not installed: pip install -r envs/triton.txt"
SETTINGS = topk_settings(20, 3, n_steps=9, batch_size=8, auxk_alpha=0.0, dead_after=100)


@pytest.fixture(autouse=True)
def fresh():
    triton_step._tried.cache_clear()
    yield
    triton_step._tried.cache_clear()


def release(package) -> tuple[int, ...]:
    return tuple(map(int, package.__version__.split(".")[:2]))


def step():
    return chosen(TopK((0,), 20, 3, torch.zeros(1, 8), torch.ones(1)), SETTINGS)


@pytest.mark.parametrize("file", INTERPRETED, ids=lambda file: file.stem)
def test_in_the_interpreter(file):
    """In a process of its own: whether kernels are interpreted is settled by their import."""
    triton = pytest.importorskip("triton", reason=NO_TRITON)
    if release(triton) < (3, 7) and release(np) >= (2, 4):  # one element as the end of a loop
        pytest.skip("the interpreter of Triton before 3.7 needs NumPy before 2.4")
    environment = {"TRITON_INTERPRET": "1", "CLUSTERSAE_GPU_TESTS": "cpu", "OMP_NUM_THREADS": "1"}
    options = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "addopts="]
    options += ["-c", str(TESTS.parent / "pyproject.toml")]
    command = [sys.executable, "-m", "pytest", *options, file]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


#: Kernel → types of its arguments in Triton's words, and the constants of its `_row`.
FLOATS, INTEGERS = "*fp32", "*i32"
KERNELS = {
    "_products": ([*[FLOATS] * 3, INTEGERS, FLOATS, "i32", "i32"], {}),
    "_reconstruct": ([*[FLOATS] * 3, INTEGERS, *[FLOATS] * 4, "i32", "i32", "fp32"], {}),
    "_measure": ([*[FLOATS] * 6, "i32"], {}),
    "_update": ([*[FLOATS] * 13, "i32"], {"ONE": 0.1, "TWO": 0.001}),
}


def compiled(kernel, types, constants, capability, **options):
    """What a kernel is compiled to, for a card that need not be there."""
    from triton import compile as compile_kernel
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    names = kernel.arg_names
    signature = dict(zip(names, types)) | dict.fromkeys(names[len(types) :], "constexpr")
    source = ASTSource(
        kernel, signature, {(names.index(key),): constants[key] for key in constants}
    )
    return compile_kernel(source, target=GPUTarget("cuda", capability, 32), options=options)


@pytest.fixture
def kernels(tmp_path, monkeypatch):
    pytest.importorskip("triton", reason=NO_TRITON)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    return pytest.importorskip("clustersae.sae.triton_kernels")


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("name", KERNELS)
def test_kernels_compile_for_rows_of_real_models(kernels, name, capability):
    types, constants = KERNELS[name]
    for d_model in (576, 4096):
        row = kernels._row(d_model)
        options = {key: row[key] for key in row if key != "D"}
        constants = constants | {"D": row["D"]}
        made = compiled(getattr(kernels, name), types, constants, capability, **options)
        assert made.asm["cubin"]


@pytest.mark.parametrize("capability", [80, 90])
def test_kernels_compile_for_many_latents_and_entries(kernels, capability):
    from clustersae.sae.triton_topk import FUSED, _largest

    for pre in ("*fp32", "*bf16"):
        for named in (True, False):
            types = [pre, FLOATS, INTEGERS, INTEGERS, FLOATS, "i32", "i32"]
            constants = {"NAMED": named, "BLOCK": 1024}
            assert compiled(_largest, types, constants, capability, **FUSED).asm["cubin"]
    types = ["*i64", "*i64", *[FLOATS] * 7, "i32", "i32"]
    constants = {"E": kernels.ENTRIES, "D": kernels.DIMENSIONS}
    made = compiled(kernels._sum_entries, types, constants, capability, **FUSED)
    assert made.asm["cubin"]


def test_without_triton_the_log_says_so(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "clustersae.sae.triton_kernels", None)
    with caplog.at_level("INFO"):
        assert step() is None
    assert "without Triton's kernels, more slowly" in caplog.text


def test_where_kernels_fail_the_log_says_so(kernels, caplog):
    """Here: without the interpreter there is no device that they are compiled for."""
    with caplog.at_level("INFO"):
        assert step() is None
    assert "without Triton's kernels, more slowly: " in caplog.text


def test_the_switch_keeps_to_pytorch(monkeypatch, caplog):
    monkeypatch.setenv(native.SWITCH, "0")
    with caplog.at_level("INFO"):
        assert step() is None
    assert not caplog.text


def test_an_sae_on_cuda_is_trained_by_triton_or_else_by_pytorch(monkeypatch):
    sae = TopK.__new__(TopK)
    object.__setattr__(sae, "W_dec", SimpleNamespace(device=torch.device("cuda")))
    monkeypatch.setattr(training, "EagerStep", lambda *_: "PyTorch's")
    for made, expected in (("Triton's", "Triton's"), (None, "PyTorch's")):
        monkeypatch.setattr(training, "triton_step", lambda *_, made=made: made)
        assert training.choose_step(sae, SETTINGS) == expected
