"""Files are whole or absent, and a damaged one is named."""

import errno
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import clustersae
from clustersae.runtime.errors import InputError
from clustersae.runtime.files import read_json, replacing, write_csv, write_json
from clustersae.runtime.tensors import checksum, load_tensors, save_tensors


def test_a_failed_writer_leaves_neither_the_file_nor_a_temporary_one(tmp_path):
    def write():
        with replacing(tmp_path / "x.json") as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write()
    assert list(tmp_path.iterdir()) == []


def test_a_failed_writer_keeps_the_old_file(tmp_path):
    write_json(tmp_path / "x.json", {"a": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert read_json(tmp_path / "x.json") == {"a": 1}


def test_a_full_disk_is_named(tmp_path):
    def write():
        with replacing(tmp_path / "x"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(InputError, match=r"No space left on the disk while writing .*x\. Free"):
        write()
    assert list(tmp_path.iterdir()) == []


WRITERS = {
    "tensors": "import torch; from clustersae.runtime.tensors import save_tensors as write;"
    ' write("disk/x", {"a": torch.zeros(10**5)})',
    "json": "from clustersae.runtime.files import write_json as write;"
    ' write("disk/x", ["a" * 10**5])',
    "csv": "from clustersae.runtime.files import write_csv as write;"
    ' write("disk/x", [{"a": "a" * 10**5}])',
}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_disk_that_is_really_full_is_named_and_left_clean(tmp_path, writer):
    """On a file system of 16 kB, mounted where only this test sees it."""
    (tmp_path / "disk").mkdir()
    python = shlex.quote(sys.executable)
    mounted = "mount -t tmpfs -o size=16k tmpfs disk"
    namespace = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    possible = (
        shutil.which("unshare")
        and not subprocess.run([*namespace, mounted], cwd=tmp_path, capture_output=True).returncode
    )
    if not possible:
        pytest.skip("needs unshare and permission to mount a small file system")
    script = f"{mounted} && {python} -c {shlex.quote(WRITERS[writer])}; ls -A disk"
    result = subprocess.run(
        [*namespace, script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(clustersae.__file__).parents[1])},
        capture_output=True,
        text=True,
    )
    assert result.stdout == ""  # nothing is left, under whatever name
    assert "InputError: No space left on the disk while writing disk/x. Free" in result.stderr


def test_written_files_have_ordinary_permissions(tmp_path):
    write_json(tmp_path / "x.json", 1)
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / "x.json").stat().st_mode & 0o777 == 0o666 & ~umask


def test_csv_keeps_full_precision(tmp_path):
    write_csv(tmp_path / "x.csv", [{"a": 1, "b": 1 / 3}])
    assert (tmp_path / "x.csv").read_text() == f"a,b\n1,{1 / 3!r}\n"


def test_tensors_come_back_as_they_were(tmp_path):
    tensors = {"a": torch.randn(3, 4).t(), "b": torch.ones(2, dtype=torch.bfloat16)}
    save_tensors(tmp_path / "x.safetensors", tensors, {"m": "1"})
    found, metadata = load_tensors(tmp_path / "x.safetensors")
    assert metadata == {"m": "1"}
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)


def test_the_same_tensors_and_metadata_are_the_same_bytes(tmp_path):
    tensors = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.ones(2)}
    metadata = {f"key {i}": f"“{i}”\n\t\x01" for i in range(12)}
    files = []
    for number in range(5):
        order = sorted(metadata, key=lambda name: hash((name, number)))
        path = tmp_path / f"{number}.safetensors"
        save_tensors(path, tensors, {name: metadata[name] for name in order})
        files.append(path.read_bytes())
    assert len(set(files)) == 1
    found, told = load_tensors(path)
    assert told == metadata
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize("keep", [0, 7, 100, -3])
def test_a_truncated_tensor_file_is_named(tmp_path, keep):
    path = tmp_path / "x.safetensors"
    save_tensors(path, {"a": torch.randn(100)})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"x\.safetensors is damaged or truncated"):
        load_tensors(path)


def test_checksum_sees_names_shapes_types_and_bytes():
    base = {"a": torch.arange(6.0), "b": torch.zeros(2)}
    others = [
        {"a": torch.arange(6.0).view(2, 3), "b": torch.zeros(2)},
        {"c": torch.arange(6.0), "b": torch.zeros(2)},
        {"a": torch.arange(6.0).to(torch.float64), "b": torch.zeros(2)},
        {"a": torch.arange(6.0) + 1e-6, "b": torch.zeros(2)},
    ]
    assert checksum(dict(reversed(base.items()))) == checksum(base)
    assert len({checksum(base), *(checksum(other) for other in others)}) == 5
