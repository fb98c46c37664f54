"""A task's arguments are parsed, and its lines are followed."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postal_plexus.maintenance import calls, mail_queue, mailboxes
from postal_plexus.maintenance.calls import Call, CallError, Verb, read
from postal_plexus.maintenance.output import LONGEST, Output
from postal_plexus.operations.task import Ended, Running, explain_end, explain_placement
from postal_plexus.operations.task_output import TaskOutput

FIELDS = ("From", "To", "Cc", "Subject", "Date", "Message-ID", "Auto-Submitted", "List-Id")


def _run(_call: Call, _output: Output) -> int:
    return 0


VERBS = {
    "list": Verb(_run),
    "take": Verb(_run, calls.ADDRESS, 1, 2, {"since": calls.MOMENT, "dry-run": None}),
}


def test_a_verb_with_its_words_and_options_is_read() -> None:
    """Words and options may have any order; a value follows `=`."""
    _, call = read(VERBS, ["take", "--since=5", "ann@example.org", "--dry-run"])
    assert Call(("ann@example.org",), {"since": "5", "dry-run": ""}) == call


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["sh", "-c", "id"],
        ["list", "more"],
        ["take"],
        ["take", "a@b.example", "a@b.example", "a@b.example"],
        ["take", "-A"],
        ["take", "-u@example.org"],
        ["take", "a@b.example; id"],
        ["take", "a@b.example\n"],
        ["take", "$(id)@b.example"],
        ["take", "a@b.example", "--since"],
        ["take", "a@b.example", "--since=x"],
        ["take", "a@b.example", "--since=1", "--since=2"],
        ["take", "a@b.example", "--dry-run=1"],
        ["take", "a@b.example", "--other"],
        ["take", "--"],
    ],
)
def test_everything_else_is_refused(words: list[str]) -> None:
    """A word that the table does not know is refused."""
    with pytest.raises(CallError):
        read(VERBS, words)


@given(st.lists(st.text(max_size=30), max_size=5))
def test_whatever_is_given_is_read_or_refused(words: list[str]) -> None:
    """Accepted words match their patterns and are not options of a program."""
    for table in (mail_queue.VERBS, mailboxes.VERBS):
        for name in table:
            try:
                _, call = read(table, [name, *words])
            except CallError:
                continue
            assert all(word[0] != "-" and word.isascii() for word in call.words)


@pytest.mark.parametrize("word", ["ALL", "-", "../x", "ABCDEF\n", "ABC/DEF", "ABCDEF@x"])
def test_no_queue_id_means_more_than_one_mail(word: str) -> None:
    """`ALL` is not a queue id, because postsuper would act on the whole queue."""
    with pytest.raises(CallError):
        read(mail_queue.VERBS, ["queue-drop", word])


def test_a_mail_that_came_after_the_look_is_another() -> None:
    """Short queue ids are reused: the arrival time distinguishes the messages."""
    mails = [{"queue_id": "4gT8XY0001", "arrival_time": 7}]
    assert mails == mail_queue.chosen(mails, ("4gT8XY0001@7",))
    with pytest.raises(LookupError, match="another"):
        mail_queue.chosen(mails, ("4gT8XY0001@6",))
    with pytest.raises(LookupError, match="4gT8XY0002"):
        mail_queue.chosen(mails, ("4gT8XY0002",))


@pytest.mark.parametrize("count", [0, 1, 300])
@pytest.mark.parametrize("reason", ["", "x" * 3000, "\U0001f600" * 3000])
def test_no_line_of_a_mail_is_too_long(count: int, reason: str) -> None:
    """Lines stay short with any number of recipients and any reply of the other server."""
    stream = io.StringIO()
    output = Output(stream)
    recipients = [{"address": f"{n}@x.example", "delay_reason": reason} for n in range(count)]
    mail = {"queue_id": "ABCDEF", "queue_name": "deferred", "recipients": recipients}
    header = mail_queue.header_of("".join(f"{name}: {reason}\n" for name in FIELDS))
    for fields in mail_queue.lines_of({**mail, "sender": reason}):
        output.say("mail", header=header, **fields)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [f"{n}@x.example" for n in range(count)] == [
        each["address"] for line in lines for each in line["recipients"]
    ]
    assert all(len(line) <= LONGEST + 1 for line in stream.getvalue().splitlines(keepends=True))


def test_a_hostile_header_is_read() -> None:
    """Text that cannot be decoded stays unchanged; nothing raises."""
    found = mail_queue.header_of(
        "Subject: =?x-none?q?=FF?=\nFrom: =?utf-8?b?SMOp?= <a@b>\nTo: \udcff\nX: y\n\nbody"
    )
    assert "Hé <a@b>" == found["from"]
    assert "=?x-none?q?=FF?=" == found["subject"]
    assert {"subject", "from", "to"} == found.keys()


LINES = [
    '{"n": 0, "kind": "mail", "id": "A"}',
    '{"n": 1, "kind": "mail", "id": "B"}',
    '{"n": 2, "kind": "end", "code": 0}',
]


@given(st.permutations(LINES * 2), st.lists(st.integers(0, 6), max_size=3))
def test_lines_come_in_order_and_once(messages: list[str], cuts: list[int]) -> None:
    """Lines are ordered and deduplicated, however CloudWatch Logs delivers them."""
    output = TaskOutput()
    at = [0, *sorted(cuts), len(messages)]
    found = [line["id"] for a, b in pairwise(at) for line in output.take(messages[a:b])]
    assert (["A", "B"], True, 0) == (found, output.is_whole, output.code)


def test_what_is_missing_is_known_and_other_words_are_kept_apart() -> None:
    """Missing lines are noticed, and a program's messages are not results."""
    output = TaskOutput()
    assert [] == output.take([LINES[1], "postsuper: warning", '{"n": "x"}', '{"n": 9', LINES[2]])
    assert not output.is_whole
    assert ["postsuper: warning", '{"n": "x"}', '{"n": 9'] == output.noise
    assert ["A", "B"] == [line["id"] for line in output.take([LINES[0]])]
    assert output.is_whole


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("\n+\n", []),
        ("a\x01tb\t\x011\t", ["a\tb", "\x01"]),
    ],
)
def test_fields_of_doveadm_are_unescaped(answer: str, expected: list[str]) -> None:
    """Fields are unescaped as Dovecot's str_tabescape defines."""
    assert expected == mailboxes.fields(answer.removesuffix("\n+\n"))


