"""EC2 instances of Auto Scaling groups: which hosts exist, and whether a group may launch.

A desk's group has one instance, that runs nothing itself: it says whether its host exists, so that
a test can terminate it as on AWS. A group launches no other one by itself.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from awsdesk.instances import GROUP_TAG
from awsdesk.ministack_patches import environment, private


def is_lost(account_id: str, region: str, group: str) -> bool:
    """Return whether all instances of a group are terminated; not if it never had one."""
    with environment.scope(account_id, region):
        states = [
            each["State"]["Name"]
            for name in list(private.EC2.instances)
            if (each := private.EC2.instances.get(name)) is not None
            and {"Key": GROUP_TAG, "Value": group} in (private.EC2.tags.get(name) or ())
        ]
    return bool(states) and set(states) == {"terminated"}


def install() -> None:
    """Keep terminated instances listed, and let groups be told not to launch."""
    # ministack forgets them after a minute, AWS after about an hour; a desk does not live long.
    private.EC2.replace("cleanup_terminated", lambda: None)

    def done(action: str, _parameters: Any) -> Any:
        return private.AUTOSCALING.xml(200, f"{action}Response", f"<{action}Result/>")

    for action in ("SuspendProcesses", "ResumeProcesses"):
        private.AUTOSCALING.ACTION_MAP[action] = partial(done, action)
