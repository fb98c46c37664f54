"""The harness itself: it must find what is wrong, and find nothing where nothing is wrong."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from tests.chaos.filters import ANSWERS, REDIRECTED_TO, REDIRECTS, REJECTS
from tests.chaos.ledger import Account, Forwarded, Judgement, Kept, judge
from tests.chaos.plan import (
    BETWEEN_HOSTS,
    MAILBOXES,
    OUTAGES,
    Outage,
    Plan,
    PlannedEcho,
    PlannedMail,
    PlannedOutage,
    Stage,
    make,
)
from tests.chaos.run import Report, Run
from tests.chaos.shards import Blind, Delivery, judge_deliveries, judge_flags


def mail(**changes: object) -> PlannedMail:
    """Return one plain mail to ann and ben."""
    plain = PlannedMail(
        7,
        1,
        "chaos-000007@sender.example",
        ["info@example.org"],
        frozenset({"ann@example.org", "ben@example.org"}),
        frozenset(),
        frozenset(),
        500,
    )
    return replace(plain, **changes)


def kept(planned: PlannedMail, *boxes: str) -> list[Kept]:
    """Return the mail as it should lie in these mailboxes."""
    return [Kept(box, "INBOX", planned.number, planned.content()) for box in boxes]


def plan(*mails: PlannedMail, echoes: tuple[PlannedEcho, ...] = ()) -> Plan:
    """Return a plan of these messages."""
    return Plan(1, mails, (), echoes)


BOTH = ("ann@example.org", "ben@example.org")


def test_everything_in_its_place_is_good() -> None:
    """One copy in each mailbox: no complaint."""
    found = judge(plan(mail()), kept(mail(), *BOTH), [])
    assert (found.faults(), found.delivered) == ({}, 2)


def test_missing_copy_is_lost() -> None:
    """A mailbox without its mail, and nobody told: lost."""
    found = judge(plan(mail()), kept(mail(), "ann@example.org"), [])
    assert list(found.faults()) == ["lost"]


def test_second_copy_is_doubled() -> None:
    """Two copies in one mailbox, in whatever folders."""
    copies = [*kept(mail(), *BOTH), Kept("ann@example.org", "Junk", 7, mail().content())]
    assert list(judge(plan(mail()), copies, []).faults()) == ["doubled"]


def test_mail_in_a_foreign_mailbox_has_strayed() -> None:
    """A mailbox that the mail was not for, and a mail that nobody sent."""
    copies = [*kept(mail(), *BOTH, "cay@example.org"), Kept("ann@example.org", "INBOX", -1, b"")]
    found = judge(plan(mail()), copies, [])
    assert (list(found.faults()), len(found.strayed)) == (["strayed"], 2)


def test_changed_content_is_damaged() -> None:
    """One byte is enough."""
    copies = [
        *kept(mail(), "ann@example.org"),
        Kept("ben@example.org", "INBOX", 7, mail().content()[:-1]),
    ]
    assert list(judge(plan(mail()), copies, []).faults()) == ["damaged"]


def test_delivered_and_reported_as_failed_is_misreported() -> None:
    """A sender who hears of a failure that was none."""
    told = [Account(mail().ses_message_id, "ann@example.org", "bounce", "5.7.1")]
    assert list(judge(plan(mail()), kept(mail(), *BOTH), told).faults()) == ["misreported"]


def test_given_up_without_need_is_misreported() -> None:
    """Dead letters excuse only what could not be delivered."""
    told = [Account(mail().ses_message_id, "ann@example.org", "dead letter", "why not")]
    found = judge(plan(mail()), kept(mail(), "ben@example.org"), told)
    assert list(found.faults()) == ["misreported"]


def test_refused_recipient_must_be_accounted_for() -> None:
    """A permanent refusal needs a bounce or a dead letter with a reason; a copy is wrong."""
    refused = mail(refused={"ben@example.org": -1})
    told = Account(refused.ses_message_id, "ben@example.org", "bounce", "550 5.7.1")
    ann = kept(refused, "ann@example.org")
    assert judge(plan(refused), ann, [told]).faults() == {}
    assert list(judge(plan(refused), ann, []).faults()) == ["unaccounted"]
    assert list(judge(plan(refused), ann, [replace(told, reason="")]).faults()) == ["unaccounted"]
    assert list(judge(plan(refused), kept(refused, *BOTH), [told]).faults()) == ["strayed"]


def test_unknown_recipient_must_be_accounted_for() -> None:
    """Nobody's address is somebody's concern."""
    unknown = mail(unknown=frozenset({"nobody@example.org"}))
    told = [Account(unknown.ses_message_id, "nobody@example.org", "dead letter", "5.1.1")]
    assert judge(plan(unknown), kept(unknown, *BOTH), told).faults() == {}
    assert list(judge(plan(unknown), kept(unknown, *BOTH), []).faults()) == ["unaccounted"]


def test_virus_must_not_lie_in_any_inbox() -> None:
    """Quarantined is accounted for as a whole, and each reader has one notice."""
    virus = mail(verdicts={"virus": "FAIL"})
    told = [Account(virus.ses_message_id, "", "dead letter", "virus")]
    notices = [Kept(box, "INBOX", -1, b"", held=virus.ses_message_id) for box in BOTH]
    assert judge(plan(virus), notices, told).faults() == {}
    assert list(judge(plan(virus), notices[1:], told).faults()) == ["lost"]
    assert list(judge(plan(virus), [*notices, notices[0]], told).faults()) == ["doubled"]
    stray = replace(notices[0], held="other")
    assert list(judge(plan(virus), [*notices, stray], told).faults()) == ["strayed"]
    assert "strayed" in judge(plan(virus), kept(virus, "ann@example.org"), told).faults()


def test_spam_must_not_lie_in_an_inbox() -> None:
    """It belongs to Junk, once."""
    spam = mail(verdicts={"spam": "FAIL"})
    junk = [Kept(box, "Junk", 7, spam.content()) for box in BOTH]
    assert judge(plan(spam), junk, []).faults() == {}
    assert list(judge(plan(spam), kept(spam, *BOTH), []).faults()) == ["strayed"]


def test_forward_is_wanted_once_and_borne_again() -> None:
    """A forward must have gone out, with the body untouched; a second one is only counted."""
    away = mail(outside=frozenset({"away@outside.example"}))
    body = away.content().partition(b"\r\n\r\n")[2]
    sent = Forwarded(7, "away@outside.example", b"From: other\r\n\r\n" + body)
    both = kept(away, *BOTH)
    assert list(judge(plan(away), both, []).faults()) == ["lost"]
    again = judge(plan(away), both, [], (), [sent, sent])
    assert (again.faults(), again.forwarded, again.forwarded_again) == ({}, 1, 1)
    cut = replace(sent, content=sent.content[:-3])
    assert list(judge(plan(away), both, [], (), [cut]).faults()) == ["damaged"]
    stray = replace(sent, recipient="stranger@outside.example")
    assert list(judge(plan(away), both, [], (), [sent, stray]).faults()) == ["strayed"]


def test_spam_must_not_be_forwarded() -> None:
    """Sent on in our name it would be our spam: it must be accounted for instead."""
    spam = mail(outside=frozenset({"away@outside.example"}), verdicts={"spam": "FAIL"})
    junk = [Kept(box, "Junk", 7, spam.content()) for box in BOTH]
    told = [Account(spam.ses_message_id, "away@outside.example", "dead letter", "spam")]
    assert judge(plan(spam), junk, told).faults() == {}
    assert list(judge(plan(spam), junk, []).faults()) == ["unaccounted"]


def test_notice_of_an_event_is_wanted_exactly_once() -> None:
    """None is lost, two are doubled, in another's mailbox it has strayed."""
    echo = PlannedEcho(3, 1, "ann@example.org", "Bounce")
    notice = Kept("ann@example.org", "INBOX", -1, b"", echo.message_id)
    only = plan(echoes=(echo,))
    assert judge(only, [notice], []).faults() == {}
    assert list(judge(only, [], []).faults()) == ["lost"]
    assert list(judge(only, [notice, notice], []).faults()) == ["doubled"]
    stray = replace(notice, mailbox="ben@example.org")
    assert list(judge(only, [notice, stray], []).faults()) == ["strayed"]


