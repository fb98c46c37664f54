"""The judgement of AWS's answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from postal_plexus.operations import judgement
from postal_plexus.operations.findings import Finding, Level

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
GOOD_ACCOUNT = {
    "EnforcementStatus": "HEALTHY",
    "ProductionAccessEnabled": True,
    "SendingEnabled": True,
    "SendQuota": {"Max24HourSend": 200.0, "SentLast24Hours": 10.0},
}


def worst(*findings: Finding) -> Level:
    for each in findings:
        assert each.what
        assert bool(each.next_step) == (each.level in {Level.WARNING, Level.CRITICAL})
    return max(each.level for each in findings)


@pytest.mark.parametrize(
    ("changed", "level"),
    [
        ({}, Level.OK),
        ({"SendingEnabled": False}, Level.CRITICAL),
        ({"ProductionAccessEnabled": False}, Level.CRITICAL),
        ({"EnforcementStatus": "PROBATION"}, Level.WARNING),
        ({"SendQuota": {"Max24HourSend": 200.0, "SentLast24Hours": 170.0}}, Level.WARNING),
        ({"SendQuota": {"Max24HourSend": -1.0, "SentLast24Hours": 170.0}}, Level.OK),
    ],
)
def test_the_account(changed: dict[str, Any], level: Level) -> None:
    """Sending off or the sandbox is critical; probation or 80 % of the quota a warning."""
    assert level is worst(*judgement.sending(GOOD_ACCOUNT | changed))


@pytest.mark.parametrize(
    ("kind", "rate", "level"),
    [
        ("bounces", None, Level.OK),
        ("bounces", 0.049, Level.OK),
        ("bounces", 0.05, Level.WARNING),
        ("bounces", 0.10, Level.CRITICAL),
        ("complaints", 0.0009, Level.OK),
        ("complaints", 0.001, Level.WARNING),
        ("complaints", 0.005, Level.CRITICAL),
    ],
)
def test_rates_are_judged_by_what_ses_does(kind: str, rate: float | None, level: Level) -> None:
    """SES reviews an account at 5 % bounces or 0.1 % complaints; at 10 or 0.5 % it may pause it."""
    assert level is worst(judgement.reputation(kind, rate))


@pytest.mark.parametrize(
    ("verified", "dkim", "signing", "mail_from", "level"),
    [
        (True, "SUCCESS", True, "SUCCESS", Level.OK),
        (False, "PENDING", False, "PENDING", Level.CRITICAL),
        (True, "PENDING", True, "SUCCESS", Level.WARNING),
        (True, "SUCCESS", False, "SUCCESS", Level.WARNING),
        (True, "SUCCESS", True, "FAILED", Level.WARNING),
    ],
)
def test_an_identity(
    *, verified: bool, dkim: str, signing: bool, mail_from: str, level: Level
) -> None:
    """Without verification nothing can be sent; without DKIM or MAIL FROM it may look like spam."""
    answer = {
        "VerifiedForSendingStatus": verified,
        "DkimAttributes": {"Status": dkim, "SigningEnabled": signing},
        "MailFromAttributes": {"MailFromDomainStatus": mail_from},
    }
    assert level is worst(*judgement.identity("example.org", answer))


def test_the_rule_set() -> None:
    """Another active set, or a rule that is off, means that mail is refused or goes elsewhere."""
    rule = {"Enabled": True, "Recipients": ["example.org"]}
    for active, level in (
        ({"Metadata": {"Name": "ours"}, "Rules": [rule]}, Level.OK),
        ({"Metadata": {"Name": "ours"}, "Rules": [rule | {"Enabled": False}]}, Level.CRITICAL),
        ({"Metadata": {"Name": "theirs"}, "Rules": [rule]}, Level.CRITICAL),
        ({}, Level.CRITICAL),
    ):
        assert level is worst(judgement.rule_set("ours", active))


@pytest.mark.parametrize(
    ("minutes", "level"),
    [(None, Level.OK), (4, Level.OK), (5, Level.WARNING), (60, Level.CRITICAL)],
)
def test_a_queue_is_judged_by_its_oldest(minutes: int | None, level: Level) -> None:
    """Not by its length: a hundred that move are no problem, one that waits for an hour is."""
    oldest = None if minutes is None else timedelta(minutes=minutes)
    finding = judgement.queue("queue", {"ApproximateNumberOfMessages": "7"}, oldest)
    assert level is worst(finding)
    assert "7 waiting" in finding.what


def test_dead_letters() -> None:
    """A single one is for somebody to look at."""
    assert Level.OK is worst(judgement.dead_letters({"ApproximateNumberOfMessages": "0"}))
    assert Level.WARNING is worst(judgement.dead_letters({"ApproximateNumberOfMessages": "1"}))


def test_services() -> None:
    """In order with as many tasks as desired, at least one; its last event says why not."""
    names = {"dovecot": "d", "postfix": "p"}
    runs = {"status": "ACTIVE", "desiredCount": 1, "runningCount": 1}
    dead = {"serviceName": "p", "status": "ACTIVE", "desiredCount": 1, "runningCount": 0}
    dead |= {"events": [{"message": "no room"}]}
    both = [runs | {"serviceName": "d"}, runs | {"serviceName": "p"}]
    assert Level.OK is worst(*judgement.services(names, both))
    found = list(judgement.services(names, [both[0], dead]))
    assert [Level.OK, Level.CRITICAL] == [each.level for each in found]
    assert "no room" in found[1].what
    assert Level.CRITICAL is worst(*judgement.services(names, both[:1]))
    off = runs | {"serviceName": "p", "desiredCount": 0, "runningCount": 0}
    assert "desired count 0" in list(judgement.services(names, [both[0], off]))[1].what


def test_images_backups_and_certificates_grow_old() -> None:
    """Images after 15 days or with findings, backups after two, certificates below 20 days."""
    day = timedelta(days=1)
    assert Level.OK is worst(judgement.image("d", NOW - 14 * day, {"LOW": 9}, NOW))
    assert Level.WARNING is worst(judgement.image("d", NOW - 16 * day, {}, NOW))
    assert Level.WARNING is worst(judgement.image("d", NOW, {"HIGH": 1}, NOW))
    done = {"Status": "COMPLETED", "CreationDate": NOW - day}
    assert Level.OK is worst(judgement.backup([done], NOW))
    assert Level.WARNING is worst(judgement.backup([done | {"Status": "EXPIRED"}], NOW))
    assert Level.WARNING is worst(judgement.backup([done], NOW + 2 * day))
    for days, level in ((30, Level.OK), (19, Level.WARNING), (2, Level.CRITICAL)):
        assert level is worst(judgement.certificate("mail.example.org", NOW + days * day, NOW))


def test_who_hears_the_alarms() -> None:
    """Nobody, until the address has confirmed its subscription."""
    mail = {"Protocol": "email", "Endpoint": "a@b.example", "SubscriptionArn": "arn:x"}
    pending = mail | {"SubscriptionArn": "PendingConfirmation"}
    assert Level.OK is worst(judgement.alarm_address([mail]))
    assert Level.WARNING is worst(judgement.alarm_address([pending]))
    assert Level.WARNING is worst(judgement.alarm_address([]))


@pytest.mark.parametrize(
    ("first", "last", "level", "told"),
    [
        (10e9, 16e9, Level.WARNING, "+6.00 GB in 29 days"),
        (10e9, 14e9, Level.OK, "+4.00 GB in 29 days"),
        (1e9, 4e9, Level.OK, "+3.00 GB in 29 days"),
        (4e9, 3e9, Level.OK, "-1.00 GB in 29 days"),
    ],
    ids=["by more than half", "by less", "little", "shrunk"],
)
def test_the_mail_store_grows(first: float, last: float, level: Level, told: str) -> None:
    """Growth by more than half within a month is reported, unless the store is small."""
    sizes = [
        {"Timestamp": NOW, "Average": last},
        {"Timestamp": NOW - timedelta(days=29), "Average": first},
    ]
    found = judgement.storage({"LifeCycleState": "available"}, sizes)
    assert level is worst(found)
    assert told in found.what


@pytest.mark.parametrize(
    ("plans", "level"),
    [
        ({}, Level.UNKNOWN),
        ({"CurrentPlan": "NONE"}, Level.OK),
        ({"CurrentPlan": "ESSENTIALS"}, Level.OK),
        ({"CurrentPlan": "PRO"}, Level.WARNING),
        ({"CurrentPlan": "PRO", "NextPlan": "NONE"}, Level.OK),
        ({"CurrentPlan": "NONE", "NextPlan": "ENTERPRISE"}, Level.WARNING),
    ],
)
def test_the_price_plan(plans: dict[str, str], level: Level) -> None:
    """For Essentials the cheaper plan is named; dearer plans are reported."""
    found = judgement.price_plan({"PricingAttributes": plans})
    assert level is worst(found)
    assert "NONE" not in plans.values() or level is not Level.OK or "least" in found.what


def said(minute: int, text: str) -> judgement.Said:
    """Return a log line, some minutes after the directory was written."""
    return judgement.Said(NOW + timedelta(minutes=minute), text)


TAKEN = said(1, '{"event": "directory taken", "etag": "\\"e1\\""}')
REFUSED = said(1, '{"event": "directory refused", "etag": "\\"e1\\""}')
REFRESHED = said(2, "follow-directory: maps refreshed")
KEPT = said(2, "follow-directory: refused the directory's files, the last good maps stay: why")


@pytest.mark.parametrize(
    ("taken", "tables", "after", "level", "told"),
    [
        ([TAKEN], [REFRESHED], 60, Level.OK, "deliver at 12:01:00, Postfix at 12:02:00"),
        ([TAKEN], [], 60, Level.OK, "deliver at 12:01:00; Dovecot"),
        ([], [], 1, Level.OK, "just written"),
        ([], [], 60, Level.UNKNOWN, "no line says"),
        (
            [said(0, '{"event": "directory refused", "etag": "e0"}')],
            [],
            1,
            Level.OK,
            "just written",
        ),
        ([said(1, "directory taken e0")], [], 60, Level.UNKNOWN, "no line says"),
        ([REFUSED], [], 60, Level.WARNING, "refused by `deliver`"),
        ([TAKEN, said(3, REFUSED.text)], [], 60, Level.WARNING, "refused by `deliver`"),
        ([REFUSED, said(3, TAKEN.text)], [], 60, Level.OK, "deliver at 12:03:00"),
        ([TAKEN], [KEPT], 60, Level.WARNING, "refused by Postfix"),
        ([TAKEN], [KEPT, said(3, REFRESHED.text)], 60, Level.OK, "Postfix at 12:03:00"),
    ],
)
def test_the_directory_is_taken(
    taken: list[judgement.Said],
    tables: list[judgement.Said],
    after: int,
    level: Level,
    told: str,
) -> None:
    """Judged by the lines of deliver and Postfix since the object in S3 was written."""
    now = NOW + timedelta(minutes=after)
    found = judgement.directory(NOW, "e1", taken, tables, now)
    assert level is worst(found)
    assert told in found.what


def test_the_rest() -> None:
    """Clock, memory, file system, budget and alarms, each at its limit."""
    assert Level.WARNING is worst(judgement.clock(timedelta(seconds=-31)))
    assert Level.OK is worst(judgement.clock(timedelta(seconds=29)))
    assert Level.UNKNOWN is worst(judgement.memory("d", None))
    assert Level.OK is worst(judgement.memory("d", 0.99))
    assert Level.WARNING is worst(judgement.memory("d", 1.0))
    assert Level.OK is worst(judgement.storage({"LifeCycleState": "available"}, []))
    assert Level.CRITICAL is worst(judgement.storage({"LifeCycleState": "error"}, []))
    spent = {"ActualSpend": {"Amount": "3"}, "ForecastedSpend": {"Amount": "11"}}
    planned = {"BudgetLimit": {"Amount": "10"}, "CalculatedSpend": spent}
    assert Level.WARNING is worst(judgement.budget([planned]))
    assert Level.OK is worst(judgement.budget([planned | {"BudgetLimit": {"Amount": "12"}}]))
    assert Level.WARNING is worst(judgement.budget([]))
    ringing = {"AlarmName": "a", "StateReason": "because", "AlarmDescription": "do this"}
    assert Level.WARNING is worst(*judgement.alarms([ringing]))
    assert Level.OK is worst(*judgement.alarms([]))
