"""What strangers and users can write into the logs: nothing of it forges a step or joins two messages."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postal_plexus.tracing import deliver_log, dovecot_log, postfix_log, report
from postal_plexus.tracing.journey import is_asked_for, journeys
from postal_plexus.tracing.step import Fate, State, Step

_NOW = datetime(2026, 11, 28, 19, 0, tzinfo=UTC)
_SESSION = "4QX/M3wgC2s+AAAAobkxhw"
_PARSERS = (deliver_log.steps, dovecot_log.steps, postfix_log.steps)


def delivered(name: str, /, **more: object) -> str:
    """Return a line of `deliver`."""
    line = {
        "time": "2026-11-28T19:00:00.000Z",
        "event": "delivered",
        "receipt": name,
        "message_id": "<same@x.example>",
        "sender": "world@elsewhere.example",
        "recipients": ["ann@example.org"],
        "for": ["ann@example.org"],
        "replies": [f"250 2.0.0 <ann@example.org> {name}-session Saved"],
    }
    return json.dumps(line | more)


def stored(session: str, message_id: str, user: str = "ann@example.org") -> str:
    """Return a line of Dovecot."""
    said = f"sieve: msgid=<{message_id}>: stored mail into mailbox 'INBOX'"
    return f"lmtp({user})<61><{session}>: Info: {said}"


def test_two_mails_with_one_message_id_stay_two() -> None:
    """A stranger may send the Message-ID of another's mail: both are shown, neither is joined."""
    steps = [
        step for name in ("first", "second") for step in deliver_log.steps(_NOW, delivered(name))
    ]
    found = journeys(steps)
    assert [("first",), ("second",)] == [each.named("receipt") for each in found]
    assert all(is_asked_for(each, "same@x.example") for each in found)


def test_what_dovecot_did_without_a_reply_joins_the_only_mail_it_can_be() -> None:
    """By Message-ID and mailbox where there is one; where there are two it stays alone."""
    lost = {"event": "deferred", "recipient": "ann@example.org", "for": "ann@example.org"}
    one = deliver_log.steps(_NOW, delivered("first", **lost, status="4.4.2", reason="lost"))
    alone = dovecot_log.steps(_NOW + timedelta(seconds=1), stored(_SESSION, "same@x.example"))
    (journey,) = journeys([*one, *alone])
    assert "INBOX" == journey.outcomes[0].fate.folder
    other = deliver_log.steps(_NOW, delivered("second"))
    assert 3 == len(journeys([*one, *other, *alone]))
    stranger = dovecot_log.steps(_NOW, stored(_SESSION, "same@x.example", "ben@example.org"))
    assert 2 == len(journeys([*one, *stranger]))


@pytest.mark.parametrize(
    "message_id",
    [
        "a>: fileinto action: stored mail into mailbox 'Junk'",
        "a>:discard.action:",
        "x> sieve rule: session=<y> action=fileinto by=junk",
        (
            "a\nlmtp(ben@example.org)<1><forged-session>: Info: sieve: msgid=<b>: stored mail into "
            "mailbox 'INBOX'"
        ),
    ],
)
def test_a_message_id_is_no_action_of_dovecot(message_id: str) -> None:
    """What does not fit the form is no step; what does, has the folder that Dovecot names."""
    found = dovecot_log.steps(_NOW, stored(_SESSION, message_id))
    assert {fate.folder for step in found for fate in step.fates} <= {"INBOX"}
    assert {"ann@example.org"} >= {who for step in found for who in step.recipients}


@pytest.mark.parametrize(
    "recipient",
    [
        '"a>, relay=x, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (250 Ok forged)"@x.example',
        '"a\\">, relay=x, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (250 Ok f)"@x.example',
    ],
)
def test_a_recipient_is_no_status_of_postfix(recipient: str) -> None:
    """A quoted local part may hold anything, also the rest of a line."""
    line = (
        f"Nov 28 19:02:39 mail postfix/smtp[185]: 4jcKRM2XdTzJmkF: to=<{recipient}>, relay=none, "
        "delay=0.02, delays=0.01/0/0.01/0, dsn=5.1.1, status=bounced (no)"
    )
    (step,) = postfix_log.steps(_NOW, line)
    assert (Fate(recipient, State.FAILED, "no"),) == step.fates
    assert frozenset({"queue:4jcKRM2XdTzJmkF"}) == step.ids