def test_a_lost_flag_is_seen() -> None:
    """What a client was told is kept must be there, in that mailbox."""
    one = replace(kept(mail(), "ann@example.org")[0], flagged=True)
    found = Judgement()
    judge_flags(found, [one, *kept(mail(), "ben@example.org")], {"ann@example.org": {7}})
    assert {} == found.faults()
    judge_flags(found, [one], {"ben@example.org": {7}})
    assert {"flags lost": ["mail 7 of ben@example.org"]} == found.faults()


def test_a_delivery_by_an_old_directory_is_seen() -> None:
    """A host that cannot look delivers what was accepted until 25 s after its last look, no more."""
    blind = [Blind(1, 1000.0, 1100.0)]
    accepted = {1: 1024.0, 2: 1026.0}
    fine = [Delivery(1, 1, 1050.0), Delivery(2, 2, 1050.0), Delivery(1, 2, 1101.0)]
    found = Judgement()
    judge_deliveries(found, fine, blind, accepted)
    assert {} == found.faults()
    judge_deliveries(found, [Delivery(1, 2, 1050.0)], blind, accepted)
    assert ["mail 2 by host 1, 1.0 s too late"] == found.outdated


def test_a_plan_of_two_hosts_has_outages_between_them() -> None:
    """Every kind, on either host; a plan of one host has none of them."""
    outages = make(3, 10_000, 1000, hosts=2).outages
    assert set(Outage) == {outage.what for outage in outages}
    assert {1, 2} == {outage.host for outage in outages}
    assert {True} == {bool(one.mailbox) for one in outages if one.what is Outage.MOVE}
    assert set(BETWEEN_HOSTS).isdisjoint(one.what for one in make(3, 10_000, 1000).outages)