def test_logins_and_sessions_are_read() -> None:
    """The newest login counts, in any order of the records."""
    notes = (
        "2026-11-02T10:00Z phone imap 192.0.2.1\n2026-11-01T10:00Z main imap 192.0.2.2\nbroken\n"
    )
    assert {
        "at": "2026-11-02T10:00Z",
        "password": "phone",
        "protocol": "imap",
        "from": "192.0.2.1",
    } == (mailboxes.last_login(notes))
    assert mailboxes.last_login("") is None
    (session,) = mailboxes.sessions_of([("ann@x.example", "2", "imap", "(1 2)", "(192.0.2.1 ::1)")])
    assert (2, ["192.0.2.1", "::1"]) == (session["sessions"], session["from"])


def test_failures_are_explained() -> None:
    """Each explanation contains the remedy."""
    assert "no memory left" in explain_placement("RESOURCE:MEMORY")
    assert "plexus doctor" in explain_placement("AGENT")
    assert "NEW:REASON" in explain_placement("NEW:REASON")
    assert "memory" in explain_end(Ended(137, ""), [])
    assert "CannotPull" in explain_end(Ended(None, "CannotPullContainerError: x"), [])
    assert "exit code 1" in explain_end(Ended(1, "x"), ["Traceback", "Error: y"])
    when = datetime(2026, 11, 28, 18, 0, tzinfo=UTC)
    assert "ann runs queue-list since 2026-11-28 18:00:00 UTC" == str(
        Running("arn", "queue-list", "ann", when)
    )
