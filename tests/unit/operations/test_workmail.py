"""A WorkMail organisation becomes entries of the stack file; botocore validates the API's answers."""

import csv
import stat
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from argon2 import PasswordHasher
from botocore.stub import Stubber

from postal_plexus.cli import main as command
from postal_plexus.cli.exits import Exit
from postal_plexus.config.file import read_stack_file
from postal_plexus.operations import workmail
from postal_plexus.operations.system import AccessError, OperationError, System
from postal_plexus.operations.workmail_people import people

ORGANIZATION = "m-d281d0a2fd824be5b6cd3d3ce909fd27"
OF = {"OrganizationId": ORGANIZATION}


def user(
    name: str, email: str | None = None, state: str = "ENABLED", **more: str
) -> dict[str, Any]:
    """Return a user in ListUsers' form."""
    found = {
        "Id": uid(name),
        "Name": name,
        "DisplayName": name.title(),
        "State": state,
        "UserRole": "USER",
    }
    return found | ({"Email": email or f"{name}@example.org"} if email != "" else {}) | more


def group(name: str, *, email: bool = True, state: str = "ENABLED") -> dict[str, Any]:
    """Return a group in ListGroups' form."""
    found = {"Id": uid(name), "Name": name, "State": state}
    return found | ({"Email": f"{name}@example.org"} if email else {})


def member(name: str, kind: str = "USER", state: str = "ENABLED") -> dict[str, Any]:
    """Return a member in ListGroupMembers' form."""
    return {"Id": uid(name), "Name": name, "Type": kind, "State": state}


def uid(name: str) -> str:
    """Return an id in WorkMail's form for a name."""
    return f"{name.encode().hex():0>8.8}-1234-1234-1234-{name.encode().hex():0>12.12}"