def test_same_seed_gives_the_same_plan() -> None:
    """A failure's seed reproduces its messages, contents and faults."""
    first, second = make(11, 200, 80), make(11, 200, 80)
    assert first == second
    assert [one.content() for one in first.mails] == [one.content() for one in second.mails]
    assert make(12, 200, 80) != first


def test_plan_has_the_faults_that_were_asked_for() -> None:
    """As many as asked, a fifth of them outages, and every kind in a long plan."""
    plan = make(3, 10_000, 500)
    assert plan.faults() >= 500
    assert len(plan.outages) == 100
    assert {outage.what for outage in plan.outages} == set(OUTAGES)
    assert {outage.stage for outage in plan.outages} == set(Stage)
    assert {box for one in plan.mails for box in one.expected} == set(MAILBOXES)
    assert any(not one.sender for one in plan.mails)
    assert any(one.unknown for one in plan.mails)


def broken(way: str, plan: Plan, root: Path) -> Report:
    """Run a plan with one of the wrong ways."""
    run = Run(
        plan,
        root / "run",
        name=f"plexus-chaos-naive-{way}",
        arguments=("-m", "tests.chaos.naive", way),
        patience=30,
    )
    return asyncio.run(run.go())


def few(*, outages: tuple[PlannedOutage, ...] = (), **first: object) -> Plan:
    """Sixty plain messages to one mailbox or two; the first ten have more."""
    mails = [
        mail(number=number, sender=f"chaos-{number:06d}@sender.example") for number in range(60)
    ]
    mails[:10] = [replace(one, **first) for one in mails[:10]]
    return Plan(5, tuple(replace(one, seed=5) for one in mails), outages)


pytestmark = pytest.mark.timeout(180)


@pytest.mark.usefixtures("mail_host")
@pytest.mark.parametrize("way", ["deletes-first", "forgets", "one-reply"])
def test_wrong_ways_are_right_without_faults(way: str, tmp_path: Path) -> None:
    """What the harness finds below comes from the faults, not from the harness."""
    report = broken(way, few(), tmp_path)
    assert (report.judgement.faults(), report.judgement.delivered) == ({}, 120)


