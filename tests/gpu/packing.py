"""Files for a machine without a network, in numbered pieces that travel one at a time.

The files are laid end to end, small ones first, and cut every so many bytes: the first piece alone
brings all small files, and large weights come in several. `manifest.json` says where in which piece
each file lies, and has the SHA-256 of every piece and file.
"""

import hashlib
import json
import logging
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from clustersae.runtime.errors import InputError
from clustersae.runtime.files import read_json, write_json

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
#: Of one piece. Below 60 MB, so that a checkout fits beside it where 64 MiB may travel at once.
PIECE_BYTES = 54_000_000
#: Beside what has been unpacked: which pieces have been taken.
TAKEN = "taken.json"
_BUFFER = 1 << 20


def pack(files: Mapping[str, Path], folder: Path, piece_bytes: int = PIECE_BYTES) -> list[Path]:
    """Write the pieces of `files` (name → where it lies) and the manifest; the pieces' paths.

    Raises:
        InputError: a file is not there.
    """
    for name, path in files.items():
        if not path.is_file():
            raise InputError(f"{path}, to be packed as {name}, does not exist: give another path.")
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("piece-*.bin"):
        old.unlink()
    ordered = sorted(files, key=lambda name: (files[name].stat().st_size, name))
    described: dict[str, Any] = {}
    pieces: list[Path] = []
    room = 0
    out: BinaryIO | None = None
    for name in ordered:
        digest = hashlib.sha256()
        parts: list[dict[str, int]] = []
        with open(files[name], "rb") as source:
            while True:
                if room == 0:
                    if out:
                        out.close()
                    pieces.append(folder / f"piece-{len(pieces) + 1}.bin")
                    out, room = open(pieces[-1], "wb"), piece_bytes  # noqa: SIM115
                data = source.read(min(room, _BUFFER))
                if not data:
                    break
                assert out is not None
                _extend(parts, len(pieces), out.tell(), len(data))
                out.write(data)
                digest.update(data)
                room -= len(data)
        size = sum(part["bytes"] for part in parts)
        described[name] = {"bytes": size, "sha256": digest.hexdigest(), "parts": parts}
    if out:
        out.close()
        if room == piece_bytes:  # the last file ended with the piece before
            pieces.pop().unlink()
    sums = {
        piece.name: {"bytes": piece.stat().st_size, "sha256": sha256(piece)} for piece in pieces
    }
    write_json(folder / MANIFEST, {"pieces": sums, "files": described})
    return pieces


def _extend(parts: list[dict[str, int]], piece: int, at: int, n_bytes: int) -> None:
    if parts and parts[-1]["piece"] == piece:
        parts[-1]["bytes"] += n_bytes
    else:
        parts.append({"piece": piece, "at": at, "bytes": n_bytes})


def unpack(folder: Path, target: Path) -> dict[str, list[str]]:
    """Take what pieces there are into `target`; which files are whole, and which lack a piece.

    May be called again when further pieces have come. Wheels are opened in `target`/site.

    Raises:
        InputError: a piece or a file is not what the manifest says.
    """
    target.mkdir(parents=True, exist_ok=True)
    known = target / MANIFEST
    if (folder / MANIFEST).is_file():
        if known.is_file() and known.read_bytes() != (folder / MANIFEST).read_bytes():
            raise InputError(
                f"{target} holds files of another packing than {folder}: delete {target}."
            )
        shutil.copyfile(folder / MANIFEST, known)
    if not known.is_file():
        return {"whole": [], "lacking": []}
    manifest = read_json(known)
    taken = read_json(target / TAKEN) if (target / TAKEN).is_file() else []
    for piece, facts in manifest["pieces"].items():
        if piece not in taken and (folder / piece).is_file():
            _take(folder / piece, facts, manifest["files"], target)
            taken.append(piece)
            write_json(target / TAKEN, taken)
    state: dict[str, list[str]] = {"whole": [], "lacking": []}
    for name, facts in manifest["files"].items():
        whole = all(f"piece-{part['piece']}.bin" in taken for part in facts["parts"])
        if whole and not (target / name).is_file():
            _finish(target / name, facts)
        state["whole" if whole else "lacking"].append(name)
    return state


def _take(piece: Path, facts: Mapping[str, Any], files: Mapping[str, Any], target: Path) -> None:
    if piece.stat().st_size != facts["bytes"] or sha256(piece) != facts["sha256"]:
        raise InputError(
            f"{piece} is damaged: its checksum is not that of the manifest. Copy it again."
        )
    number = int(piece.stem.partition("-")[2])
    with open(piece, "rb") as source:
        for name, described in files.items():
            before = 0
            for part in described["parts"]:
                if part["piece"] == number:
                    source.seek(part["at"])
                    _write_at(_unfinished(target / name), before, source.read(part["bytes"]))
                before += part["bytes"]


def _unfinished(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _write_at(path: Path, offset: int, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "r+b" if path.exists() else "w+b") as file:
        file.seek(offset)
        file.write(data)


def _finish(path: Path, facts: Mapping[str, Any]) -> None:
    unfinished = _unfinished(path)
    if not facts["parts"]:
        _write_at(unfinished, 0, b"")
    if sha256(unfinished) != facts["sha256"]:
        raise InputError(f"{path} is damaged: delete its folder and unpack the pieces again.")
    if path.suffix == ".whl":
        zipfile.ZipFile(unfinished).extractall(path.parents[1] / "site")
    unfinished.rename(path)
    logger.info("Unpacked %s", path.name)


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def listing(folder: Path) -> str:
    """The manifest for people: every piece with what it brings."""
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    lines = []
    for number, (piece, facts) in enumerate(manifest["pieces"].items(), start=1):
        lines.append(f"{piece}  {facts['bytes'] / 1e6:.1f} MB  sha256 {facts['sha256'][:12]}")
        for name, each in manifest["files"].items():
            own = sum(part["bytes"] for part in each["parts"] if part["piece"] == number)
            if own:
                percent = 100 * own / each["bytes"]
                lines.append(f"  {name}" + (f" ({percent:.0f} % of it)" if percent < 100 else ""))
    return "\n".join(lines)
