"""Receipt rules: SES's documented recipient forms, order, Stop, disabled rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awsdesk.ses.rules import (
    PublishAction,
    Rule,
    RuleSet,
    StopAction,
    condition_matches,
    evaluate,
    matching_rules,
)

VERIFIED = frozenset({"example.com"})
TELL = PublishAction("arn:aws:sns:us-east-1:111122223333:t")


def rule(name: str, *recipients: str, **more: object) -> Rule:
    """Give a rule that publishes."""
    return Rule(name, more.pop("actions", (TELL,)), recipients, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("condition", "recipient", "expected"),
    [
        ("user@example.com", "user@example.com", True),
        ("user@example.com", "USER@Example.COM", True),
        ("User@Example.com", "user@example.com", True),
        ("user@example.com", "user+label@example.com", True),
        ("user@example.com", "user+@example.com", True),
        ("user@example.com", "user+a+b@example.com", True),
        ("user@example.com", "user2@example.com", False),
        ("user@example.com", "user@sub.example.com", False),
        ("user+a@example.com", "user+a@example.com", True),
        ("user+a@example.com", "user+b@example.com", False),
        ("user+a@example.com", "user@example.com", False),
        ("example.com", "anyone@example.com", True),
        ("example.com", "anyone@sub.example.com", False),
        ("example.com", "anyone@notexample.com", False),
        (".example.com", "anyone@sub.example.com", True),
        (".example.com", "anyone@a.b.example.com", True),
        (".example.com", "anyone@example.com", False),
        (".example.com", "anyone@subexample.com", False),
        ("sub.example.com", "anyone@sub.example.com", True),
        ("", "user@example.com", False),
        ("user@example.com", "user", False),
        ("user@example.com", "@example.com", False),
    ],
)
def test_conditions(condition: str, recipient: str, *, expected: bool) -> None:
    """The table of SES's documents, and its edges."""
    assert expected == condition_matches(condition, recipient)


@given(st.text(), st.text())
def test_no_condition_or_recipient_is_too_odd(condition: str, recipient: str) -> None:
    """Any two texts give an answer."""
    assert condition_matches(condition, recipient) in {True, False}


def test_no_recipients_match_everyone_at_verified_domains() -> None:
    """An empty list matches verified domains and their subdomains, and no other domain."""
    rules = RuleSet("s", (rule("all"),))
    assert (rules.rules[0],) == matching_rules(rules, "x@example.com", VERIFIED)
    assert (rules.rules[0],) == matching_rules(rules, "x@sub.example.com", VERIFIED)
    assert () == matching_rules(rules, "x@example.net", VERIFIED)


def test_each_rule_is_told_its_own_recipients() -> None:
    """Two matching rules run, in order, each with the recipients that it matched."""
    rules = RuleSet("s", (rule("ann", "ann@example.com"), rule("domain", "example.com")))
    found = evaluate(rules, ["ben@example.com", "ann@example.com"], VERIFIED)
    assert [
        ("ann", ("ann@example.com",)),
        ("domain", ("ben@example.com", "ann@example.com")),
    ] == [(match.rule.name, match.recipients) for match in found]


def test_stop_ends_the_rule_set_for_all_recipients() -> None:
    """One rule a mailbox with Stop would lose mail for the second mailbox."""
    rules = RuleSet(
        "s",
        (
            rule("ann", "ann@example.com", actions=(TELL, StopAction())),
            rule("ben", "ben@example.com", actions=(TELL, StopAction())),
        ),
    )
    found = evaluate(rules, ["ann@example.com", "ben@example.com"], VERIFIED)
    assert ["ann"] == [match.rule.name for match in found]


def test_a_stop_in_a_rule_that_does_not_match_stops_nothing() -> None:
    """Only a matching rule's actions count."""
    rules = RuleSet(
        "s", (rule("no", "no@example.com", actions=(StopAction(),)), rule("all", "example.com"))
    )
    assert ["all"] == [m.rule.name for m in evaluate(rules, ["ann@example.com"], VERIFIED)]


def test_a_disabled_rule_is_not_there() -> None:
    """Neither accepts nor stops."""
    rules = RuleSet("s", (rule("off", "example.com", enabled=False),))
    assert () == evaluate(rules, ["ann@example.com"], VERIFIED)
    assert () == matching_rules(rules, "ann@example.com", VERIFIED)


def test_without_an_active_rule_set_nobody_is_known() -> None:
    """No active set: SES refuses everyone."""
    assert () == matching_rules(None, "ann@example.com", VERIFIED)
    assert () == evaluate(None, ["ann@example.com"], VERIFIED)
