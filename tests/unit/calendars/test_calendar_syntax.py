"""Lines that would occupy the server's parser are refused, and no check can be evaded by their form."""

from __future__ import annotations

import io

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from vobject.base import ParseError, getLogicalLines, parseLine

from postal_plexus.calendars.syntax import logical_lines, read_line, takes_too_long, text_of

_PIECES = st.sampled_from(
    [
        *(
            "A",
            "B;C=D",
            ";E=F",
            ',G"',
            '"',
            ":",
            "value",
            " ",
            "\t",
            "\r",
            "\n",
            "\r\n",
            "\n ",
            "=",
        ),
        *(";ENCODING=QUOTED-PRINTABLE:", "quoted-", "printable", "=\n", "x.", ",", ";", "é"),
    ]
)


@settings(max_examples=300)
@given(st.lists(_PIECES, max_size=20).map("".join))
def test_lines_are_those_of_the_parser(text: str) -> None:
    """Logical lines are split where vobject splits them, however they are continued."""
    try:
        expected = [line for line, _ in getLogicalLines(io.StringIO(text))]
    except IndexError:
        # A continued line without content: the parser refuses the whole.
        return
    assert expected == [line for line in logical_lines(text) if line]


@settings(max_examples=300)
@given(st.lists(_PIECES, max_size=8).map("".join))
@example("A;;ENCODING=QUOTED-PRINTABLE:")
@example("A;B,c:v")
@example('A;B=c="d",e;F:v')
def test_names_and_values_are_those_of_the_parser(line: str) -> None:
    """A line has the name and value that vobject reads, or is malformed for both."""
    try:
        name, _, value, _ = parseLine(line)
    except ParseError:
        assert read_line(line) is None
    else:
        read = read_line(line)
        assert read is not None
        assert (name.upper(), value) == (read[0], read[2])


# vobject would take hours for each.
ENDLESS = (
    *("X" + ";a=b" * 30, "X" + ";a" * 40, "X;a=b" + ",b" * 30, "X" + ';a="b:c"' * 30),
    *("X" + ";a=b" * 30 + ";:v", "X" + ";a=b" * 30 + '"y":v', "X" + ";a=b\r\n " * 30),
    *("X" + ";a=\n b" * 30, "PHOTO" + ";ENCODING=b" * 2000 + ":x", "X;a=" + "b" * 9000 + ":x"),
    "X;quoted-printable;a=\n" + ";a=b=\n" * 30,
)


@pytest.mark.parametrize("line", ENDLESS)
def test_a_line_that_occupies_the_parser_is_refused(line: str) -> None:
    """Whatever form makes its pattern backtrack."""
    assert takes_too_long(f"BEGIN:VEVENT\r\n{line}\r\nEND:VEVENT\r\n")


@pytest.mark.parametrize(
    "line",
    [
        'ATTENDEE;CN="Müller; Jörg, Dr.";ROLE=REQ-PARTICIPANT;RSVP=TRUE:mailto:j@example.org',
        "DESCRIPTION:a, b; c, d; e, f; g, h; i, j; k, l; m, n; o, p",
        "item1.X-APPLE-STRUCTURED-LOCATION;VALUE=URI;X-APPLE-MAPKIT-HANDLE="
        + "A" * 2000
        + ":geo:1,2",
        "NOTE;ENCODING=QUOTED-PRINTABLE:one; two; three; four; five; six=\nseven; eight; nine",
        "TEL;WORK;VOICE;PREF:1",
        "A line without a colon",
    ],
)
def test_what_programs_write_is_not(line: str) -> None:
    """Long addresses, many commas, locations of a kilobyte and vCard 2.1 pass."""
    assert not takes_too_long(line)


def test_control_characters_hide_nothing() -> None:
    """Radicale removes them before it reads the text, in whatever character set."""
    assert "RRULE:é" == text_of("RR\x01ULE\x00:é".encode())
    assert "é" == text_of("é".encode("latin-1"))
