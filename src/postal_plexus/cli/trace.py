"""`plexus trace`: the path of a message, in and out, from the services' logs.

This module declares the arguments; `trace_view` does the work.
"""

from argparse import ArgumentParser, Namespace
from functools import partial

from postal_plexus.cli import moments, system

SUMMARY = "show where a message is, and how it got there"

DETAILS = """
WHAT is a Message-ID, SES's id, Postfix's queue id, an envelope address (@example.org: any in that
domain) or, if `log-subjects` is on, a word of the subject. Reads the logs of the three services and
the archive. Times are UTC. The exit code is 65 if no line matches.
"""

_MOMENT = partial(moments.moment, units="mhdw")


def arguments(parser: ArgumentParser) -> None:
    """Declare the options of the command."""
    system.add_options(parser)
    parser.add_argument(
        "--since",
        type=_MOMENT,
        default="3d",
        metavar="TIME",
        help="start of the search: 90m, 6h, 3d, 2w, 2026-11-28 or 2026-11-28T18:30 (default: 3d)",
    )
    parser.add_argument(
        "--until", type=_MOMENT, metavar="TIME", help="end of the search (default: now)"
    )
    parser.add_argument(
        "--full", action="store_true", help="show every step of each message, however many match"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("what", metavar="WHAT")


@system.reported
def run(args: Namespace) -> int:
    """Print the path of each message that matches."""
    from postal_plexus.cli import trace_view  # noqa: PLC0415 - it needs AWS's library

    return trace_view.run(args)
