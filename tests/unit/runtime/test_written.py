"""A file that no longer holds what was written is refused by name; anything else is let through."""

import json
import os
import shutil
from hashlib import sha256
from pathlib import Path

import pandas as pd
import pytest
import torch

from clustersae.presentation.tables import read_file, write_table
from clustersae.runtime import written
from clustersae.runtime.errors import InputError
from clustersae.runtime.files import read_json, replacing, write_json, write_text
from clustersae.runtime.tensors import save_tensors


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A working directory of Snakemake."""
    (tmp_path / "project" / ".snakemake").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def write_parquet(path):
    with replacing(path) as temporary:
        pd.DataFrame({"a": [1, 2]}).to_parquet(temporary)


WRITERS = {
    "results/x.json": lambda path: write_json(path, {"a": 123456}),
    "results/x.csv": lambda path: write_table(pd.DataFrame({"a": [123456]}), path),
    "results/x.parquet": write_parquet,
    "results/x.safetensors": lambda path: save_tensors(path, {"a": torch.ones(3)}),
    "results/x.txt": lambda path: write_text(path, "It is so.\n"),
    "results/x.svg": lambda path: write_text(path, "<svg/>"),
}


def flipped(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


DAMAGES = {"flipped": flipped, "cut": lambda x: x[:-1], "emptied": lambda x: b""}


@pytest.mark.parametrize("damage", ["flipped", "cut", "emptied"])
@pytest.mark.parametrize("name", WRITERS)
def test_any_damage_to_any_kind_of_file_is_named(project, name, damage):
    WRITERS[name](Path(name))
    written.check([name, project / name])
    status = os.stat(name)
    Path(name).write_bytes(DAMAGES[damage](Path(name).read_bytes()))
    os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns))  # disks set no time stamps
    for given in (name, project / name):
        with pytest.raises(InputError, match=r"results/x\.\w+ is damaged: .*Delete it and run"):
            written.check([given])


def test_readers_of_json_and_tables_compare_by_themselves(project):
    WRITERS["results/x.json"](Path("results/x.json"))
    WRITERS["results/x.csv"](Path("results/x.csv"))
    assert read_json("results/x.json") == {"a": 123456}
    Path("results/x.json").write_text(json.dumps({"a": 123457}))
    Path("results/x.csv").write_text("a\n123457\n")
    for read in (read_json, read_file):
        name = "results/x.json" if read is read_json else "results/x.csv"
        with pytest.raises(InputError, match="is damaged"):
            read(name)


def test_a_file_that_was_written_again_is_whole(project):
    for value in (1, 2):
        write_json("results/x.json", value)
    assert read_json("results/x.json") == 2


def test_what_was_not_written_here_is_let_through(project, tmp_path):
    outside = tmp_path / "x.json"
    write_json(outside, 1)
    outside.write_text("2")
    Path("given.json").write_text("3")
    written.check([outside, "given.json", "absent.json"])
    assert not list((project / ".snakemake").iterdir())


def test_without_snakemake_nothing_is_noted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_json("x.json", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_pieces_of_a_page_are_not_noted(project):
    write_text("results/x.js", "clustersae.take();")
    assert not list((project / ".snakemake").iterdir())


def test_a_writer_killed_after_the_renaming_leaves_no_false_record(project, monkeypatch):
    write_json("results/x.json", 1)

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(written, "remember", killed)
    with pytest.raises(KeyboardInterrupt):
        write_json("results/x.json", 2)
    assert read_json("results/x.json") == 2


@pytest.mark.parametrize("record", ["", "a\n", "a\nb\nc\nd\n"])
def test_a_record_that_is_no_record_says_nothing(project, record):
    write_json("results/x.json", 1)
    (written.RECORDS / "results" / "x.json").write_text(record)
    assert read_json("results/x.json") == 1


def test_large_files_are_read_only_where_their_stamp_has_changed(project, monkeypatch):
    monkeypatch.setattr(written, "LARGE", 3)
    write_text("results/x.txt", "long enough")
    read = []
    digest = written._sha256
    monkeypatch.setattr(
        written, "_sha256", lambda path, kind: read.append(path) or digest(path, kind)
    )
    written.check(["results/x.txt"])
    assert read == []
    # As Snakemake does once a job has ended: the first job that reads it finds it whole.
    os.utime("results/x.txt", (1, 1))
    for _ in range(3):
        written.check(["results/x.txt"])
    assert read == [Path("results/x.txt")]
    Path("results/x.txt").write_text("long enougt")
    for _ in range(2):  # a wrong one is not noted
        with pytest.raises(InputError, match="damaged"):
            written.check(["results/x.txt"])


def test_what_a_whole_file_holds_is_known_of_those_with_checksums_as_well(project, monkeypatch):
    """Their records are of the header alone."""
    monkeypatch.setattr(written, "LARGE", 3)
    save_tensors("results/x.safetensors", {"a": torch.ones(9)}, with_checksums=True)
    write_text("results/x.txt", "long enough")
    Path("given.bin").write_bytes(b"given")
    for name in ("results/x.safetensors", "results/x.txt", "given.bin"):
        for _ in range(2):
            assert written.sha256(Path(name)) == sha256(Path(name).read_bytes()).hexdigest()
            os.utime(name, (1, 1))


def test_a_project_that_was_moved_or_copied_is_whole(project, tmp_path, monkeypatch):
    write_json("results/x.json", 1)
    shutil.copytree(project, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    assert read_json("results/x.json") == 1
    Path("results/x.json").write_text("2")
    with pytest.raises(InputError, match="damaged"):
        read_json("results/x.json")


@pytest.mark.parametrize("damage", [lambda x: flipped(x[:64]) + x[64:], lambda x: x[:-1]])
def test_of_a_file_with_checksums_the_header_and_the_length_are_compared(project, damage):
    path = Path("results/x.safetensors")
    save_tensors(path, {"a": torch.ones(1000)}, with_checksums=True)
    whole, before = path.read_bytes(), written.digest(path)
    path.write_bytes(flipped(whole))  # for whoever reads that tensor to notice
    written.check([path])
    assert written.digest(path) == before
    path.write_bytes(damage(whole))
    with pytest.raises(InputError, match="damaged"):
        written.check([path])


def test_snakemake_is_told_what_a_file_holds_and_not_when_it_was_written(project):
    write_json("results/x.json", 1)
    before = written.digest(Path("results/x.json"))
    os.utime("results/x.json", (1, 1))
    assert written.digest(Path("results/x.json")) == before
    write_json("results/x.json", 2)
    assert written.digest(Path("results/x.json")) not in (before, None)
    assert written.digest(Path("results/y.json")) is None


def test_what_a_wrong_clock_has_dated_in_the_future_is_of_now(project):
    for name, date in (("a", 500), ("b", 1500)):
        write_json(f"results/x/{name}.json", 1)
        os.utime(f"results/x/{name}.json", (date, date))
    Path("given.json").touch()
    os.utime("given.json", (1500, 1500))
    write_json("results/x/d.json", 1)
    Path("results/x/d.json").unlink()
    written.date_no_later_than(1000)
    dates = {
        file.name: file.stat().st_mtime
        for file in Path().rglob("[abg]*.json")
        if file.parts[0] != ".snakemake"
    }
    assert dates["a.json"] == 500
    assert dates["b.json"] == 1000
    assert dates["given.json"] == 1500
    assert read_json("results/x/b.json") == 1
