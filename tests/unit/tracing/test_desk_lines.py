"""Lines that a desk has written: each mail is one journey, found by each of its names."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from postal_plexus.tracing import deliver_log, dovecot_log, postfix_log, report
from postal_plexus.tracing.journey import Journey, is_asked_for, journeys
from postal_plexus.tracing.step import State, Step

_LINES = Path(__file__).with_name("desk")
_PARSERS = {
    "deliver": deliver_log.steps,
    "dovecot": dovecot_log.steps,
    "postfix": postfix_log.steps,
}


def steps() -> list[Step]:
    """Return all steps of the recorded lines."""
    found: list[Step] = []
    for service, parse in _PARSERS.items():
        for line in (_LINES / f"{service}.log").read_text().splitlines():
            moment, _, text = line.partition(" ")
            found += parse(datetime.fromisoformat(moment), text)
    return found


@pytest.fixture(scope="module")
def every() -> list[Journey]:
    return journeys(steps())


def only(every: list[Journey], what: str) -> Journey:
    """Return the one journey that is asked for."""
    (found,) = [each for each in every if is_asked_for(each, what)]
    return found


def outcomes(journey: Journey) -> dict[str, tuple[State, str, str]]:
    """State, folder and rule by recipient."""
    return {
        each.fate.recipient: (each.fate.state, each.fate.folder, each.rule)
        for each in journey.outcomes
    }


def test_a_filed_mail_names_its_folder_and_its_rule(every: list[Journey]) -> None:
    """From SES to the folder, with the line of the filter; the text says it, too."""
    journey = only(every, "<list.1cff8916@x.example>")
    filed = (State.DELIVERED, "Lists/It's odd", "rules: line 3")
    assert {"ben@example.org": filed} == outcomes(journey)
    assert ["SES", "deliver", "Dovecot", "Dovecot"] == [step.where for step in journey.steps]
    told = "\n".join(report.lines(journey, datetime.now(UTC)))
    assert "in the folder Lists/It's odd, by the rule rules: line 3" in told
    assert "spam=PASS; virus=PASS; spf=PASS" in told


def test_spam_is_filed_by_the_rule_of_the_system(every: list[Journey]) -> None:
    """The outcome names the script and its line."""
    journey = only(every, "spam.1cff8916@x")
    assert {"ann@example.org": (State.DELIVERED, "Junk", "junk: line 40")} == outcomes(journey)


@pytest.mark.parametrize(
    ("name", "state"),
    [("away", State.REDIRECTED), ("junkit", State.DISCARDED), ("nope", State.BOUNCED)],
)
def test_what_a_filter_kept_nowhere_is_not_called_delivered(
    every: list[Journey], name: str, state: State
) -> None:
    """Though Dovecot's reply was 250."""
    journey = only(every, f"{name}.1cff8916@x.example")
    assert state is outcomes(journey)["ben@example.org"][0]


@pytest.mark.parametrize("name", ["onward", "away"])
def test_a_redirect_is_one_journey_in_and_out(every: list[Journey], name: str) -> None:
    """By the receipt in the guard's line, not by the Message-ID."""
    journey = only(every, f"{name}.1cff8916@x.example")
    assert State.ARRIVED is outcomes(journey)["friend@elsewhere.example"][0]
    kinds = ("receipt", "queue", "ses")
    assert [1, 1, 1] == [len(journey.named(each)) for each in kinds]
    for kind in kinds:
        assert journey == only(every, journey.named(kind)[0])
        assert journey == only(every, journey.named(kind)[0][:30])


def test_a_forward_of_an_alias_is_found_by_the_alias(every: list[Journey]) -> None:
    """In by SES, through `deliver` and Postfix, out by SES, with the other side's words."""
    journey = only(every, "away@example.org")
    assert ("fwd.1cff8916@x.example",) == journey.message_ids
    (outcome,) = journey.outcomes
    assert ("friend@elsewhere.example", State.ARRIVED, "250 2.6.0 Message received") == (
        outcome.fate.recipient,
        outcome.fate.state,
        outcome.fate.words,
    )
    assert "world@elsewhere.example" == journey.sender


