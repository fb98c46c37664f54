"""`plexus app-passwords`: the passwords of single devices, in the stack file: list, make, revoke.

Who uses one logs in as with the mailbox's own password, so that a lost phone is one line's matter.
They live as hashes in the mailbox's entry, and what is made or revoked here holds from the next
`pulumi up` on, within a minute. Only that line of the file changes.

Last use is known where the users log in: Dovecot's container tells it (`logins`), and `list` joins
it to the names.

Fails with CommandError: NO_INPUT where a file cannot be read or written, CONFIG where the stack
file is wrong, NO_USER where it has no such mailbox or app password.
"""

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from postal_plexus.cli import password, stack_edits, stack_files
from postal_plexus.cli.exits import CommandError, Exit
from postal_plexus.config.edit import with_app_password, without_app_password
from postal_plexus.directory.entries import Mailbox
from postal_plexus.directory.idn import shown

SUMMARY = "list, make and revoke the passwords of single devices"
DETAILS = """
They are in the stack file, and hold from the next `pulumi up` on.
"""


def arguments(parser: ArgumentParser) -> None:
    """Declare the options of the command."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="say which there are, and when each was last used")
    listing.add_argument("address", nargs="?", metavar="ADDRESS", help="of one mailbox only")
    listing.add_argument(
        "--logins",
        metavar="FILE",
        help="what `logins` in Dovecot's container printed, or - for the standard input",
    )
    making = actions.add_parser("make", help="make one, print it once, write its hash to the file")
    revoking = actions.add_parser("revoke", help="take one out of the file")
    for action in (making, revoking):
        action.add_argument("address", metavar="ADDRESS", help="whose it is")
        action.add_argument("name", metavar="NAME", help="of the device or program, such as phone")
    for action in (listing, making, revoking):
        stack_files.add_option(action, stack_files.DEFAULT)


def run(args: Namespace) -> int:
    """Do what was asked; the stack file must be in order before and after."""
    path = stack_files.chosen(args.stack_file)
    _, directory = stack_files.read(path)
    address = None if args.address is None else password.checked_address(args.address)
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
    print(f"{path}: has its hash; it works after: pulumi up", file=sys.stderr)


def _revoke(path: Path, mailbox: Mailbox, name: str) -> None:
    if name not in dict(mailbox.app_passwords):
        has = ", ".join(dict(mailbox.app_passwords)) or "none"
        line = f"{mailbox.address} has no app password {name!r}; it has {has}"
        raise CommandError(Exit.NO_USER, line, source=str(path))
    stack_edits.write(path, lambda text: without_app_password(text, mailbox.address, name))
    print(f"{path}: {name} is removed; a minute after `pulumi up` it no longer works")


def _last_uses(source: str) -> dict[tuple[str, str], str]:
    """User and name -> when and how it was last used, from the lines that `logins` prints.

    A line is USER PASSWORD TIME PROTOCOL ADDRESS, newest first.
    """
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        line = "cannot be read; it should be what `logins` printed in Dovecot's container"
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
