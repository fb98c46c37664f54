"""`plexus app-passwords`: list, make and revoke passwords of single devices in the stack file.

A device logs in with its app password as with the mailbox's own password, so a lost phone costs
only one password. Hashes are stored in the mailbox's entry. A new or revoked password takes effect
within a minute after the next `pulumi up`. Only its line in the file changes.

Dovecot's container knows when each password was last used (`logins`); `list` combines that with the
names.

Raises CommandError: NO_INPUT if a file cannot be read or written, CONFIG if the stack file is
wrong, NO_USER if it has no such mailbox or app password.
"""

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from postal_plexus.cli import password, stack_edits, stack_files
from postal_plexus.cli.addresses import checked_address
from postal_plexus.cli.exits import CommandError, Exit
from postal_plexus.config.edit import with_app_password, without_app_password
from postal_plexus.directory.entries import Mailbox
from postal_plexus.directory.idn import shown

SUMMARY = "list, make and revoke the passwords of single devices"
DETAILS = """
They are in the stack file. Changes take effect with the next `pulumi up`.
"""


def arguments(parser: ArgumentParser) -> None:
    """Declare the options of the command."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="list them, with the last use of each")
    listing.add_argument("address", nargs="?", metavar="ADDRESS", help="only those of this mailbox")
    listing.add_argument(
        "--logins",
        metavar="FILE",
        help="the output of `logins` in Dovecot's container; - for standard input",
    )
    making = actions.add_parser(
        "make", help="generate one, print it once, and write its hash to the file"
    )
    revoking = actions.add_parser("revoke", help="remove one from the file")
    for action in (making, revoking):
        action.add_argument("address", metavar="ADDRESS", help="the mailbox")
        action.add_argument(
            "name", metavar="NAME", help="name of the device or program, such as phone"
        )
    for action in (listing, making, revoking):
        stack_files.add_option(action, stack_files.DEFAULT)


def run(args: Namespace) -> int:
    """Run the chosen command. The stack file must be valid before and after."""
    path = stack_files.chosen(args.stack_file)
    _, directory = stack_files.read(path)
    address = None if args.address is None else checked_address(args.address)
    mailboxes = [each for each in directory.mailboxes if address in {None, each.address}]
    if not mailboxes:
        line = f"has no mailbox {args.address}; see: plexus directory"
        raise CommandError(Exit.NO_USER, line, source=str(path))
    if args.action == "list":
        _list(mailboxes, None if args.logins is None else _last_uses(args.logins))
    elif args.action == "make":
        _make(path, mailboxes[0], password.checked_app_name(args.name))
    else:
        _revoke(path, mailboxes[0], args.name)
    return Exit.OK


def _list(mailboxes: list[Mailbox], last_uses: dict[tuple[str, str], str] | None) -> None:
    for mailbox in mailboxes:
        print(shown(mailbox.address))
        for name, _ in mailbox.app_passwords:
            use = ""
            if last_uses is not None:
                use = last_uses.get((mailbox.address, name), "not used in the last 90 days")
            print(f"  {name:<20} {use}".rstrip())


def _make(path: Path, mailbox: Mailbox, name: str) -> None:
    made = password.generated()
    made_hash = password.hashed(made)
    stack_edits.write(path, lambda text: with_app_password(text, mailbox.address, name, made_hash))
    print(f"password: {made}")
    print(f"{path}:its hash is stored; it takes effect after: pulumi up", file=sys.stderr)


def _revoke(path: Path, mailbox: Mailbox, name: str) -> None:
    if name not in dict(mailbox.app_passwords):
        has = ", ".join(dict(mailbox.app_passwords)) or "none"
        line = f"{mailbox.address} has no app password {name!r}; it has {has}"
        raise CommandError(Exit.NO_USER, line, source=str(path))
    stack_edits.write(path, lambda text: without_app_password(text, mailbox.address, name))
    print(f"{path}: {name} is removed; it stops working a minute after `pulumi up`")


def _last_uses(source: str) -> dict[tuple[str, str], str]:
    """Parse the output of `logins`. Return when and how each user and password name was last used.

    A line is USER PASSWORD TIME PROTOCOL ADDRESS, newest first.
    """
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        line = "cannot be read; it should be the output of `logins` in Dovecot's container"
        raise CommandError(Exit.NO_INPUT, line, source=source) from error
    uses: dict[tuple[str, str], str] = {}
    for line in text.splitlines():
        match line.split():
            case [user, name, when, protocol, address]:
                uses.setdefault((user, name), f"last used {when}, {protocol} from {address}")
            case _:
                told = f"{line!r} is not a line of `logins`: USER PASSWORD TIME PROTOCOL ADDRESS"
                raise CommandError(Exit.DATA, told, source=source)
    return uses
