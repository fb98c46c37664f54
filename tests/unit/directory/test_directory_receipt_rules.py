"""Receipt rules: SES accepts whom the directory knows, within SES's limits, and changes little."""

import itertools
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_directories import HASH, directories, large_directory, recipients

from postal_plexus.directory import Directory, DirectoryError, Domain, Mailbox
from postal_plexus.directory.receipt_rules import RuleRecipients, receipt_rules


def accepted(rules: tuple[RuleRecipients, ...], recipient: str) -> bool:
    """Return SES's matching: the address, the address without its label, or the whole domain."""
    local, _, domain = recipient.lower().rpartition("@")
    forms = {f"{local}@{domain}", f"{local.split('+')[0]}@{domain}", domain}
    return any(forms & set(rule.recipients) for rule in rules)


def test_a_small_stack_is_one_rule() -> None:
    """Addresses stand by themselves, a domain with a catch-all as a whole, postmaster included."""
    made = Directory(
        (Domain("example.org"), Domain("example.net", "ann@example.org")),
        (Mailbox("ann@example.org", HASH), Mailbox("ben@example.net", HASH)),
    )
    expected = ("ann@example.org", "example.net", "postmaster@example.org")
    assert (RuleRecipients("recipients", expected),) == receipt_rules(made)


@given(directories(), recipients().filter(lambda recipient: recipient[:1] not in '+"'))
def test_ses_accepts_whom_the_directory_knows(made: Directory, recipient: str) -> None:
    """Whom SES refuses is unknown; whom it accepts has an entry of their own or a catch-all."""
    accepts = accepted(receipt_rules(made), recipient)
    if made.resolve(recipient).known:
        assert accepts
    if accepts:
        local, _, domain = recipient.lower().rpartition("@")
        caught = {each.name for each in made.domains if each.catch_all is not None}
        assert domain in caught or f"{local.split('+')[0]}@{domain}" in made.hosted_addresses()


@pytest.mark.parametrize("mailboxes", [1, 499, 500, 10_000, 50_000])
def test_limits(mailboxes: int) -> None:
    """At most 500 recipients a rule and 200 rules; each recipient in exactly one, none empty."""
    made = large_directory(mailboxes)
    rules = receipt_rules(made)
    assert len(rules) <= 200
    assert all(1 <= len(rule.recipients) <= 500 for rule in rules)
    assert len(rules) == len({rule.name for rule in rules})
    everyone = [recipient for rule in rules for recipient in rule.recipients]
    assert sorted(everyone) == sorted(made.hosted_addresses())


def test_no_rule_is_empty() -> None:
    """SES takes an empty list as "everyone", so a half without recipients gets no rule."""
    hosts = (f"d{number}.example" for number in itertools.count())
    domain = next(host for host in hosts if _begins_with_0(f"postmaster@{host}"))
    addresses = (f"user{number}@{domain}" for number in itertools.count())
    one_sided = itertools.islice(filter(_begins_with_0, addresses), 501)
    made = Directory((Domain(domain),), tuple(Mailbox(address, HASH) for address in one_sided))
    rules = receipt_rules(made)
    assert all(rule.recipients for rule in rules)
    assert 502 == sum(len(rule.recipients) for rule in rules)


def _begins_with_0(recipient: str) -> bool:
    """Return whether the hash that distributes recipients begins with a bit that is 0."""
    return sha256(recipient.encode()).digest()[0] < 128


def test_too_many_for_ses() -> None:
    """What SES cannot hold is refused, not cut off."""
    with pytest.raises(DirectoryError, match="SES allows 200"):
        receipt_rules(large_directory(70_000))


@settings(max_examples=30)
@given(st.integers(1, 3000), st.from_regex(r"[a-z]{1,8}", fullmatch=True))
def test_one_address_more_changes_one_rule(mailboxes: int, name: str) -> None:
    """A new mailbox changes one rule, or splits it; all others keep name and recipients."""
    small = large_directory(mailboxes)
    large = Directory(small.domains, (*small.mailboxes, Mailbox(f"{name}-new@example.org", HASH)))
    before, after = set(receipt_rules(small)), set(receipt_rules(large))
    assert len(before - after) == 1
    changed = [recipient for rule in after - before for recipient in rule.recipients]
    (old,) = before - after
    assert sorted({*old.recipients, f"{name}-new@example.org"}) == sorted(changed)


@given(st.permutations(range(20)))
def test_order_does_not_matter(order: list[int]) -> None:
    """Sorting the stack file's entries otherwise changes no rule."""
    made = large_directory(20)
    shuffled = Directory(made.domains, tuple(made.mailboxes[number] for number in order))
    assert receipt_rules(made) == receipt_rules(shuffled)
