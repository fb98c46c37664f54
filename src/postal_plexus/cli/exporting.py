"""`plexus export ADDRESS`: write all mail and filters of a mailbox to one file.

Raises CommandError: NO_INPUT if the file already exists or cannot be written, AGAIN if the task did
not complete, and the errors of a task.
"""

import json
import os
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from postal_plexus.cli import system
from postal_plexus.cli.addresses import checked_address
from postal_plexus.cli.exits import CommandError, Exit

SUMMARY = "write a mailbox's mail and filters to one file"

DETAILS = """ The file is a tar of Maildirs, one for each folder, or a zip file of mboxes. It also
contains flags, dates and Sieve filters. An interrupted export starts again. The mailbox does not
change.
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
    parser.add_argument(
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
    from postal_plexus.cli import tasks  # noqa: PLC0415  AWS's library
    from postal_plexus.operations import moving  # noqa: PLC0415

    address = checked_address(args.address)
    as_mbox = args.format == "mbox"
    to = args.to or Path(f"{address}.{'zip' if as_mbox else 'tar'}")
    if to.exists():
        raise CommandError(
            Exit.NO_INPUT, "already exists: name another file with --to", source=str(to)
        )
    stack = system.connect(args)
    runner = tasks.Tasks(stack)
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
        with (
            os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file,
            tasks.ending(),
        ):
            moving.fetch(stack, runner, address, file, tell, as_mbox=as_mbox)
        part.rename(to)
    except OSError as error:
        line = f"cannot be written: {error.strerror}"
        raise CommandError(Exit.NO_INPUT, line, source=str(part)) from error
    finally:
        part.unlink(missing_ok=True)
    said = {**lines[-1], "file": str(to), "file_octets": octets}
    if args.json:
        print(json.dumps(said, indent=2))
    else:
        print(f"{to}: {said['mails']} messages in {said['folders']} folders, {octets / 1e6:.1f} MB")
    return Exit.OK