USERS = [
    user("ann"),
    user("ben", "Ben@Example.org"),
    user("carl", state="DISABLED"),
    user("dora", "dora@firm.awsapps.com"),
    user("eve", "", state="DELETED"),
    user("fred", UserRole="REMOTE_USER"),
    user("room", "room@example.org", UserRole="RESOURCE"),
    user("odd", '"odd one"@example.org'),
]
GROUPS = [
    group("all"),
    group("staff"),
    group("inner", email=False, state="DISABLED"),
    group("nobody"),
    group("left", state="DELETED"),
]
MEMBERS = {
    "all": [member("staff", "GROUP"), member("carl", state="DISABLED"), member("ann")],
    # In a circle, and by way of a group without an address.
    "staff": [member("inner", "GROUP"), member("all", "GROUP")],
    "inner": [member("ben"), member("staff", "GROUP"), member("dora")],
    "nobody": [member("carl", state="DISABLED")],
}
ALIASES = {
    "ann": [
        "ann@example.org",
        "Sales@example.net",
        "ann@firm.awsapps.com",
        "ann@elsewhere.example",
    ],
    "dora": ["dora@example.org"],
    "staff": ["team@example.org"],
}
PERMISSIONS = {
    "ann": [
        {
            "GranteeId": uid("ben"),
            "GranteeType": "USER",
            "PermissionValues": ["FULL_ACCESS", "SEND_AS"],
        }
    ],
    "staff": [
        {"GranteeId": uid("all"), "GranteeType": "GROUP", "PermissionValues": ["SEND_ON_BEHALF"]}
    ],
}


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Stubber:
    """Return WorkMail's client with answers that botocore validates."""
    client = boto3.client(
        "workmail", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    stubber = Stubber(client)
    monkeypatch.setattr(System, "client", lambda _self, _service: client)
    stubber.activate()
    return stubber


def answer(api: Stubber, call: str, key: str, items: list[Any], *pages: int, **of: str) -> None:
    """Expect a call, and answer with the items in pages of these sizes."""
    parts: list[list[Any]] = []
    for size in pages:
        parts.append(items[:size])
        items = items[size:]
    parts.append(items)
    for number, part in enumerate(parts):
        token = {"NextToken": str(number)} if number else {}
        more = {"NextToken": str(number + 1)} if number + 1 < len(parts) else {}
        api.add_response(call, {key: part} | more, of | token | {"MaxResults": 100})


def answers(api: Stubber) -> None:
    """Expect all calls, in their order."""
    answer(
        api,
        "list_organizations",
        "OrganizationSummaries",
        [
            {"OrganizationId": "m-" + "0" * 32, "Alias": "former", "State": "Deleted"},
            {"OrganizationId": ORGANIZATION, "Alias": "firm", "State": "Active"},
        ],
        1,
    )
    answer(api, "list_users", "Users", USERS, 3, 0, **OF)
    answer(api, "list_groups", "Groups", GROUPS, 2, **OF)
    answer(
        api,
        "list_resources",
        "Resources",
        [
            {
                "Id": "r-" + "0" * 32,
                "Email": "hall@example.org",
                "Name": "Hall",
                "Type": "ROOM",
                "State": "ENABLED",
            },
        ],
        **OF,
    )
    answer(
        api,
        "list_mail_domains",
        "MailDomains",
        [
            {"DomainName": "firm.awsapps.com", "DefaultDomain": False},
            {"DomainName": "example.net", "DefaultDomain": False},
            {"DomainName": "example.org", "DefaultDomain": True},
        ],
        **OF,
    )
    for name in ("all", "staff", "inner", "nobody"):
        if name == "inner":
            # A disabled group may not be asked.
            api.add_client_error("list_group_members", "EntityStateException")
        else:
            answer(api, "list_group_members", "Members", MEMBERS[name], 1, **OF, GroupId=uid(name))
    enabled = [each["Name"] for each in USERS + GROUPS if each["State"] == "ENABLED"]
    for name in enabled:
        answer(api, "list_aliases", "Aliases", ALIASES.get(name, []), **OF, EntityId=uid(name))
    for name in enabled:
        found = PERMISSIONS.get(name, [])
        answer(api, "list_mailbox_permissions", "Permissions", found, **OF, EntityId=uid(name))
    for each in USERS:
        if each["State"] == "ENABLED":
            size = 12_500.5 if each["Name"] == "ann" else 30.0
            sizes = {"MailboxQuota": 51200, "MailboxSize": size}
            api.add_response("get_mailbox_details", sizes, OF | {"UserId": each["Id"]})


def test_what_is_read(api: Stubber) -> None:
    """All pages of all lists are read; a group that the API refuses to list has no members."""
    answers(api)
    found = workmail.read(System("", "us-east-1"))
    api.assert_no_pending_responses()
    assert ("firm", USERS, GROUPS) == (found.name, found.users, found.groups)
    assert [] == found.members[uid("inner")]
    assert MEMBERS["all"] == found.members[uid("all")]


def organization(**changes: Any) -> workmail.Organization:
    """Return an organisation as read."""
    fields: dict[str, Any] = {
        "name": "firm",
        "domains": [
            {"DomainName": "example.org"},
            {"DomainName": "example.net"},
            {"DomainName": "firm.awsapps.com"},
        ],
        "users": USERS,
        "groups": GROUPS,
        "resources": [],
        "members": {uid(name): found for name, found in MEMBERS.items()},
        "aliases": {uid(name): found for name, found in ALIASES.items()},
        "permissions": {uid(name): found for name, found in PERMISSIONS.items()},
        "mailboxes": {uid("ann"): {"MailboxSize": 12_500.5}},
    }
    return workmail.Organization(**(fields | changes))


def test_entries() -> None:
    """Users, aliases, nested groups, and rights to send become entries; each address once."""
    made = people(organization(), lambda address: f"hash of {address}")
    assert ["example.org", "example.net"] == made.domains
    assert [
        {
            "address": "ann@example.org",
            "password-hash": "hash of ann@example.org",
            "quota-gb": 25,
            "send-as": ["staff@example.org"],
        },
        {
            "address": "ben@example.org",
            "password-hash": "hash of ben@example.org",
            "send-as": ["ann@example.org", "staff@example.org"],
        },
        {
            "address": "dora@example.org",
            "password-hash": "hash of dora@example.org",
            "send-as": ["staff@example.org"],
        },
    ] == made.mailboxes
    assert [
        {"address": "sales@example.net", "destinations": ["ann@example.org"]},
        {
            "address": "all@example.org",
            "destinations": ["ann@example.org", "ben@example.org", "dora@example.org"],
        },
        {
            "address": "staff@example.org",
            "destinations": ["ann@example.org", "ben@example.org", "dora@example.org"],
        },
        {"address": "team@example.org", "destinations": ["staff@example.org"]},
    ] == made.aliases


def test_what_is_left_out() -> None:
    """Everything that is left out is listed with the reason."""
    hall = {
        "Id": "r",
        "Name": "Hall",
        "Email": "hall@example.org",
        "Type": "ROOM",
        "State": "ENABLED",
    }
    left = "\n".join(people(organization(resources=[hall]), str).left_out)
    for line in (
        "firm.awsapps.com: WorkMail's own domain",
        "carl@example.org: a disabled user",
        "dora@firm.awsapps.com: an address of the user dora@firm.awsapps.com: its domain",
        "fred@example.org: a user whose mail is on another server",
        '"odd one"@example.org: a user without an address',
        "nobody@example.org: a group without members",
        "ben@example.org reads ann@example.org: share the folders again",
        "hall@example.org: a room",
    ):
        assert line in left
    assert "eve" not in left


def test_the_command(api: Stubber, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its output passes `plexus check`; each password matches its hash and is written once."""
    answers(api)
    secrets = tmp_path / "passwords.csv"
    run = ["import", "workmail-users", "--region=us-east-1", f"--passwords={secrets}"]
    assert 0 == command.main(run)
    out, err = capsys.readouterr()
    file = read_stack_file(f"config:\n  aws:region: us-east-1\n{out}")
    directory = file.directory()
    assert "example.org" == directory.domains[0].name
    assert 0o600 == stat.S_IMODE(secrets.stat().st_mode)
    passwords = dict(csv.reader(secrets.read_text().splitlines()))
    for mailbox in directory.mailboxes:
        made = passwords[mailbox.address]
        assert PasswordHasher().verify(mailbox.password_hash.removeprefix("{ARGON2ID}"), made)
        assert made not in out + err
    assert "left out: carl@example.org: a disabled user" in err
    assert yaml.safe_load(out)
    # A second run would lose the first one's passwords.
    assert Exit.NO_INPUT == command.main(run)


def test_without_passwords(api: Stubber, capsys: pytest.CaptureFixture[str]) -> None:
    """The printed entries permit no login, and a message says so."""
    answers(api)
    assert 0 == command.main(["import", "workmail-users", "--json", "--region=us-east-1"])
    told = capsys.readouterr()
    assert "replace-this-one" not in told.out
    assert "$cmVwbGFjZS10aGlzLW9uZQ$" in told.out


@pytest.mark.parametrize(
    ("found", "name", "what"),
    [
        ([], "", "no WorkMail organisation"),
        (["firm", "club"], "", "several organisations; give --organization with one of club, firm"),
        (["firm", "club"], "firn", "no organisation 'firn' in this region; there are club, firm"),
    ],
)
def test_which_organisation(api: Stubber, found: list[str], name: str, what: str) -> None:
    """The error lists the existing organisations."""
    summaries = [
        {"OrganizationId": f"m-{each:0>32}", "Alias": each, "State": "Active"} for each in found
    ]
    answer(api, "list_organizations", "OrganizationSummaries", summaries)
    with pytest.raises(OperationError, match=what):
        workmail.read(System("", "us-east-1"), name)


def test_refused(api: Stubber, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing permission is named, with its exit code."""
    api.add_client_error(
        "list_organizations", "AccessDeniedException", "no workmail:ListOrganizations"
    )
    assert Exit.NO_PERMISSION == command.main(["import", "workmail-users", "--region=us-east-1"])
    assert "WorkMail ListOrganizations: no workmail" in capsys.readouterr().err
    assert issubclass(AccessError, OperationError)


def test_nobody_to_move() -> None:
    """An organisation of disabled users gives no entries."""
    made = people(organization(users=[user("carl", state="DISABLED")], groups=[]), str)
    assert ([], []) == (made.mailboxes, made.aliases)
