"""Names by which the program and the operator's tools find the parts of a stack."""

from postal_plexus.mail.delivered import PREFIX

INBOUND_PREFIX = "inbound/"
"""In the archive: SES writes received mail here, and `deliver` reads it."""
DELIVERIES_PREFIX = PREFIX
"""In the archive: `deliver` writes here who has which mail, and `plexus replay` reads it."""
MOVING_PREFIX = "moving/"
"""In the archive: what an export brings to its operator, in parts, for a moment."""

MAIL_ROOT = "/mail"
"""In the file system: the directory that Dovecot's access point shows."""


def part_name(stack: str, part: str) -> str:
    """Give the name of a part of a stack; two stacks in one account never share one."""
    return f"plexus-{stack}-{part}"


def system_parameter(stack: str) -> str:
    """Give the SSM parameter in which the program writes what the stack's parts are called."""
    return f"/postal-plexus/{stack}/system"


def hand_over_prefix(stack: str) -> str:
    """Give what the SSM parameters begin with by which an operator hands a secret to a task."""
    return f"/postal-plexus/{stack}/hand-over/"
