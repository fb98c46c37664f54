"""`plexus reports`: what other servers report of mail in your domains' names.

Here are its arguments only; what it does is in `report_digest`.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from postal_plexus.cli import system

SUMMARY = "say who sends in your domains' names, and which DMARC policy is safe now"

DETAILS = """
Reads the DMARC and TLS reports that other servers sent, from the archive of received mail, or from
files (mails, XML, JSON, .gz or .zip). Anyone can send a report: those whose sender SES could not
authenticate are left out. Ends with 65 if a file cannot be read.
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
    parser.add_argument("--json", action="store_true", help="as a JSON document")
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
    """Print what the reports say of each domain."""
    from postal_plexus.cli import report_digest  # noqa: PLC0415 - it needs AWS's library

    return report_digest.run(args)
