"""The command for a GPU, rehearsed on a CPU: pieces, stages, limits, a killed stage, the report."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from gguf_files import tiny_llama, write_gguf
from gpu import content, packing, report
from gpu.driver import Driver
from gpu.record import DONE, STOPPED
from gpu.stages import STAGES, chosen

from clustersae.runtime.errors import InputError
from clustersae.runtime.files import read_json

REPOSITORY = Path(__file__).parents[2]
REHEARSAL = REPOSITORY / "tests" / "gpu" / "rehearsal.yaml"
SENTENCES = "The cat sat on the mat. To be or not to be, that is what they ask!<|endoftext|>\n"


@pytest.fixture(scope="module")
def pack(tmp_path_factory) -> Path:
    """Two texts and a tiny model, in pieces of which the weights take several."""
    folder = tmp_path_factory.mktemp("packed")
    texts = [folder / "plays.txt", folder / "stories.txt"]
    for number, text in enumerate(texts):
        text.write_text("".join(f"{number}{i % 7} {SENTENCES}" for i in range(400)))
    model = write_gguf(tiny_llama(), folder / "tiny.gguf")
    files = dict(zip((content.SHAKESPEARE, content.STORIES, content.MODEL), (*texts, model)))
    assert len(packing.pack(files, folder / "pieces", piece_bytes=150_000)) > 2
    return folder / "pieces"


#: In one thread, as all tests.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def command_line(*given: str | Path) -> list[str]:
    return [sys.executable, str(REPOSITORY / "tests" / "gpu" / "run.py"), *map(str, given)]


def places(pack: Path, folder: Path) -> tuple[str | Path, ...]:
    return ("--pack", pack, "--work", folder / "work", "--out", folder / "out")


def run(pack: Path, folder: Path, *given: str, settings: Path = REHEARSAL):
    line = command_line("run", *places(pack, folder), "--settings", settings, *given)
    return subprocess.run(line, capture_output=True, text=True, env=ENVIRONMENT)


@pytest.mark.long
def test_every_stage_runs_and_the_report_tells_of_it(pack, tmp_path):
    done = run(pack, tmp_path, "--budget", "20")
    log = (tmp_path / "out" / "log.txt").read_text()
    assert done.returncode == 0, done.stdout + log
    records = {stage.letter: read_json(tmp_path / "out" / stage.file) for stage in STAGES}
    assert {each["status"] for each in records.values()} == {DONE}
    # What comes back from a machine must be few files, in no folders.
    assert len(list((tmp_path / "out").iterdir())) <= 8
    assert all(path.is_file() for path in (tmp_path / "out").iterdir())

    assert {each["outcome"] for each in records["a"]["tests"].values()} <= {"passed", "skipped"}
    assert records["a"]["precision"]["float32_products"] == "float32"
    assert records["b"]["compared"][0]["ours_ms"] > 0
    assert set(records["c"]["seeds"]) == {"1337", "1338", "1339"}
    assert records["d"]["trainings"]["enwik8"]["published_seconds"] == 2372.0
    assert records["e"]["caching"]["float32, 4 rows"]["ratio"] > 0
    assert records["e"]["seeds"] == records["f"]["seeds"] == [0, 1]
    assert 1280 <= records["e"]["training_tokens"] <= 3840
    assert records["c"]["training"] == {"dtype": "bfloat16", "compiled": False}
    assert "fine-tuned" in records["e"]["files"]["verdict.txt"]
    assert set(records["g"]["exponents"]) == {"with_d_sae", "with_k"}

    page = report.write(tmp_path / "out", tmp_path / "docs")
    text = page.read_text()
    assert page.parent.name == "cpu"
    assert all(f"## {stage.letter}. {stage.title}" in text for stage in STAGES)
    assert {path.name for path in (page.parent / "model").iterdir()} >= {
        *("arms.csv", "verdict.txt", "specialise.png", "quality_cost.png")
    }
    assert "left out: sae_lens" in text  # not installed here, and said so

    again = run(pack, tmp_path, "--budget", "20")
    assert again.returncode == 0
    assert (tmp_path / "out" / "log.txt").read_text() == log, "what is done is not done again"


@pytest.mark.long
def test_a_stage_killed_half_way_goes_on_where_it_was(pack, tmp_path):
    settings = yaml.safe_load(REHEARSAL.read_text())
    settings["e"]["changes"]["sae"]["seeds"] = list(range(40))
    long = tmp_path / "long.yaml"
    long.write_text(yaml.safe_dump(settings))
    (stage,) = chosen("e")
    saes = tmp_path / "work" / "results" / "smollm2" / "saes"
    process = subprocess.Popen(
        command_line("run", *places(pack, tmp_path), "--settings", long, "--stages", "e"),
        stdout=subprocess.DEVNULL,
        env=ENVIRONMENT,
    )
    while not list(saes.glob("*/*/seed-1/training.json")):
        assert process.poll() is None, (tmp_path / "work" / "log.txt").read_text()
        time.sleep(0.05)
    process.terminate()  # as a machine does with a command whose time is over
    assert process.wait(30) == 143
    known = read_json(tmp_path / "out" / stage.file)
    assert known["caching"], "what was known is outside"
    assert known["use"]["peak_host_memory_mb"] > 0, "and what it took"
    trained = {path: path.stat().st_mtime_ns for path in saes.glob("*/*/seed-*/training.json")}
    assert len(trained) > 3
    time.sleep(1)
    assert trained.keys() == set(saes.glob("*/*/seed-*/training.json")), "nothing runs on"

    settings["e"]["changes"]["sae"]["seeds"] = [0, 1]
    for reserve, seeds in ((10_000, [0]), (1, [0, 1])):  # no time for more than one; then there is
        settings["e"]["reserve"] = reserve
        long.write_text(yaml.safe_dump(settings))
        done = run(pack, tmp_path, "--stages", "e", "--budget", "5", settings=long)
        assert done.returncode == 0, (tmp_path / "out" / "log.txt").read_text()
        found = read_json(tmp_path / "out" / stage.file)
        assert (found["status"], found["seeds"]) == (DONE, seeds)
        assert f"{len(seeds)} of 2 seeds" in done.stdout
    assert all(path.stat().st_mtime_ns == time for path, time in trained.items())


SLEEPER = """
import sys, time
from pathlib import Path
record = Path(sys.argv[sys.argv.index("--work") + 1]) / "records" / "a-tests.json"
record.write_text('{"status": "running", "found": 1}')
time.sleep(60)
"""


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """A driver whose stages write one figure, and then sleep."""
    folder = tmp_path / "stages"
    folder.mkdir()
    (folder / "run.py").write_text(SLEEPER)
    monkeypatch.setattr("gpu.driver.HERE", folder)
    return Driver(REHEARSAL, tmp_path / "work", tmp_path / "out", budget=10)


def test_a_stage_is_stopped_at_its_limit_and_keeps_what_it_found(driver, tmp_path, capsys):
    driver.settings["a"] |= {"limit": 1.5}
    began = time.monotonic()
    assert driver.run(chosen("a"))
    assert time.monotonic() - began < 15
    record = read_json(tmp_path / "out" / "a-tests.json")
    assert (record["status"], record["found"], record["limit_seconds"]) == (STOPPED, 1, 1.5)
    assert "a tests: stopped at its time limit" in capsys.readouterr().out


def test_a_stage_for_which_there_is_no_time_is_not_begun(driver, tmp_path):
    driver.settings["c"] |= {"least": 700}
    assert driver.run(chosen("c"))
    status = read_json(tmp_path / "out" / "c-characters.json")["status"]
    assert status.startswith("not begun: ")
    assert status.endswith("it needs 700 s")


def test_a_stage_that_dies_has_failed_and_the_next_has_its_turn(driver, tmp_path):
    (tmp_path / "stages" / "run.py").write_text("import sys; sys.exit(3)")
    assert not driver.run(chosen("a,g"))
    for stage in chosen("a,g"):
        record = read_json(tmp_path / "out" / stage.file)
        assert (record["status"], record["error"]) == (
            *("failed", "its process ended with 3; see log.txt"),
        )


def test_pieces_may_come_one_after_the_other(pack, tmp_path):
    coming, target = tmp_path / "coming", tmp_path / "target"
    coming.mkdir()
    shutil.copy(pack / packing.MANIFEST, coming)
    pieces = sorted(pack.glob("piece-*.bin"))
    states = []
    for piece in pieces:
        for old in coming.glob("piece-*.bin"):
            old.unlink()
        shutil.copy(piece, coming)
        states.append(packing.unpack(coming, target))
    assert set(states[0]["whole"]) == {content.SHAKESPEARE, content.STORIES}
    assert states[0]["lacking"] == [content.MODEL]
    assert states[-1]["lacking"] == []
    manifest = json.loads((pack / packing.MANIFEST).read_text())
    for name, facts in manifest["files"].items():
        assert packing.sha256(target / name) == facts["sha256"]


def test_a_damaged_piece_is_refused(pack, tmp_path):
    shutil.copytree(pack, tmp_path / "copy")
    piece = tmp_path / "copy" / "piece-2.bin"
    data = bytearray(piece.read_bytes())
    data[7] ^= 1
    piece.write_bytes(data)
    with pytest.raises(InputError, match=r"piece-2\.bin is damaged: its checksum"):
        packing.unpack(tmp_path / "copy", tmp_path / "target")


def test_files_that_end_with_a_piece_leave_no_empty_one(tmp_path):
    files = {}
    for name, size in (("one", 30), ("two", 30), ("empty", 0)):
        files[name] = tmp_path / name
        files[name].write_bytes(os.urandom(size))
    pieces = packing.pack(files, tmp_path / "pieces", piece_bytes=20)
    assert [piece.stat().st_size for piece in pieces] == [20, 20, 20]
    packing.unpack(tmp_path / "pieces", tmp_path / "target")
    assert all(
        (tmp_path / "target" / name).read_bytes() == path.read_bytes()
        for name, path in files.items()
    )


def test_a_stage_that_there_is_none_of_is_named():
    with pytest.raises(InputError, match="--stages has z; there are a tests, b steps"):
        chosen("a,z")


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
def test_without_a_gpu_a_stage_says_so(pack, tmp_path):
    settings = yaml.safe_load(REHEARSAL.read_text()) | {"device": "cuda"}
    (tmp_path / "cuda.yaml").write_text(yaml.safe_dump(settings))
    done = run(pack, tmp_path, "--stages", "g", settings=tmp_path / "cuda.yaml")
    assert done.returncode == 1
    assert "no GPU can be used here" in done.stdout