@pytest.mark.usefixtures("mail_host")
def test_delete_before_delivery_is_seen_to_lose(tmp_path: Path) -> None:
    """A kill -9 between delete and delivery loses the mail: the harness says so."""
    kill = PlannedOutage(8, Stage.MAIL, Outage.KILL_DELIVER, 0.1)
    report = broken("deletes-first", few(outages=(kill,)), tmp_path)
    assert list(report.judgement.faults()) == ["lost"]


@pytest.mark.usefixtures("mail_host")
def test_delivery_without_memory_is_seen_to_double(tmp_path: Path) -> None:
    """A reply that is lost after the mail was stored doubles it: the harness says so."""
    report = broken("forgets", few(in_proxy=["swallow"]), tmp_path)
    assert list(report.judgement.faults()) == ["doubled"]


@pytest.mark.usefixtures("mail_host")
def test_one_reply_for_all_is_seen_to_lose(tmp_path: Path) -> None:
    """smtplib's LMTP takes one recipient's acceptance for all: the harness says so."""
    report = broken("one-reply", few(refused={"ben@example.org": 1}), tmp_path)
    assert list(report.judgement.faults()) == ["lost"]
    assert len(report.judgement.lost) == 10


FILTERED = mail(expected=frozenset({REDIRECTS, ANSWERS, REJECTS}), recipients=["all@example.org"])


def sent(*recipients: str, body: bytes = b"") -> list[Forwarded]:
    """Return what the filters sent of that mail."""
    content = body or FILTERED.content()
    return [Forwarded(FILTERED.number, recipient, content) for recipient in recipients]


def test_what_a_filter_sent_stands_for_the_copy() -> None:
    """A redirect and a rejection, also again and beside a copy; an answer comes beside the mail."""
    answer = Forwarded(
        -1, FILTERED.sender, b"Subject: x\r\nAuto-Submitted: auto-replied (vacation)\r\n"
    )
    away = [*sent(REDIRECTED_TO, REDIRECTED_TO, FILTERED.sender), answer]
    found = judge(plan(FILTERED), kept(FILTERED, ANSWERS), [], sent_by_filters=away)
    assert ({}, 3) == (found.faults(), found.delivered)
    assert (1, 1, 1) == (found.redirected, found.rejected, found.answers)
    every = kept(FILTERED, REDIRECTS, ANSWERS, REJECTS)
    assert {} == judge(plan(FILTERED), every, []).faults()
    assert {} == judge(plan(FILTERED), every, [], sent_by_filters=away).faults()


def test_what_a_filter_lost_or_sent_astray_is_seen() -> None:
    """Neither sent nor kept; kept twice; sent to others, of others' mail, or damaged."""
    found = judge(
        plan(FILTERED), kept(FILTERED, ANSWERS), [], sent_by_filters=sent(FILTERED.sender)
    )
    assert ["lost"] == list(found.faults())
    assert ["lost", "lost"] == [
        kind
        for kind, lines in judge(plan(FILTERED), kept(FILTERED, ANSWERS), []).faults().items()
        for _ in lines
    ]
    twice = kept(FILTERED, ANSWERS, REDIRECTS, REDIRECTS, REJECTS)
    assert ["doubled"] == list(judge(plan(FILTERED), twice, []).faults())
    every = kept(FILTERED, REDIRECTS, ANSWERS, REJECTS)
    for astray in (
        sent("x@outside.example"),
        [Forwarded(-1, "x@outside.example", b"\r\nAuto-Submitted: auto-replied\r\n")],
    ):
        assert ["strayed"] == list(
            judge(plan(FILTERED), every, [], sent_by_filters=astray).faults()
        )
    cut = sent(REDIRECTED_TO, body=FILTERED.content()[:-1])
    assert ["damaged"] == list(judge(plan(FILTERED), every, [], sent_by_filters=cut).faults())
    spam = replace(FILTERED, verdicts={"spam": "FAIL"})
    junk = [replace(one, folder="Junk") for one in kept(spam, REDIRECTS, ANSWERS, REJECTS)]
    assert ["strayed"] == list(
        judge(plan(spam), junk, [], sent_by_filters=sent(REDIRECTED_TO)).faults()
    )
