"""When a certificate is asked for, and for which names."""

from datetime import UTC, datetime, timedelta

import pytest

from postal_plexus.certificates.policy import Order, Validity, accepts_subset, order

NOW = datetime(2026, 11, 24, tzinfo=UTC)
ORG, NET = "mail.example.org", "mail.example.net"


def valid(*names: str, left: float, lifetime: float = 90, self_signed: bool = False) -> Validity:
    """Return a certificate with so many days left of its lifetime."""
    end = NOW + timedelta(days=left)
    return Validity(frozenset(names), end - timedelta(days=lifetime), end, self_signed)


def test_the_first_is_asked_for_when_a_domain_is_delegated():
    """Before, an authority could not see the challenge: nothing is tried."""
    assert order([ORG, NET], set(), None, NOW) is None
    assert Order((ORG, NET), "first") == order([ORG, NET], {ORG, NET}, None, NOW)


def test_a_domain_that_is_not_delegated_does_not_hold_up_the_others():
    """The certificate starts with what can be had, and grows."""
    assert Order((NET,), "first") == order([ORG, NET], {NET}, None, NOW)
    assert order([ORG, NET], {NET}, valid(NET, left=80), NOW) is None
    assert Order((ORG, NET), "names") == order([ORG, NET], {ORG, NET}, valid(NET, left=80), NOW)


def test_a_self_signed_one_counts_as_none():
    """Whatever its names and time, no client trusts it."""
    own = valid(ORG, left=3000, lifetime=3650, self_signed=True)

    assert Order((ORG,), "first") == order([ORG], {ORG}, own, NOW)
    assert order([ORG], set(), own, NOW) is None


def test_a_name_in_use_is_renewed_though_its_delegation_cannot_be_seen():
    """A slip of DNS takes no working name away."""
    assert Order((ORG, NET), "age") == order([ORG, NET], {NET}, valid(ORG, NET, left=10), NOW)


def test_a_domain_that_left_is_dropped_at_the_next_renewal_only():
    """A name too many in the certificate does no harm: no certificate is spent on it."""
    assert order([ORG], {ORG}, valid(ORG, NET, left=80), NOW) is None
    assert Order((ORG,), "age") == order([ORG], {ORG}, valid(ORG, NET, left=20), NOW)


@pytest.mark.parametrize(
    ("lifetime", "due_below"),
    [(90, 30), (64, 23), (47, 23), (45, 22.5), (6, 3)],
)
def test_renewal_begins_in_time_for_every_lifetime(lifetime, due_below):
    """A third of the time, but well before the alarm at 20 days, and at half time at the latest."""
    early = valid(ORG, left=due_below + 0.1, lifetime=lifetime)
    late = valid(ORG, left=due_below - 0.1, lifetime=lifetime)

    assert not early.due(NOW)
    assert late.due(NOW)


@pytest.mark.parametrize(
    ("current", "accepts"),
    [
        (None, True),
        (valid(ORG, left=3000, lifetime=3650, self_signed=True), True),
        (valid(ORG, NET, left=25), False),
        (valid(ORG, NET, left=19), True),
        (valid(ORG, NET, left=-1), True),
    ],
)
def test_some_names_are_better_than_none_only_near_the_end(current, accepts):
    """While the old certificate has time, all of its names are waited for."""
    assert accepts == accepts_subset(current, NOW)
