"""Publish to the alarms' SNS topic, which mails the alarm address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from postal_plexus.mail.printable import printable
from postal_plexus.operations.system import OperationError, told

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postal_plexus.operations.findings import Finding
    from postal_plexus.operations.system import System

# https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
_LONGEST_SUBJECT, _LONGEST_TEXT = 99, 200_000


def tell_findings(system: System, findings: Sequence[Finding]) -> None:
    """Mail the findings that are not in order to the alarm address, the worst first, if any.

    Raises:
        OperationError: the stack has no alarm address, or AWS refuses.
    """
    bad = [each for each in findings if each.needs_somebody]
    if not bad:
        return
    bad.sort(key=lambda each: each.level, reverse=True)
    lines = [line for each in bad for line in each.lines()]
    subject = f"plexus doctor, stack {system.stack}: {len(bad)} of {len(findings)} things need you"
    tell(system, subject, "\n".join([*lines, "", "docs/operate.md says more; plexus doctor --all"]))


def tell(system: System, subject: str, text: str) -> None:
    """Mail a text to the alarm address.

    Raises:
        OperationError: the stack has no alarm address, or AWS refuses.
    """
    sns: Any = system.client("sns")
    prefix = system.named("watch-alarms")
    with told("SNS"):
        pages = sns.get_paginator("list_topics").paginate()
        topics = [
            each["TopicArn"]
            for page in pages
            for each in page["Topics"]
            if each["TopicArn"].rpartition(":")[2].startswith(prefix)
        ]
        if not topics:
            raise OperationError(
                "there is no alarm address: set alarm-address in the stack file, pulumi up"
            )
        plain = subject.encode("ascii", "replace").decode()
        sns.publish(
            TopicArn=topics[0],
            Subject=printable(plain, _LONGEST_SUBJECT),
            Message=text[:_LONGEST_TEXT],
        )
