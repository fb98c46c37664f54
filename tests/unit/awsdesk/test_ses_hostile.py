"""Any mail at all: what the SES stand-in makes of it can be made, kept and read again."""

from __future__ import annotations

import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from awsdesk.ses import events, header, notification, report, trace_fields, verdicts
from awsdesk.ses.events import Kind, Outcome, Sent
from awsdesk.ses.report import FailedRecipient, Report
from awsdesk.ses.rules import Match, Rule, StoreAction
from awsdesk.ses.spool import Accepted, Spool
from awsdesk.ses.trace_fields import Arrival

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
VERDICTS = verdicts.judge(verdicts.scan(b""), verdicts.Origin())
# As aiosmtpd gives what a client says: ASCII, other octets as lone surrogates.
SAID = st.binary(max_size=40).map(lambda octets: octets.decode("ascii", "surrogateescape"))
_FIELD = st.tuples(
    st.sampled_from([b"To", b"From", b"Subject", b"Cc", b"Date", b"Message-ID", b"Content-Type"]),
    st.one_of(
        st.binary(max_size=80),
        st.text(
            st.sampled_from(list('=?utf-8?bq_<>()[]@:;,"\\ \t\r\n\u00e4\u2039')), max_size=80
        ).map(lambda text: text.encode("utf-8")),
    ),
)
CONTENT = st.lists(_FIELD, max_size=8).map(
    lambda fields: b"".join(name + b": " + value + b"\r\n" for name, value in fields) + b"\r\nx\r\n"
)


def arrival(sender: str, helo: str) -> Arrival:
    """Give an arrival of what a client said."""
    return Arrival("id", helo, "192.0.2.1", sender, (sender, "ann@example.org"), NOW, "us-east-1")


@given(CONTENT, SAID, SAID)
@example(b'To: "J\xc3\xb6" \xe2\x80\xb9j\xc3\xb6@m\xc3\xa4chine.example>\r\n\r\n', "", "h")
@example(b"To: " + b"a:" * 1000 + b";" * 1000 + b"\r\n\r\n", "", "h")
def test_any_mail_is_described(content: bytes, sender: str, helo: str) -> None:
    """The lines on top, the notification and the events can be made, as JSON that UTF-8 holds."""
    came = arrival(sender, helo)
    stored = trace_fields.header_block(came, VERDICTS) + content
    assert stored.endswith(content)
    made = notification.mail_object(came, stored)
    sent = Sent("m" * 60, sender, "", "1", "c", "", (sender,), content, NOW)
    for kind in Kind:
        json.dumps(events.event(sent, Outcome(sender, kind), NOW))
    for field in header.displayed(header.fields(content), "To"):
        field.encode("utf-8")
    json.dumps(made)


@settings(max_examples=25)  # each writes to the disk
@given(CONTENT, SAID, SAID)
def test_any_mail_is_kept_and_read_again(content: bytes, sender: str, helo: str) -> None:
    """What the spool has written it reads: the same mail, octet for octet."""
    rule = Rule("people", (StoreAction("bucket", "", None),))
    accepted = Accepted(arrival(sender, helo), VERDICTS, "set", (Match(rule, (sender,)),))
    with tempfile.TemporaryDirectory() as directory:
        spool = Spool(Path(directory))
        spool.keep(accepted, content)
        assert [accepted.arrival] == [one.arrival for one in spool.waiting()]
        assert content == spool.content("id")


@pytest.mark.parametrize("broken", ["not json", "another id", "no content"])
def test_a_broken_entry_is_set_aside_once_and_whole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    """With one line in the log; the others go on, and what is mended and moved back is taken again."""
    rule = Rule("people", (StoreAction("bucket", "", None),))
    accepted = Accepted(
        arrival("a@b.example", "x"), VERDICTS, "set", (Match(rule, ("a@b.example",)),)
    )
    spool = Spool(tmp_path)
    spool.keep(accepted, b"Subject: a\r\n\r\nx\r\n")
    record, content = tmp_path / "id.json", tmp_path / "id.eml"
    good = record.read_text()
    if broken == "not json":
        record.write_text(good[:-9])
    elif broken == "another id":
        record.write_text(good.replace('"id"', '"other"'))
    else:
        content.rename(tmp_path / "elsewhere")
    before = record.read_text()
    for _ in range(2):
        assert [] == Spool(tmp_path).waiting()
    assert 1 == len(caplog.records)
    aside = tmp_path / "broken"
    assert before == (aside / "id.json").read_text()
    assert (aside / "id.eml").exists() == (broken != "no content")
    for name in ("id.json", "id.eml"):
        if (aside / name).exists():
            (aside / name).rename(tmp_path / name)
    record.write_text(good)
    if broken == "no content":
        (tmp_path / "elsewhere").rename(content)
    assert [accepted.arrival] == [one.arrival for one in Spool(tmp_path).waiting()]


@given(CONTENT, st.binary(max_size=40).map(lambda octets: octets.decode("ascii", "replace")))
def test_a_bounce_of_any_mail_can_be_written(content: bytes, sender: str) -> None:
    """Whatever its header and its sender are."""
    block, _ = header.split(content)
    message_id = next(iter(header.values(header.fields(block), "Message-ID")), None)
    failed = FailedRecipient("x@e.example", "failed", "5.1.1", "smtp; 550 no")
    report.compose(
        Report(
            sender="mailer-daemon@example.org",
            to=sender,
            message_id="<m@e.example>",
            written_at=NOW,
            reporting_mta="dns; e.example",
            explanation="x",
            recipients=(failed,),
            original_header=block,
            original_message_id=message_id,
        )
    )
