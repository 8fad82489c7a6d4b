"""Files are known by what they contain, whatever their time stamps say."""

import json
import os

import pytest

from clustersae.experiment import contents
from clustersae.experiment.contents import LARGE, contents_digest


@pytest.fixture
def memory(tmp_path):
    return tmp_path / "memory.json"


@pytest.fixture
def settled(monkeypatch):
    """Files count as old at once."""
    monkeypatch.setattr(contents, "UNSETTLED", -1)


def forget():
    """What a new process knows: the file of digests alone."""
    contents._remembered.cache_clear()


def replace(file, content, age=10_000):
    """Other content, time stamps further back than before."""
    file.write_bytes(content)
    os.utime(file, (age, age))


@pytest.mark.parametrize("size", [10, LARGE])
def test_a_file_replaced_by_an_older_one_of_equal_size_is_another(tmp_path, memory, size, settled):
    file = tmp_path / "model.safetensors"
    replace(file, b"a" * size, 20_000)
    before = contents_digest([file], memory)
    for _ in range(2):
        assert contents_digest([file], memory) == before
    replace(file, b"a" * (size - 1) + b"b")
    forget()
    assert contents_digest([file], memory) != before


def test_time_stamps_alone_change_nothing(tmp_path, memory, settled):
    for name, size in {"small": 10, "large": LARGE}.items():
        file = tmp_path / name
        replace(file, bytes(size))
        before = contents_digest([file], memory)
        os.utime(file)
        assert contents_digest([file], memory) == before


def test_a_large_file_is_read_once_even_by_several_processes(
    tmp_path, memory, settled, monkeypatch
):
    file = tmp_path / "large"
    replace(file, bytes(LARGE))
    before = contents_digest([file], memory)
    monkeypatch.setattr(contents.hashlib, "file_digest", lambda *_: pytest.fail("read again"))
    forget()
    assert contents_digest([file], memory) == before


def test_a_file_that_has_just_changed_is_not_trusted(tmp_path, memory):
    file = tmp_path / "large"
    file.write_bytes(bytes(LARGE))
    contents_digest([file], memory)
    assert not memory.exists()


def test_names_order_and_absence_count_and_folders_do_not(tmp_path, memory):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        for name in ("a", "b"):
            (tmp_path / folder / name).write_text(name)
    one, two = ([tmp_path / folder / name for name in ("a", "b")] for folder in ("one", "two"))
    before = contents_digest(one, memory)
    assert contents_digest(two, memory) == before
    assert contents_digest(one[::-1], memory) != before
    one[1].rename(tmp_path / "one" / "c")
    assert contents_digest([one[0], tmp_path / "one" / "c"], memory) != before
    assert contents_digest(one, memory) != before
    assert contents_digest([], memory) is None


def test_a_file_that_moves_to_another_folder_of_a_data_set_is_noticed(tmp_path, memory):
    for folder in ("train", "test"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "0.txt").write_text(folder)
    (tmp_path / "train" / "1.txt").write_text("more")
    before = contents_digest(sorted(tmp_path.rglob("*.txt")), memory)
    (tmp_path / "test" / "0.txt").rename(tmp_path / "test" / "2.txt")
    assert contents_digest(sorted(tmp_path.rglob("*.txt")), memory) != before


def test_a_damaged_memory_is_made_anew(tmp_path, memory, settled):
    file = tmp_path / "large"
    replace(file, bytes(LARGE))
    memory.write_text("{")
    contents_digest([file], memory)
    assert list(json.loads(memory.read_text())) == [str(file)]