def test_an_alias_of_several_shows_each(every: list[Journey]) -> None:
    """Of a mail that came in, and of one between users."""
    inbox = (State.DELIVERED, "INBOX", "")
    both = {"ann@example.org": inbox, "ben@example.org": inbox}
    assert both == outcomes(only(every, "plain.1cff8916@x.example"))
    local = only(every, "mark 1cff8916 info@example.org")
    assert both == outcomes(local)
    assert "info@example.org" in local.addresses


@pytest.mark.parametrize(
    ("name", "state", "words"),
    [
        ("friend@elsewhere.example", State.ARRIVED, "250 2.6.0 Message received"),
        ("bounce@simulator.amazonses.com", State.FAILED, "5.1.1 smtp; 550 5.1.1 user unknown"),
        ("complaint@simulator.amazonses.com", State.COMPLAINED, "Complaint"),
        ("ooto@simulator.amazonses.com", State.ARRIVED, "250 2.6.0 Message received"),
    ],
)
def test_a_sent_mail_ends_with_the_other_sides_words(
    every: list[Journey], name: str, state: State, words: str
) -> None:
    """For each address of SES's simulator: the state, and the reply or report that ends it."""
    (outcome,) = only(every, f"mark 1cff8916 {name}").outcomes
    assert (state, words, True) == (outcome.fate.state, outcome.fate.words, outcome.is_final)


def test_dead_letters_say_why(every: list[Journey]) -> None:
    """Dead letters say why: a virus, or an unknown address."""
    (virus,) = only(every, "eicar.1cff8916@x.example").outcomes
    assert (State.HELD, "virus") == (virus.fate.state, virus.fate.words)
    unknown = [each for each in every if is_asked_for(each, "nobody@example.org")]
    assert {"5.1.1 no such mailbox"} <= {
        outcome.fate.words for each in unknown for outcome in each.outcomes
    }


def test_what_was_refused_at_submission_is_found_by_address(every: list[Journey]) -> None:
    """It has no queue id: a journey of its own."""
    (refused,) = [
        each
        for each in every
        if is_asked_for(each, "nobody@example.org") and not each.named("receipt")
    ]
    assert "ann@example.org" == refused.sender
    assert "User unknown" in refused.outcomes[0].fate.words
    assert not refused.is_under_way


def test_a_mail_that_waits_says_for_what_and_since_when() -> None:
    """Up to the moment at which SES took it: deferred, with its words; afterwards it has arrived."""
    every = steps()
    later = only(journeys(every), "mark 1cff8916 later")
    assert State.ARRIVED is later.outcomes[0].fate.state
    deferred = next(step for step in every if step.fates and step.fates[0].state is State.WAITING)
    waiting = only(
        journeys([step for step in every if step.at <= deferred.at]), "mark 1cff8916 later"
    )
    assert waiting.is_under_way
    now = datetime.fromisoformat("2026-11-28T20:02:39Z")
    told = list(report.lines(waiting, now))[-1]
    assert "421 Too many concurrent SMTP connections" in told
    assert "since 2026-11-28 19:02:39 (60 minutes)" in told


def test_a_subject_is_found_as_it_is_read(every: list[Journey]) -> None:
    """RFC 2047 is undone; letters' case does not matter."""
    assert ("many.1cff8916@x.example",) == only(every, "grüße LIST").message_ids


def test_no_line_of_a_mail_is_without_a_journey(every: list[Journey]) -> None:
    """All steps are kept, each once; only refusals and notices stand alone."""
    assert sorted(map(repr, set(steps()))) == sorted(
        repr(step) for each in every for step in each.steps
    )
    assert {"receipt", "queue", "session", "refusal"} == {
        each.partition(":")[0] for journey in every for each in journey.ids
    } - {"ses"}


def test_the_document_is_the_journey(every: list[Journey]) -> None:
    """What `--json` prints of one."""
    found = report.document(only(every, "list.1cff8916@x.example"))
    assert ["list.1cff8916@x.example"] == found["message_ids"]
    assert [
        {
            "address": "ben@example.org",
            "state": "delivered",
            "words": "",
            "folder": "Lists/It's odd",
            "rule": "rules: line 3",
            "since": "2026-11-28T19:02:37.756Z",
        }
    ] == found["recipients"]
