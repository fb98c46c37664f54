"""`plexus doctor`: check everything that can be wrong with a running stack, in order.

This module declares the arguments; `diagnosis` does the work.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from postal_plexus.cli import system

SUMMARY = "check everything that can be wrong with a running stack"

DETAILS = """
Prints the state of each thing, the reason, and what to do next. The exit code is 80 if something
will cause trouble unless somebody acts, 81 if mail is being delayed or refused now.
"""


def arguments(parser: ArgumentParser) -> None:
    """Declare the options of the command."""
    system.add_options(parser)
    parser.add_argument("--all", action="store_true", help="also show what is in order")
    parser.add_argument(
        "--mail",
        action="store_true",
        help="also mail what is not in order, if anything, to the alarm address",
    )
    parser.add_argument("--json", action="store_true", help="as a JSON document")
    parser.add_argument(
        "--stack-file",
        type=Path,
        metavar="FILE",
        help="also check the DNS records of this stack file",
    )
    parser.add_argument("--resolver", metavar="ADDRESS[:PORT]", help="the resolver for them")
    parser.add_argument("domains", nargs="*", metavar="DOMAIN", help="only these (default: all)")


@system.reported
def run(args: Namespace) -> int:
    """Print the findings; the worst determines the exit code."""
    from postal_plexus.cli import diagnosis  # noqa: PLC0415 - it needs AWS's library

    return diagnosis.run(args)
