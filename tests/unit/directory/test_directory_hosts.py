"""Several hosts: each mailbox has one home, and every reader knows it or refuses the directory."""

import json
from typing import Any

import pytest
from hypothesis import given
from made_directories import HASH, directories

from postal_plexus.directory import TABLES, Alias, Directory, DirectoryError, Domain, Host, Mailbox
from postal_plexus.directory.tables import dovecot_hosts, dovecot_passwd

HOSTS = (Host("mail.example.org", "10.77.0.10"), Host("mail-2.example.org", "10.77.16.7"))


def homes(*hosts: Host) -> Directory:
    """Two mailboxes on two hosts, one of them renamed."""
    return Directory(
        (Domain("example.org"), Domain("example.net", None, 2)),
        (
            Mailbox("ann@example.org", HASH),
            Mailbox("ben@example.net", HASH, (), (), 512, "bob@example.net", 2),
        ),
        (Alias("both@example.org", ("ann@example.org", "ben@example.net")),),
        hosts,
    )


def document(**changes: object) -> dict[str, Any]:
    """Return the object of `homes`, with changes."""
    return json.loads(homes(*HOSTS).to_json()) | changes


def test_the_form_of_the_object() -> None:
    """The schema is a contract between programs of different ages, so its form is held."""
    found = document()
    assert 3 == found["version"]
    assert [
        {"name": "mail.example.org", "address": "10.77.0.10"},
        {"name": "mail-2.example.org", "address": "10.77.16.7"},
    ] == found["hosts"]
    assert [None, 2] == [each.get("home") for each in found["mailboxes"]]
    assert [None, 2] == [each.get("home") for each in found["domains"]]
    assert homes(*HOSTS) == Directory.from_json(json.dumps(found).encode())


def test_where_a_mailbox_lives() -> None:
    """On host 1, unless the directory says otherwise."""
    directory = homes(*HOSTS)
    found = {name: directory.home(name) for name in ("ann@example.org", "ben@example.net", "x@y.z")}
    assert {"ann@example.org": 1, "ben@example.net": 2, "x@y.z": 1} == found


def test_dovecots_tables() -> None:
    """A mailbox of another host than the first is marked, also under its former address."""
    lines = dovecot_passwd(homes(*HOSTS)).splitlines()
    fields = {line.partition(":")[0]: line.rpartition(":")[2] for line in lines}
    assert {
        "ann@example.org": "",
        "ben@example.net": "userdb_quota_storage_size=512M shard=2",
        "bob@example.net": "userdb_quota_storage_size=512M shard=2 renamed=ben@example.net",
    } == fields
    assert "1 mail.example.org 10.77.0.10\n2 mail-2.example.org 10.77.16.7\n" == dovecot_hosts(
        homes(*HOSTS)
    )


@given(directories())
def test_one_host_changes_nothing(made: Directory) -> None:
    """Without hosts neither the object nor a table has a trace of them."""
    alone = Directory(
        tuple(Domain(each.name, each.catch_all) for each in made.domains),
        tuple(
            Mailbox(
                *(each.address, each.password_hash, each.app_passwords, each.send_as),
                *(each.quota_mb, each.stored_as),
            )
            for each in made.mailboxes
        ),
        made.aliases,
    )
    assert json.loads(alone.to_json())["version"] < 3
    assert b"home" not in alone.to_json()
    assert not any("shard=" in render(alone) for render in TABLES.values())
    assert "" == TABLES["dovecot-hosts"](alone)


def test_a_home_needs_its_host() -> None:
    """A directory with a mailbox on an unknown host is refused."""
    with pytest.raises(DirectoryError, match=r"example.net on host 2 of 1"):
        homes().to_json()
    with pytest.raises(DirectoryError, match="names its only host"):
        homes().on_hosts(HOSTS[:1])
    assert homes(*HOSTS) == homes().on_hosts(HOSTS)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"version": 1}, "version 3"),
        ({"version": 2}, "version 3"),
        ({"hosts": []}, "on host 2 of 1"),
        ({"hosts": [{"name": "a.example", "address": "10.0.0.1"}]}, "its only host"),
        ({"hosts": [{"name": "a.example", "address": "10.0.0.1"}] * 2}, "a host name twice"),
        (
            {"hosts": [{"name": f"{n}.example", "address": "10.0.0.1"} for n in "ab"]},
            "a host address twice",
        ),
        ({"hosts": [{"name": "A.example", "address": "10.0.0.1"}] * 2}, "not a host name"),
        ({"hosts": [{"name": "a.example", "address": "10.0.0.256"}] * 2}, "for an IPv4 address"),
        ({"hosts": [{"name": "a.example", "address": "10.0.0.1 x"}] * 2}, "for an IPv4 address"),
        ({"hosts": [{"name": "a.example"}] * 2}, "no text address"),
        ({"hosts": "two"}, "no list hosts"),
        ({"domains": [{"name": "example.org", "home": 3}, {"name": "example.net"}]}, "host 3 of 2"),
        (
            {"domains": [{"name": "example.org", "home": 0}, {"name": "example.net"}]},
            "lives on host 0",
        ),
        (
            {"mailboxes": [{"address": "ann@example.org", "password_hash": HASH, "home": True}]},
            "else than a whole number in home",
        ),
    ],
)
def test_an_object_with_unsound_hosts_is_refused(changes: dict[str, Any], what: str) -> None:
    """A reader keeps the directory that it has."""
    with pytest.raises(DirectoryError, match=what):
        Directory.from_json(json.dumps(document(**changes)).encode())
