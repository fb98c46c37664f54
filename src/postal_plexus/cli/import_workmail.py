"""`plexus import workmail-users`: print stack file entries for an Amazon WorkMail organisation.

It prints the three lists, which replace those in the stack file, on standard output, and what is
left out, with the reason, on standard error. New passwords are written once into a file that only
its owner can read, because WorkMail does not reveal its hashes.

Raises CommandError: NO_PERMISSION or UNAVAILABLE if AWS refuses or does not answer, NO_INPUT if the
file of passwords already exists or cannot be written, DATA if there is nobody to move.
"""

import csv
import io
import json
import os
import sys
from argparse import ArgumentParser, Namespace
from contextlib import suppress
from pathlib import Path

from postal_plexus.cli import check, password, system
from postal_plexus.cli.exits import CommandError, Exit
from postal_plexus.config.problems import NAMESPACE
from postal_plexus.config.yaml_text import block_list

NAME = "workmail-users"

DETAILS = f"""
`plexus import {NAME}` prints entries of the stack file for the users, groups and aliases of an
Amazon WorkMail organisation. It reads them through AWS's API with your credentials (AWS_PROFILE)
and changes nothing there. What cannot be converted is listed on standard error.
"""


def add_options(parser: ArgumentParser) -> None:
    """Declare the command's own options; the parser also has --region and --json."""
    group = parser.add_argument_group(NAME)
    group.add_argument(
        "--organization", default="", help="WorkMail's alias or id of it, if there are several"
    )
    group.add_argument(
        "--passwords",
        type=Path,
        metavar="FILE",
        help="generate a password for each mailbox, and write address and password to this file, "
        "once; without it nobody can log in until you have inserted hashes from `plexus password`",
    )


@system.reported
def run(args: Namespace) -> int:
    """Print the entries."""
    # They need the AWS library.
    from postal_plexus.operations import workmail, workmail_people  # noqa: PLC0415
    from postal_plexus.operations.system import System  # noqa: PLC0415

    if args.passwords is not None and args.passwords.exists():
        line = f"{args.passwords} already exists; name another file, or remove that one"
        raise CommandError(Exit.NO_INPUT, line)
    found = workmail.read(System("", args.region), args.organization)
    passwords: dict[str, str] = {}

    def hash_of(address: str) -> str:
        if args.passwords is None:
            return check.NO_PASSWORD
        passwords[address] = password.generated()
        return password.hashed(passwords[address])

    made = workmail_people.people(found, hash_of)
    if not made.mailboxes:
        for line in made.left_out:
            print(f"left out: {line}", file=sys.stderr)
        raise CommandError(Exit.DATA, f"the organisation {found.name} has no user who can move")
    if args.passwords is not None:
        _write_once(args.passwords, passwords)
    lists = {"domains": made.domains, "mailboxes": made.mailboxes, "aliases": made.aliases}
    if args.json:
        print(json.dumps(lists | {"left_out": made.left_out}, indent=2, ensure_ascii=False))
        return Exit.OK
    for name, entries in lists.items():
        print(block_list(f"{NAMESPACE}:{name}", entries, 2), end="")
    for line in made.left_out:
        print(f"left out: {line}", file=sys.stderr)
    if args.passwords is None:
        line = "nobody can log in yet: create hashes with `plexus password`, or use --passwords"
    else:
        line = f"{args.passwords} has the passwords: give each user theirs, then remove the file"
    print(line, file=sys.stderr)
    return Exit.OK


def _write_once(path: Path, passwords: dict[str, str]) -> None:
    """Write a line with address and password each into a new file that only its owner can read."""
    lines = io.StringIO()
    csv.writer(lines, lineterminator="\n").writerows(passwords.items())
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(lines.getvalue())
        except OSError:
            with suppress(OSError):
                path.unlink()
            raise
    except OSError as error:
        line = f"cannot be written ({error.strerror}); name another file"
        raise CommandError(Exit.NO_INPUT, line, source=str(path)) from error
