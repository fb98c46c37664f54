"""`plexus trace`: the way of one mail, in and out, from the logs of the services.

Here are its arguments only; what it does is in `trace_view`.
"""

from argparse import ArgumentParser, Namespace
from functools import partial

from postal_plexus.cli import moments, system

SUMMARY = "say where a mail is, and which way it came"

DETAILS = """
WHAT is a Message-ID, SES's id, Postfix's queue id, an address of the envelope (@example.org: any of
that domain) or, where `log-subjects` is on, a word of the subject. Reads the logs of the three
services and the archive. Times are UTC. Ends with 65 if no line is of such a mail.
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
        help="look from then on: 90m, 6h, 3d, 2w, 2026-11-28 or 2026-11-28T18:30 (default: 3d)",
    )
    parser.add_argument("--until", type=_MOMENT, metavar="TIME", help="and no later (default: now)")
    parser.add_argument(
        "--full", action="store_true", help="every step of each mail, however many mails there are"
    )
    parser.add_argument("--json", action="store_true", help="as a JSON document")
    parser.add_argument("what", metavar="WHAT")


@system.reported
def run(args: Namespace) -> int:
    """Print the way of each mail that is asked for."""
    from postal_plexus.cli import trace_view  # noqa: PLC0415 - it needs AWS's library

    return trace_view.run(args)
