"""`plexus move`: another host for a mailbox, or for a domain. It edits the stack file.

Raises CommandError: NO_USER if the file has no such mailbox or domain, CONFIG if the file is wrong
or would be, NO_INPUT if it cannot be read or written.
"""

import json
from argparse import ArgumentParser, Namespace

from postal_plexus.cli import people, stack_edits, stack_files
from postal_plexus.cli.addresses import checked_address
from postal_plexus.cli.exits import Exit
from postal_plexus.cli.numbers import host_number
from postal_plexus.config import edit
from postal_plexus.config.settings import Settings
from postal_plexus.directory.address import AddressError
from postal_plexus.directory.idn import kept_domain, shown

SUMMARY = "move a mailbox or a domain to another mail host, in the stack file"

DETAILS = """
The change takes effect with the next `pulumi up`: the old host ends the mailbox's sessions and
leaves its index on the file system, the new host takes it, and clients log in again. The messages
stay where they are. A domain takes along its `mail.` name and the mailboxes without a host of their
own.
"""


def arguments(parser: ArgumentParser) -> None:
    """Declare what to move, and where to."""
    parser.add_argument("what", metavar="ADDRESS|DOMAIN")
    parser.add_argument("host", metavar="N", type=host_number, help="the host's number")
    stack_files.add_option(parser, stack_files.DEFAULT)
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: Namespace) -> int:
    """Edit the file, and print who moves."""
    path = stack_files.chosen(args.stack_file)
    if "@" in args.what:
        what = checked_address(args.what)
        people.require(path, what, "mailbox")
    else:
        what = _stored(args.what)
        people.require(path, what, "domain")
    edited = stack_edits.write(path, lambda text: edit.with_host(text, what, args.host))
    moves = _moves(edited.before, edited.after)
    notes = [f"{shown(address)} moves from host {old} to host {new}" for address, old, new in moves]
    if args.json:
        moved = [{"address": a, "from": old, "to": new} for a, old, new in moves]
        print(json.dumps({"file": str(path), "moves": moved}, indent=2, ensure_ascii=False))
        return Exit.OK
    print(f"{path}: {shown(what)} has host {args.host}")
    for note in notes or ["no mailbox moves"]:
        print(f"pulumi up: {note}")
    return Exit.OK


def _moves(before: Settings | None, after: Settings) -> list[tuple[str, int, int]]:
    """Return the mailboxes whose host changes: address, old and new number."""
    old = {each.address: each.home for each in before.directory.mailboxes} if before else {}
    return [
        (each.address, old[each.address], each.home)
        for each in after.directory.mailboxes
        if old.get(each.address, each.home) != each.home
    ]


def _stored(domain: str) -> str:
    """Return a domain as the directory has it; what is none stays, and is not found there."""
    try:
        return kept_domain(domain)
    except AddressError:
        return domain
