"""`plexus reports`: what other servers report about mail in your domains' names.

This module declares the arguments; `report_digest` does the work.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from postal_plexus.cli import system

SUMMARY = "show who sends mail in your domains' names, and which DMARC policy is safe"

DETAILS = """
Reads other servers' DMARC and TLS reports from the archive of received mail, or from files (mail
messages, XML, JSON, .gz or .zip). Anyone can send a report, so those whose sender SES could not
authenticate are left out. The exit code is 65 if a file cannot be read.
"""


def arguments(parser: ArgumentParser) -> None:
    """Declare the options of the command."""
    system.add_options(parser)
    parser.add_argument(
        "--days",
        type=_days,
        default=30,
        help="how many days of reports to read (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "files", nargs="*", type=Path, metavar="FILE", help="instead of the archive"
    )


def _days(text: str) -> int:
    days = int(text)
    if not 1 <= days <= 3650:
        raise ValueError(text)
    return days


@system.reported
def run(args: Namespace) -> int:
    """Print a summary for each domain."""
    from postal_plexus.cli import report_digest  # noqa: PLC0415 - it needs AWS's library

    return report_digest.run(args)
