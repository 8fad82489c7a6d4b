"""Numbers and lines in words."""

import numpy as np

from clustersae.presentation.words import bounds, fitted, interval_text, listed, percent, share


def test_percent_keeps_sign_and_digits():
    assert percent(0.0412) == "4.1 %"
    assert percent(0.0412, True) == "+4.1 %"
    assert percent(-0.0412, True) == "−4.1 %"
    assert percent(-0.0412) == "−4.1 %"
    assert [percent(value) for value in (0.547, -0.547)] == ["55 %", "−55 %"]
    assert [percent(value) for value in (0.1994, 0.1996)] == ["19.9 %", "20 %"]
    assert percent(-0.0001, True) == "0.0 %"


def test_numbers_in_words():
    assert [share(value) for value in (0.15, 0.4, 2, 0.125)] == ["15 %", "40 %", "200 %", "12.5 %"]
    assert [share(value) for value in (10, 1 / 3, 0.0005)] == ["1000 %", "33.3 %", "0.05 %"]
    assert interval_text(np.nan, np.nan) == "no interval"
    assert interval_text(-0.051, 0.0712) == "95 % interval −5.1 % to +7.1 %"
    assert bounds(-0.051, 0.0712) == "[−5.1 to +7.1 %]"
    assert bounds(np.nan, np.nan) == ""


def test_lists():
    assert [listed(list(names)) for names in ("a", "ab", "abc")] == ["a", "a and b", "a, b and c"]


def test_a_line_holds_as_many_parts_as_fit():
    parts = ["one", "two", "three"]
    assert fitted("Of:", parts) == "Of: one; two; three"
    assert fitted("Of:", parts, width=12) == "Of: one; two"
    assert fitted("Of:", parts, "{} more", width=19) == "Of: one; two; three"
    assert fitted("Of:", parts, "{} more", width=18) == "Of: one; 2 more"
    assert fitted("Of:", ["some words that are too long"], width=20) == "Of: some words …"
