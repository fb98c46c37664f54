"""`plexus trace`: the way of one mail, in and out, from the logs of the services.

Here are its arguments only; what it does is in `trace_view`.
"""

import re
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from datetime import UTC, datetime, timedelta

from postal_plexus.cli import system

SUMMARY = "say where a mail is, and which way it came"

DETAILS = """
WHAT is a Message-ID, SES's id, Postfix's queue id, an address of the envelope (@example.org: any of
that domain) or, where `log-subjects` is on, a word of the subject. Reads the logs of the three
services and the archive. Times are UTC. Ends with 65 if no line is of such a mail.
"""

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def arguments(parser: ArgumentParser) -> None:
    """Declare the options of the command."""
    system.add_options(parser)
    parser.add_argument(
        "--since",
        type=moment,
        default="3d",
        metavar="TIME",
        help="look from then on: 90m, 6h, 3d, 2w, 2026-11-28 or 2026-11-28T18:30 (default: 3d)",
    )
    parser.add_argument("--until", type=moment, metavar="TIME", help="and no later (default: now)")
    parser.add_argument(
        "--full", action="store_true", help="every step of each mail, however many mails there are"
    )
    parser.add_argument("--json", action="store_true", help="as a JSON document")
    parser.add_argument("what", metavar="WHAT")


def moment(text: str) -> datetime:
    """Read a time, or how long ago it was. Raises ArgumentTypeError."""
    ago = re.fullmatch(r"(\d{1,5})([mhdw])", text)
    try:
        if ago:
            return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        raise ArgumentTypeError(
            f"{text!r} is no time; write 90m, 6h, 3d, 2w or 2026-11-28T18:30"
        ) from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


@system.reported
def run(args: Namespace) -> int:
    """Print the way of each mail that is asked for."""
    from postal_plexus.cli import trace_view  # noqa: PLC0415 - it needs AWS's library

    return trace_view.run(args)
