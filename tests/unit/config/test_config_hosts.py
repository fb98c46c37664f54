"""Several hosts in the stack file: how many there are, and who lives where."""

from typing import Any

import pytest

from postal_plexus.config.lists import read_stack
from postal_plexus.config.problems import StackError
from postal_plexus.config.settings import Settings, read_settings
from stack_mistakes import HASH


def stack(**more: Any) -> dict[str, Any]:
    """Three domains on three hosts, and mailboxes that live by their domain or by themselves."""
    return {
        "hosts": 3,
        "domains": ["example.org", {"name": "example.net", "host": 2}, "Bücher.example"],
        "mailboxes": [
            {"address": "ann@example.org", "password-hash": HASH},
            {"address": "ben@example.org", "password-hash": HASH, "host": 3},
            {"address": "cat@example.net", "password-hash": HASH},
            {"address": "dan@example.net", "password-hash": HASH, "host": 1},
        ],
        **more,
    }


def settings(**more: Any) -> Settings:
    """Return the settings of that stack."""
    return read_settings("main", "us-east-1", stack(**more))


def test_a_mailbox_lives_by_its_domain_or_by_itself() -> None:
    """Its own host counts first, then its domain's, then host 1."""
    directory = read_stack(stack())
    assert {
        "ann@example.org": 1,
        "ben@example.org": 3,
        "cat@example.net": 2,
        "dan@example.net": 1,
    } == {each.address: each.home for each in directory.mailboxes}
    assert [1, 2, 1] == [each.home for each in directory.domains]


def test_hosts_have_names_beside_the_mail_host() -> None:
    """The first keeps the mail host's name, the others get its label with their number."""
    assert ("mail.example.org", "mail-2.example.org", "mail-3.example.org") == settings().host_names
    one = settings(
        hosts=1, domains=["example.org", "example.net"], mailboxes=stack()["mailboxes"][:1]
    )
    assert ("mail.example.org",) == one.host_names


def test_a_host_without_mailboxes_is_allowed() -> None:
    """It must exist before somebody can move there."""
    assert 16 == settings(hosts=16).hosts


@pytest.mark.parametrize("hosts", [1, 2])
def test_fewer_hosts_than_somebody_lives_on(hosts: int) -> None:
    """Nobody's host can be taken away: each mailbox and domain on it is named."""
    with pytest.raises(StackError) as raised:
        settings(hosts=hosts)
    found = {(each.key.partition(":")[2], each.entry) for each in raised.value.problems}
    expected = {("mailboxes", "entry 2 (ben@example.org)")}
    if hosts == 1:
        expected.add(("domains", "entry 2 (example.net)"))
    assert expected == found - {("mailboxes", "entry 4 (dan@example.net)")}


@pytest.mark.parametrize("hosts", ["3", 2.5, True, 0, 17, [2]])
def test_an_unsound_number_of_hosts_is_one_mistake(hosts: object) -> None:
    """It makes up no mistakes of those who live on a host."""
    with pytest.raises(StackError) as raised:
        read_settings("main", "us-east-1", stack() | {"hosts": hosts if hosts != "3" else "x"})
    assert ["postal-plexus:hosts"] == [each.key for each in raised.value.problems]


def test_what_a_certificate_holds_counts_for_each_host() -> None:
    """A hundred client hosts fit into the first host's certificate, but not into the second's."""
    domains = [f"d{number}.example" for number in range(100)]
    people = [{"address": "ann@d0.example", "password-hash": HASH}]
    given = {"domains": domains, "mailboxes": people}
    assert 100 == len(read_settings("main", "us-east-1", {**given, "hosts": 1}).clients)
    with pytest.raises(StackError, match=r"client-hosts: .*mail-2.d0.example. Choose shared"):
        read_settings("main", "us-east-1", {**given, "hosts": 2})


def test_a_mail_host_without_room_for_a_number() -> None:
    """A label has 63 characters."""
    long = f"{'m' * 62}.example.org"
    assert (
        long
        == settings(
            hosts=1,
            domains=["example.org"],
            mailboxes=stack()["mailboxes"][:1],
            **{"mail-host": long},
        ).mail_host
    )
    with pytest.raises(StackError, match="mail-host: is too long for several hosts"):
        settings(**{"mail-host": long})
