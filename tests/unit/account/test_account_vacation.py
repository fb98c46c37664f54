"""The out-of-office reply: from a form to Sieve and back."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postal_plexus.account.vacation import LARGEST, Vacation, VacationError, read, script, vacation

TEXTS = st.text(min_size=1, max_size=200)


@given(TEXTS, TEXTS, st.dates(), st.dates())
def test_what_was_asked_for_is_read_back(subject: str, text: str, first: date, last: date) -> None:
    """Every valid reply is read back; others are refused with a reason."""
    try:
        asked = vacation(subject, text, first.isoformat(), last.isoformat())
    except VacationError as error:
        assert str(error)
        return
    written = script(asked)
    assert asked == read(written)
    assert len(written.encode()) < LARGEST
    # Latin-1 is how its file is read.
    assert asked == read(written.encode().decode("latin-1"))


def test_quotes_and_dots_stay_text() -> None:
    """The text cannot end the string and begin a command."""
    asked = Vacation('a" ; discard; #', 'b\\"; discard;\n.\nredirect "x@y";', date(2026, 12, 1), date(2026, 12, 2))  # fmt: skip
    lines = script(asked).split("\r\n")
    assert 'vacation :days 7 :subject "a\\" ; discard; #" "b\\\\\\"; discard;' in lines[4]
    assert lines[0].startswith("# plexus-vacation {")
    assert "redirect" not in "".join(line for line in lines[1:4])


@pytest.mark.parametrize(
    ("subject", "text", "first", "last"),
    [
        ("", "Away", "2026-12-01", "2026-12-02"),
        ("Away", " \n ", "2026-12-01", "2026-12-02"),
        ("Away", "Away", "2026-12-02", "2026-12-01"),
        ("Away", "Away", "", "2026-12-01"),
        ("Away", "Away", "2026-02-30", "2026-03-01"),
        ("Away", "Away", '2026-12-01", "x', "2026-12-02"),
        ("Away", "a\0b", "2026-12-01", "2026-12-02"),
        ("Away", "a\ud800b", "2026-12-01", "2026-12-02"),
        ("Away\u202e", "Away", "2026-12-01", "2026-12-02"),
        ("x" * 201, "Away", "2026-12-01", "2026-12-02"),
        ("Away", "x" * 4001, "2026-12-01", "2026-12-02"),
    ],
)
def test_what_cannot_be_sent_is_refused(subject: str, text: str, first: str, last: str) -> None:
    """Empty, reversed or invalid days, control characters and long texts are refused."""
    with pytest.raises(VacationError):
        vacation(subject, text, first, last)


@pytest.mark.parametrize(
    "text",
    ["", "keep;", "# plexus-vacation", "# plexus-vacation {\r\n", "# plexus-vacation []\r\n",
     "# plexus-vacation " + "[" * 20000 + "\r\n", '# plexus-vacation {"subject": 1}\r\n'],
)  # fmt: skip
def test_another_script_is_no_answer_of_ours(text: str) -> None:
    """Other scripts, and ones with a broken first line, are ignored."""
    assert read(text) is None
