"""Data as scripts: whatever a text holds, it comes back as it was and nothing of it runs."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_browser import EVIL

from clustersae.browser.pieces import number, script, write_piece


def content(text: str):
    """Name and value of a piece, as a page gets them: its call read as JSON."""
    assert text.startswith("clustersae.take(")
    assert text.endswith(");\n")
    return json.loads(f"[{text[len('clustersae.take(') : -3]}]")


def is_harmless(text: str) -> bool:
    """Whether no character could end a script, or a line of one, or be misread in its encoding."""
    return text.isascii() and not set("<>&\x00\r") & set(text) and text.count("\n") == 1


@pytest.mark.parametrize("text", EVIL)
def test_hostile_text_comes_back_and_cannot_end_a_script(text):
    piece = script(text, [text, {"text": text}])
    assert content(piece) == [text, [text, {"text": text}]]
    assert is_harmless(piece)


@given(st.text(), st.floats(allow_nan=False, allow_infinity=False))
def test_any_text_and_number_come_back(text, value):
    piece = script("name", [text, value])
    assert content(piece) == ["name", [text, value]]
    assert is_harmless(piece)


def test_what_is_no_json_is_refused():
    with pytest.raises(ValueError, match="JSON"):
        script("name", [math.nan])


def test_numbers_are_short():
    assert number(0.0123456) == 0.0123
    assert number(-987.654) == -988
    assert isinstance(number(2.0), int)
    assert number(0.0) == 0
    assert number(float("nan")) is None


def test_a_piece_is_a_file_of_its_name(tmp_path):
    size = write_piece(tmp_path / "g3", "17", ["ö"])
    written = (tmp_path / "g3" / "17.js").read_bytes()
    assert len(written) == size
    assert content(written.decode("ascii")) == ["17", ["ö"]]