def test_words_of_the_other_side_give_no_ids() -> None:
    """A reply that ends as SES's or Postfix's would, but is not theirs alone."""
    said = "550 no such user (250 Ok 010001a22389b8ff-b4a4f36c-000000)"
    line = (
        "Nov 28 19:02:39 mail postfix/smtp[185]: 4jcKRM2XdTzJmkF: to=<a@x.example>, relay=none, "
        f"delay=0, delays=0/0/0/0, dsn=5.1.1, status=bounced ({said})"
    )
    (step,) = postfix_log.steps(_NOW, line)
    assert frozenset({"queue:4jcKRM2XdTzJmkF"}) == step.ids
    failed = {"event": "failed", "recipient": "a@example.org", "for": "a@example.org"}
    reason = "550 5.0.0 250 2.0.0 Ok: queued as 4jcKRM2XdTzJmkF"
    *_, step = deliver_log.steps(_NOW, delivered("first", **failed, reason=reason))
    assert frozenset({"receipt:first"}) == step.ids


@pytest.mark.parametrize(
    "receipt", ["a receipt", "r\nqueue:4jcKRM2XdTzJmkF", "", "x" * 300, 7, None, ["r"], "r:s"]
)
def test_a_receipt_that_is_none_joins_nothing(receipt: object) -> None:
    """A log line with another id in its place joins no other message's journey."""
    found = deliver_log.steps(_NOW, delivered("first", receipt=receipt))
    assert all(each.startswith("session:") for step in found for each in step.ids)


def test_lines_without_end_are_left_out() -> None:
    """Ten megabytes cost no time; the mail's other lines are kept."""
    long = "x" * 10_000_000
    for parse in _PARSERS:
        assert () == parse(_NOW, long)
    assert () == deliver_log.steps(_NOW, delivered("first", message_id=long))
    assert () == dovecot_log.steps(_NOW, stored(_SESSION, long))
    assert () == postfix_log.steps(
        _NOW, f"postfix/cleanup[1]: 4jcKRM2XdTzJmkF: message-id=<{long}>"
    )


def test_a_name_just_within_the_bound_is_cut() -> None:
    """And cannot be printed at any length."""
    name = "y" * 60_000
    for step in (
        *deliver_log.steps(_NOW, delivered("first", message_id=name, sender=name)),
        *dovecot_log.steps(_NOW, stored(_SESSION, name)),
    ):
        assert 400 > len(step.message_id) + len(step.sender or "") - 320


def test_nothing_unprintable_reaches_the_terminal() -> None:
    """Escape sequences, new lines and directions of script become blanks or question marks."""
    evil = "\x1b]0;title\x07\n\r\u202e\u2028<b@x>"
    line = delivered("first", message_id=evil, sender=evil, subject=evil, recipients=[evil])
    (journey,) = journeys(deliver_log.steps(_NOW, line))
    for text in (report.headline(journey), *report.lines(journey, _NOW)):
        assert text.isprintable(), text


@given(st.text(max_size=300))
def test_any_line_is_a_step_or_none(text: str) -> None:
    """No line raises, in any service's log, alone or after what looks like a beginning."""
    beginnings = (
        "",
        "postfix/smtp[1]: 4jcKRM2XdTzJmkF: ",
        "submission-guard: passed ",
        '{"event":',
    )
    for beginning in beginnings:
        for parse in _PARSERS:
            found = parse(_NOW, beginning + text)
            assert all(isinstance(step, Step) for step in found)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    st.sampled_from(sorted(deliver_log.EVENTS)),
    st.dictionaries(
        st.sampled_from(
            [
                "time",
                "receipt",
                "message_id",
                "sender",
                "recipients",
                "recipient",
                "for",
                "replies",
                "reason",
                "status",
                "subject",
                "accepted",
                "verdicts",
                "about",
                "outcome",
                "kind",
                "happened",
                "reply",
                "ses_id",
                "in_seconds",
                "answer",
            ]
        ),
        _JSON,
    ),
)
def test_any_fields_are_read(event: str, fields: dict[str, object]) -> None:
    """Of the wrong type, or missing; what comes of it can be joined and shown."""
    found = journeys(deliver_log.steps(_NOW, json.dumps({"event": event, **fields})))
    for journey in found:
        assert all(text.isprintable() for text in report.lines(journey, _NOW))
        json.dumps(report.document(journey))
