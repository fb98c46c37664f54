"""When forwards to an address stop, when they resume, and what a broken file of counts costs."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postal_plexus.deliver.forward_bounces import (
    ForwardBounces,
    Record,
    bounced_addresses,
    counted,
    fingerprint,
    is_stopped,
    keeps_bouncing,
)
from postal_plexus.directory import Alias, Directory, Domain, Mailbox
from postal_plexus.mail.feedback import Feedback, FeedbackKind, FeedbackRecipient

FRIEND = "friend@else.example"
DAY = 20_000


def directory(*destinations: str) -> Directory:
    """Return one alias that leads there."""
    return Directory(
        (Domain("example.org"),),
        (Mailbox("ann@example.org", "{PLAIN}x"),),
        (Alias("out@example.org", destinations),),
    )


HERE = directory(FRIEND)


def feedback(event: str, kind: FeedbackKind, feedback_type: str = "") -> Feedback:
    """Return what SES says of a forward to the friend."""
    people = (FeedbackRecipient(f"A <{FRIEND.upper()}>", "", "", ""),)
    return Feedback(
        kind, event, "", "echo-1", "postmaster@x", people, "", "", 0.0, "", feedback_type
    )


@pytest.mark.parametrize(
    ("sent", "bounced", "stops"),
    [(4, 4, False), (5, 5, True), (49, 5, True), (50, 5, False), (100, 11, True), (0, 9, True)],
)
def test_five_and_a_tenth_of_a_week_stop_a_forward(sent: int, bounced: int, stops: bool) -> None:
    """Neither alone does."""
    record = counted(counted(Record(), DAY, sent=sent), DAY + 6, bounced=bounced)
    assert stops == keeps_bouncing(record)
    assert not keeps_bouncing(counted(record, DAY + 13, sent=0))


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9), st.integers(0, 9))))
def test_a_record_holds_the_last_week_and_no_more(events: list[tuple[int, int, int]]) -> None:
    """Whatever the clock does: seven days at most, and the sums of what they had."""
    record, day = Record(), DAY
    for later, sent, bounced in sorted(events):
        day = DAY + later
        record = counted(record, day, sent=sent, bounced=bounced)
    assert len(record.days) <= 7
    week = [each for each in events if day - 7 < DAY + each[0]]
    assert sum(each[1] for each in week) == sum(each[1] for each in record.days)
    assert sum(each[2] for each in week) == sum(each[2] for each in record.days)


def test_it_resumes_after_a_week_or_with_another_alias() -> None:
    """A clock that was set back resumes it as well."""
    record = Record(stopped_on=DAY, aliases="a")
    assert [True, True, False, False] == [
        is_stopped(record, day, "a") for day in (DAY, DAY + 6, DAY + 7, DAY - 1)
    ]
    assert not is_stopped(record, DAY, "b")
    assert not is_stopped(Record(), DAY, "")
    ways = {
        fingerprint(FRIEND, each) for each in (HERE, directory(FRIEND, "x@y.z"), directory("x@y.z"))
    }
    assert 3 == len(ways)


def test_what_counts_against_a_forward() -> None:
    """Bounces and complaints; not a delay, an automatic answer, a virus, or praise."""
    failed, uncertain = FeedbackKind.FAILED, FeedbackKind.UNCERTAIN
    assert (FRIEND,) == bounced_addresses(feedback("Bounce", failed))
    assert (FRIEND,) == bounced_addresses(feedback("Complaint", FeedbackKind.COMPLAINT, "abuse"))
    assert (FRIEND,) == bounced_addresses(feedback("Complaint", failed))
    for other in (
        feedback("Bounce", uncertain),
        feedback("DeliveryDelay", FeedbackKind.DELAYED),
        feedback("Reject", failed),
        feedback("Complaint", FeedbackKind.COMPLAINT, "not-spam"),
    ):
        assert () == bounced_addresses(other)


def test_counts_outlive_the_process(tmp_path: Path) -> None:
    """The fifth bounce stops it, once; a new process knows, a changed alias begins anew."""
    former = ForwardBounces(str(tmp_path))
    former.sent(FRIEND)
    assert [False] * 4 == [former.bounced(FRIEND, HERE) for _ in range(4)]
    bounces = ForwardBounces(str(tmp_path))
    assert not bounces.stopped(FRIEND, HERE)
    assert [True, False] == [bounces.bounced(FRIEND.upper(), HERE) for _ in range(2)]
    bounces.close()
    later = ForwardBounces(str(tmp_path))
    assert later.stopped(FRIEND, HERE)
    assert not later.stopped("other@else.example", HERE)
    changed = directory(FRIEND, "ann@example.org")
    assert not later.stopped(FRIEND, changed)
    assert [False] * 4 == [later.bounced(FRIEND, changed) for _ in range(4)]
    assert later.bounced(FRIEND, changed)


def test_redirects_of_a_mailbox_stop_by_themselves(tmp_path: Path) -> None:
    """At a tenth of what came to it, or at twenty; nobody else's, no alias's, for a week; a new process knows."""
    ann, ben = "ann@example.org", "ben@example.org"
    bounces = ForwardBounces(str(tmp_path))
    assert () == bounces.came_to(ann)
    assert not bounces.bounced(FRIEND, HERE, ann)
    assert [()] * 199 == [bounces.came_to(ann) for _ in range(199)]
    assert [False] * 18 == [bounces.bounced(f"F <{FRIEND.upper()}>", HERE, ann) for _ in range(18)]
    assert [True, False] == [bounces.bounced(FRIEND, HERE, ann) for _ in range(2)]
    assert [False, False, False, False, True] == [
        bounces.bounced(FRIEND, HERE, ben) for _ in range(5)
    ]
    for each in (bounces, ForwardBounces(str(tmp_path))):
        assert ((FRIEND,), (FRIEND,), ()) == tuple(
            each.came_to(to) for to in (ann, ben, "cat@example.org")
        )
        assert not each.stopped(FRIEND, HERE)


@pytest.mark.parametrize(
    "octets",
    [b"", b"{", b"[]", b"[1]", b"\xff\xfe", b'{"a": 1}', b'{"a": [[[1, 2]], 0, ""]}',
     b'{"a": [[["x", 1, 2]], 0, ""]}', b"[" * 100_000, b'{"a": [[[1e999, 1, 1]], 0, ""]}'],
)  # fmt: skip
def test_a_broken_file_costs_the_counts_and_nothing_else(tmp_path: Path, octets: bytes) -> None:
    """It is replaced by the next bounce."""
    (tmp_path / "forwards.json").write_bytes(octets)
    bounces = ForwardBounces(str(tmp_path))
    assert not bounces.stopped(FRIEND, HERE)
    assert [False, False, False, False, True] == [bounces.bounced(FRIEND, HERE) for _ in range(5)]
    assert ForwardBounces(str(tmp_path)).stopped(FRIEND, HERE)


def test_a_directory_that_takes_no_file_stops_no_mail(tmp_path: Path) -> None:
    """The counts are kept in memory."""
    bounces = ForwardBounces(str(tmp_path / "missing"))
    assert [False, False, False, False, True] == [bounces.bounced(FRIEND, HERE) for _ in range(5)]
    assert bounces.stopped(FRIEND, HERE)


def test_the_records_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stopped ones are kept longest, and those of past weeks fall away."""
    bounces = ForwardBounces(str(tmp_path))
    for _ in range(5):
        bounces.bounced(FRIEND, HERE)
    for number in range(5100):
        bounces.sent(f"{number}@else.example")
    bounces.close()
    kept = (tmp_path / "forwards.json").read_text()
    assert 5000 == kept.count("else.example")
    assert FRIEND in kept
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 8 * 86400)
    bounces.sent("new@else.example")
    bounces.close()
    assert 1 == (tmp_path / "forwards.json").read_text().count("else.example")
