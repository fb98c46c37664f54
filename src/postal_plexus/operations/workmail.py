"""Read the users, groups and aliases of an Amazon WorkMail organisation through its API.

https://docs.aws.amazon.com/workmail/latest/APIReference/. It needs `workmail:List*` and
`workmail:GetMailboxDetails`, and changes nothing. It returns the API's own documents, which
`workmail_people` converts to entries. Raises OperationError.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from postal_plexus.operations.system import OperationError, told

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postal_plexus.operations.system import System

Document = dict[str, Any]

_ENABLED = "ENABLED"


@dataclass(frozen=True)
class Organization:
    """An organisation as the API describes it; the mappings are by the id of a user or group."""

    name: str
    domains: list[Document]
    users: list[Document]
    groups: list[Document]
    resources: list[Document]
    members: dict[str, list[Document]]
    aliases: dict[str, list[str]]
    permissions: dict[str, list[Document]]
    mailboxes: dict[str, Document]


def read(system: System, name: str = "") -> Organization:
    """Read the organisation with this alias or id; without one, the account's only one.

    Raises:
        OperationError: there is none, or more than one, or AWS refuses.
    """
    client = system.client("workmail")
    with told("WorkMail"):
        found = _chosen(list(_pages(client.list_organizations, "OrganizationSummaries")), name)
        of = {"OrganizationId": found["OrganizationId"]}
        users = list(_pages(client.list_users, "Users", **of))
        groups = list(_pages(client.list_groups, "Groups", **of))
        resources = list(_pages(client.list_resources, "Resources", **of))
        enabled = [each for each in users + groups if each.get("State") == _ENABLED]
        ids = [str(each["Id"]) for each in enabled]
        return Organization(
            str(found.get("Alias", found["OrganizationId"])),
            list(_pages(client.list_mail_domains, "MailDomains", **of)),
            users,
            groups,
            resources,
            {
                str(each["Id"]): _members(client, of, str(each["Id"]))
                for each in groups
                if each.get("State") != "DELETED"
            },
            {i: list(_pages(client.list_aliases, "Aliases", **of, EntityId=i)) for i in ids},
            {
                i: list(_pages(client.list_mailbox_permissions, "Permissions", **of, EntityId=i))
                for i in ids
            },
            {
                str(each["Id"]): client.get_mailbox_details(**of, UserId=each["Id"])
                for each in users
                if each.get("State") == _ENABLED
            },
        )


def _chosen(found: list[Document], name: str) -> Document:
    """Return the organisation to read."""
    active = [each for each in found if each.get("State", "Active") != "Deleted"]
    meant = [
        each for each in active if not name or name in {each.get("Alias"), each["OrganizationId"]}
    ]
    if len(meant) == 1:
        return meant[0]
    names = ", ".join(sorted(str(each.get("Alias", each["OrganizationId"])) for each in active))
    if not active:
        raise OperationError(
            "there is no WorkMail organisation in this account and region;"
            " give --region or AWS_PROFILE"
        )
    if name:
        raise OperationError(f"there is no organisation {name!r} in this region; there are {names}")
    raise OperationError(
        f"there are several organisations; give --organization with one of {names}"
    )


def _members(client: Any, of: dict[str, str], group: str) -> list[Document]:
    """Return a group's members; the API refuses to list those of a disabled group."""
    try:
        return list(_pages(client.list_group_members, "Members", **of, GroupId=group))
    except client.exceptions.EntityStateException:
        return []


def _pages(call: Any, key: str, **of: str) -> Iterator[Any]:
    """Yield the items on all pages of an answer."""
    token = ""
    while True:
        more = {"NextToken": token} if token else {}
        answer: Document = call(**of, **more, MaxResults=100)
        yield from answer.get(key, [])
        token = answer.get("NextToken") or ""
        if not token:
            return
