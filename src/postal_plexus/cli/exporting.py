"""`plexus export ADDRESS`: write a mailbox's mail and filters, or its calendars, to one file.

Raises CommandError: NO_INPUT if the file already exists or cannot be written, AGAIN if the task did
not complete, and the errors of a task.
"""

import json
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from postal_plexus.cli import system
from postal_plexus.cli.addresses import checked_address
from postal_plexus.cli.exits import CommandError, Exit

SUMMARY = "write a mailbox's mail and filters, or its calendars and contacts, to one file"

DETAILS = """ The file is a tar of Maildirs, one for each folder, or a zip file of mboxes. It also
contains flags, dates and Sieve filters. With --calendars it is a zip file with an .ics file for
each calendar and a .vcf file for each address book, shared ones too; with --calendar NAME it is one
of these. An interrupted export starts again. The mailbox does not change.
"""


def arguments(parser: ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument("address", metavar="ADDRESS", help="the mailbox")
    parser.add_argument(
        "--to",
        type=Path,
        metavar="FILE",
        help="the file to write (default: ADDRESS.tar or ADDRESS.zip)",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--calendars", action="store_true", help="calendars and contacts instead of mail"
    )
    what.add_argument(
        "--calendar",
        default="",
        metavar="NAME",
        help="only this calendar or address book; needs --to",
    )
    what.add_argument(
        "--format",
        choices=("maildir", "mbox"),
        default="maildir",
        help="a tar of Maildirs, or a zip file with an mbox for each folder (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    system.add_options(parser)


@system.reported
def run(args: Namespace) -> int:
    """Write the file. It gets its name only when it is complete."""
    address = checked_address(args.address)
    to = _file(args, address)
    if to.exists():
        raise CommandError(
            Exit.NO_INPUT, "already exists: name another file with --to", source=str(to)
        )
    stack = system.connect(args)
    lines: list[dict[str, Any]] = []
    octets = 0

    def tell(line: dict[str, Any]) -> None:
        nonlocal octets
        if line["kind"] == "part":
            octets += int(line["octets"])
            if sys.stderr.isatty():
                print(f"{address}: {octets / 1e6:.0f} MB", file=sys.stderr)
        elif line["kind"] != "progress":
            lines.append(line)

    part = to.with_name(f"{to.name}.part")
    try:
        # Only the owner may read a mailbox's mail.
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            _fetch(args, stack, address, file, tell)
        part.rename(to)
    except OSError as error:
        line = f"cannot be written: {error.strerror}"
        raise CommandError(Exit.NO_INPUT, line, source=str(part)) from error
    finally:
        part.unlink(missing_ok=True)
    said = {**lines[-1], "file": str(to), "file_octets": octets}
    if args.calendars or args.calendar:
        return _show_calendars(lines, said, as_json=args.json)
    if args.json:
        print(json.dumps(said, indent=2))
    else:
        print(f"{to}: {said['mails']} messages in {said['folders']} folders, {octets / 1e6:.1f} MB")
    return Exit.OK


def _file(args: Namespace, address: str) -> Path:
    """Return the file to write."""
    if args.to:
        return args.to
    if args.calendar:
        raise CommandError(Exit.USAGE, "--calendar needs --to FILE (.ics, or .vcf for contacts)")
    if args.calendars:
        return Path(f"{address}-calendars.zip")
    return Path(f"{address}.{'zip' if args.format == 'mbox' else 'tar'}")


def _fetch(
    args: Namespace,
    stack: Any,
    address: str,
    file: Any,
    tell: Callable[[dict[str, Any]], None],
) -> None:
    from postal_plexus.cli import tasks  # noqa: PLC0415  AWS's library
    from postal_plexus.operations import moving, moving_calendars  # noqa: PLC0415
    from postal_plexus.operations.replay import UnknownMailboxError  # noqa: PLC0415

    runner = tasks.Tasks(stack)
    if not (args.calendars or args.calendar):
        with tasks.ending():
            moving.fetch(stack, runner, address, file, tell, as_mbox=args.format == "mbox")
        return
    moving_calendars.require(stack)
    try:
        first = moving_calendars.first_address(stack, address)
    except UnknownMailboxError as error:
        raise CommandError(Exit.NO_USER, str(error)) from error
    with tasks.ending():
        moving_calendars.fetch(stack, runner, first, file, tell, only=args.calendar)


def _show_calendars(lines: list[dict[str, Any]], said: dict[str, Any], *, as_json: bool) -> int:
    """Print what was exported; DATA if an entry is damaged in the store."""
    collections = [line for line in lines if line["kind"] == "collection"]
    damaged = [line for line in lines if line["kind"] == "damaged"]
    if as_json:
        print(json.dumps({**said, "collections": collections, "damaged": damaged}, indent=2))
    else:
        for line in collections:
            print(f"{line['name']} ({line['type']}): {line['entries']} entries")
        print(f"{said['file']}: {said['entries']} entries")
        for line in damaged:
            print(f"damaged in the store: {line['collection']}: {line['file']}")
    return Exit.DATA if damaged else Exit.OK
