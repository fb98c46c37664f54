"""The choice of archived messages for a replay."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from benchmarks.aws_stub.notification import Accepted, in_sns_envelope, notification

from postal_plexus.mail.delivered import Record
from postal_plexus.mail.held import release
from postal_plexus.operations.archive import Stored
from postal_plexus.operations.replay import chosen

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
ANN, BEN, TEAM, INFO = (f"{name}@example.org" for name in ("ann", "ben", "team", "info"))


def record(name: str, minutes: int, *having: str, **by: tuple[str, ...]) -> Record:
    """Return the record of a message accepted `minutes` ago."""
    accepted = NOW - timedelta(minutes=minutes)
    mail = Accepted(name, "a@b.c", having, "archive", f"inbound/{name}")
    entry = in_sns_envelope(notification(mail, accepted), "1", NOW)
    return Record({each: by.get("by", (each,)) for each in having}, entry)


def found(*records: Record, gone: str = "", since: int = 60, until: int = 0) -> list[str]:
    names = ("old", "first", "second", "new", "other")
    stored = [Stored(name, NOW, 10) for name in names if name != gone]
    begin, end = (NOW - timedelta(minutes=each) for each in (since, until))
    return [mail.receipt.message_id for mail in chosen(records, stored, ANN, begin, end).mails]


def test_what_the_mailbox_had_in_that_time_the_oldest_first() -> None:
    """Only the mailbox's own messages; the period includes its start but not its end."""
    records = (
        *(record("new", 0, ANN), record("second", 10, ANN, BEN), record("other", 20, BEN)),
        *(record("first", 60, ANN), record("old", 61, ANN)),
    )
    assert ["first", "second"] == found(*records)
    assert ["second"] == found(*records, gone="first")


def test_several_records_of_one_mail_are_one_mail() -> None:
    """Repeated entries, or two matching rules, give one message with all recipients that led there."""
    records = [record("first", 5, ANN, by=(by,)) for by in (TEAM, TEAM, INFO)]
    begin, end = NOW - timedelta(hours=1), NOW
    (mail,) = chosen(records, [Stored("first", NOW, 10)], ANN, begin, end).mails
    assert (TEAM, INFO) == mail.originals


def test_what_an_operator_released_is_replayed_released() -> None:
    """The released entry is used, because the original would be held again."""
    plain = record("first", 5, ANN)
    released = Record(plain.mailboxes, release(plain.entry))
    for records in ([plain, released], [released, plain]):
        (mail,) = chosen(
            records, [Stored("first", NOW, 10)], ANN, NOW - timedelta(hours=1), NOW
        ).mails
        assert released.entry == mail.entry


def test_a_record_of_nonsense_costs_no_other_mail() -> None:
    """A record in the archive that cannot be read is passed over."""
    assert ["first"] == found(Record({ANN: ()}, "no notification"), record("first", 5, ANN))
