"""What containers print, as events of CloudWatch Logs: the file's lines, filters, pages."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awsdesk.ecs.log_shipping import LogParser
from awsdesk.ministack_patches.log_events import LogEvent, PatternError, matcher, page

TIME = "2026-11-28T18:11:52.123456789+00:00"
AT = 1795889512123


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=5))
def test_a_file_read_in_pieces_gives_the_same_lines(octets: bytes, cuts: list[int]) -> None:
    """However a file comes, whatever is in it."""
    file = f"{TIME} stdout F one\n".encode() + octets + f"\n{TIME} stderr F two\n".encode()
    whole, pieces = LogParser(), LogParser()
    at = [0, *sorted(min(cut, len(file)) for cut in cuts), len(file)]
    parts = [file[a:b] for a, b in pairwise(at)]
    assert whole.feed(file) == [event for part in parts for event in pieces.feed(part)]


def test_parts_of_a_line_are_one_event_with_the_time_of_the_first() -> None:
    """podman cuts long lines; another stream's line between them is its own."""
    parser = LogParser()
    text = f"{TIME} stdout P long \n{TIME} stderr F other\n{TIME} stdout F line\n"
    assert [LogEvent(AT, "other"), LogEvent(AT, "long line")] == parser.feed(text.encode())
    assert [] == parser.feed(f"{TIME} stdout P without an end\n".encode())
    assert [LogEvent(AT, "without an end")] == parser.end()
    assert [] == parser.end()


def test_reading_may_begin_within_a_line() -> None:
    """What is cut off is left out."""
    text = f"F a tail\n52.1Z stdout F no time\n{TIME} stdout F whole\n"
    assert [LogEvent(AT, "whole")] == LogParser().feed(text.encode())


@pytest.mark.parametrize(
    ("pattern", "message", "expected"),
    [
        ("", "anything", True),
        ("error", "an error here", True),
        ("Error", "an error here", False),
        ("a b", "b and a", True),
        ('"a b"', "b and a", False),
        ('"<id@x.example>"', '{"message_id": "<id@x.example>"}', True),
        (r'"say \"x\""', 'say "x"', True),
        ("a -b", "a b", False),
        ("?x ?b", "a b", True),
        ("?x ?y", "a b", False),
    ],
)
def test_filter_patterns_match_as_those_of_aws(pattern: str, message: str, expected: bool) -> None:
    """The examples of AWS's page on unstructured patterns."""
    assert expected == matcher(pattern)(message)


def test_a_pattern_of_another_form_is_refused() -> None:
    """Rather than matched wrongly."""
    with pytest.raises(PatternError):
        matcher('{ $.event = "x" }')


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3)), max_size=12), st.integers(1, 5)
)
def test_pages_give_every_event_once_and_in_order(made: list[tuple[str, int]], limit: int) -> None:
    """Also where many have the same time."""
    events: list[tuple[str, dict[str, Any]]] = [
        (stream, {"timestamp": at, "ingestionTime": number, "message": str(number)})
        for number, (stream, at) in enumerate(made)
    ]
    found, token = page(events, "", limit)
    while token:
        more, token = page(events, token, limit)
        found = [*found, *more]
    wanted = sorted(events, key=lambda each: (each[1]["timestamp"], each[1]["ingestionTime"]))
    assert wanted == found
