"""Records of deliveries and marks of replays: what is written is read, and noise costs nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from postal_plexus.mail.delivered import (
    Record,
    Replay,
    read_records,
    read_replay,
    write_record,
    write_replay,
)

texts = st.text(st.characters(exclude_categories=["Cs"]))
records = st.builds(Record, st.dictionaries(texts, st.lists(texts).map(tuple)), texts)


@given(st.lists(records), st.binary().filter(lambda noise: b"mailboxes" not in noise))
def test_records_are_read_as_written_whatever_stands_between(
    given_records: list[Record], noise: bytes
) -> None:
    """A malformed line is skipped, and no other line with it."""
    octets = b"".join(write_record(each) + noise + b"\n" for each in given_records)
    assert given_records == list(read_records(octets))


@given(texts, st.lists(texts).map(tuple))
def test_a_mark_is_read_as_written(mailbox: str, originals: tuple[str, ...]) -> None:
    """The attribute of a replay keeps its mailbox and recipients, whatever characters they have."""
    assert Replay(mailbox, originals) == read_replay(write_replay(Replay(mailbox, originals)))


@given(st.text())
def test_a_mark_of_nonsense_names_nobody(value: str) -> None:
    """The queue's attribute is an operator's, but what reads it never ends by it."""
    assert "" == read_replay(value).mailbox
