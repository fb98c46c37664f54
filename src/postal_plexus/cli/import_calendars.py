"""`plexus import calendars ADDRESS FILE...`: import calendars and contacts from files.

Raises CommandError: NO_INPUT if a file cannot be read, NO_USER without the mailbox, and what
`system.failure` returns for a task. Returns DATA if something was left out.
"""

import json
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from postal_plexus.cli import system
from postal_plexus.cli.addresses import checked_address
from postal_plexus.cli.exits import CommandError, Exit

SUMMARY = "import calendars (.ics) and contacts (.vcf) from files"

DETAILS = """ `plexus import ADDRESS FILE...` imports calendars and contacts: .ics and .vcf files,
zip files (Google's export) and directories of them. A calendar that a file names is created if the
user has none of that name; everything else goes to the user's main calendar and address book.
Another run adds nothing twice. What is broken is reported, entry by entry, and the rest is
imported.
"""


def arguments(parser: ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument("address", metavar="ADDRESS", help="the mailbox")
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="FILE", help=".ics, .vcf, a zip file or a directory"
    )
    parser.add_argument(
        "--into",
        default="",
        metavar="NAME",
        help="the calendar or address book for everything, also a shared one; created if missing",
    )
    parser.add_argument(
        "--replace",
        action="store_true",
        help="replace entries that exist, even if those are newer",
    )
    parser.add_argument("--dry-run", action="store_true", help="count only")
    parser.add_argument("--json", action="store_true", help="as a JSON document")
    system.add_options(parser)


@system.reported
def run(args: Namespace) -> int:
    """Import the files; DATA if something was left out."""
    from postal_plexus.cli.tasks import ending, tasks  # noqa: PLC0415  AWS's library
    from postal_plexus.operations import moving_calendars  # noqa: PLC0415
    from postal_plexus.operations.calendar_files import FileError  # noqa: PLC0415
    from postal_plexus.operations.replay import UnknownMailboxError  # noqa: PLC0415

    address = checked_address(args.address)
    for path in args.paths:
        if not path.exists():
            raise CommandError(Exit.NO_INPUT, "there is no such file", source=str(path))
    stack = system.connect(args)
    moving_calendars.require(stack)
    lines: list[dict[str, Any]] = []

    def tell(line: dict[str, Any]) -> None:
        if line["kind"] != "progress":
            lines.append(line)
        elif sys.stderr.isatty():
            print(f"{address}: {line['entries']} entries", file=sys.stderr)

    try:
        order = moving_calendars.Order(
            moving_calendars.first_address(stack, address),
            args.paths,
            into=args.into,
            look=args.dry_run,
            replace=args.replace,
        )
        with ending("; run it again to continue"):
            moving_calendars.bring(stack, tasks(args), order, tell)
    except FileError as error:
        raise CommandError(Exit.NO_INPUT, str(error)) from error
    except UnknownMailboxError as error:
        raise CommandError(Exit.NO_USER, str(error)) from error
    if args.json:
        print(json.dumps(lines, indent=2))
    else:
        _show(lines, looked=args.dry_run)
    return Exit.DATA if any(line["kind"].startswith("left-out") for line in lines) else Exit.OK


def _show(lines: list[dict[str, Any]], *, looked: bool) -> None:
    for line in (line for line in lines if line["kind"] == "collection"):
        name = f"{line['name']} (new)" if line["created"] else line["name"]
        would = "would be " if looked else ""
        print(
            f"{name}: {line['new']} {would}new, {line['replaced']} {would}replaced,"
            f" {line['unchanged']} unchanged"
        )
    for line in (line for line in lines if line["kind"] == "left-out"):
        print(f"left out: {line['name']}: {line['reason']}")
    for line in (line for line in lines if line["kind"] == "left-out-more"):
        print(f"left out: {line['entries']} more")
