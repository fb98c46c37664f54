"""`plexus mailbox add|rename|remove` and `plexus alias add|remove`: they edit the stack file.

Only the file changes. `pulumi up` deploys the change; the commands print what it will do.

Raises CommandError: NO_USER if the file has no such mailbox or alias, CONFIG if the file is wrong
or would be, NO_INPUT if it cannot be read or written, DATA for a bad password, USAGE if there is no
terminal to ask at.
"""

import json
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from postal_plexus.cli import password, stack_edits, stack_files
from postal_plexus.cli.addresses import checked_address
from postal_plexus.cli.asking import confirm
from postal_plexus.cli.exits import CommandError, Exit
from postal_plexus.config import edit
from postal_plexus.config.model import LARGEST_QUOTA_GB
from postal_plexus.config.settings import Settings
from postal_plexus.directory.idn import shown

if TYPE_CHECKING:
    from argparse import _SubParsersAction  # pyright: ignore[reportPrivateUsage]

_EVERYWHERE = "also remove references to it: destinations, catch-alls, send-as"


def mailbox_arguments(actions: "_SubParsersAction[ArgumentParser]") -> None:
    """Declare `add`, `rename` and `remove` of `plexus mailbox`."""
    adding = _action(actions, "add", "add a mailbox to the stack file", add_mailbox)
    adding.add_argument("address", metavar="ADDRESS")
    adding.add_argument(
        "--generate", action="store_true", help="generate a strong password, and print it"
    )
    adding.add_argument("--quota-gb", type=_gb, metavar="GB", help="size limit in GB (default: 10)")
    renaming = _action(
        actions,
        "rename",
        "give a mailbox another address; its mail stays where it is",
        rename_mailbox,
    )
    renaming.add_argument("address", metavar="OLD")
    renaming.add_argument("new", metavar="NEW")
    renaming.add_argument(
        "--no-alias", action="store_true", help="do not keep the old address as an alias"
    )
    removing = _action(actions, "remove", "remove a mailbox from the stack file", remove_mailbox)
    _removal(removing)


def alias_arguments(actions: "_SubParsersAction[ArgumentParser]") -> None:
    """Declare `add` and `remove` of `plexus alias`."""
    adding = _action(actions, "add", "add an alias, or destinations to one", add_alias)
    adding.add_argument("address", metavar="ADDRESS")
    adding.add_argument(
        "destinations",
        nargs="+",
        metavar="TO",
        help="a mailbox or alias here, or an address elsewhere",
    )
    removing = _action(actions, "remove", "remove an alias, or destinations of one", remove_alias)
    _removal(removing)
    removing.add_argument(
        "destinations", nargs="*", metavar="TO", help="remove only these (default: the alias)"
    )


def _action(
    actions: "_SubParsersAction[ArgumentParser]", name: str, summary: str, run: object
) -> ArgumentParser:
    description = f"{summary[0].upper()}{summary[1:]}."
    action = actions.add_parser(name, help=summary, description=description)
    stack_files.add_option(action, stack_files.DEFAULT)
    action.add_argument("--json", action="store_true", help="print JSON")
    action.set_defaults(act=run)
    return action


def _removal(action: ArgumentParser) -> None:
    action.add_argument("address", metavar="ADDRESS")
    action.add_argument("--everywhere", action="store_true", help=_EVERYWHERE)
    action.add_argument("--yes", action="store_true", help="do not ask for confirmation")


def add_mailbox(args: Namespace) -> int:
    """Add a mailbox. Its password is asked for or generated; only the hash is written."""
    path, address = _file_and_address(args)

    def change(password_hash: str) -> stack_edits.Edit:
        return lambda text: edit.with_mailbox(text, args.address, password_hash, args.quota_gb)

    # Report an impossible change before asking for a password.
    stack_edits.tried(path, change(password.hashed(password.generated())))
    made = password.generated() if args.generate else password.entered()
    edited = stack_edits.write(path, change(password.hashed(made)))
    if args.generate and not args.json:
        print(f"password: {made}")
    notes = [f"Devices and programs log in as {address}. How to set them up: docs/clients.md."]
    stored_as = next(m.storage for m in edited.after.directory.mailboxes if m.address == address)
    if stored_as != address:
        notes.append(f"Its mail is stored as {stored_as}: a renamed mailbox uses the usual place.")
    notes.append(
        "If this address had a mailbox before, its mail may still be there and belong to the "
        "new user: see `plexus mailbox remove`."
    )
    more = {"password": made} if args.generate else {}
    return _told(args, path, f"has the mailbox {shown(address)}", edited, notes, more)


def rename_mailbox(args: Namespace) -> int:
    """Give a mailbox another address. Its mail is not moved, so that none can get lost."""
    path, old = _file_and_address(args)
    new = checked_address(args.new)
    if new == old:
        raise CommandError(Exit.USAGE, f"{args.new} is already its address")
    require(path, old, "mailbox")
    keeps = not args.no_alias
    edited = stack_edits.write(
        path, lambda text: edit.with_another_address(text, args.address, args.new, alias=keeps)
    )
    notes = [
        "Mail, folders, flags and filters stay where they are (stored-as): nothing is moved.",
        f"The login is {new} from then on; devices that still use {old} keep working.",
        f"Folders that others shared with {old} have to be shared with {new} again.",
    ]
    what = f"{shown(old)} is now {shown(new)}"
    if keeps:
        what += ", and the old address an alias"
    else:
        notes.append(f"Mail to {old} is refused from then on.")
    return _told(args, path, what, edited, notes)


def remove_mailbox(args: Namespace) -> int:
    """Remove a mailbox from the file. Its data on the server stays until somebody deletes it."""
    path, address = _file_and_address(args)
    require(path, address, "mailbox")

    def change(text: str) -> str:
        return edit.without_mailbox(text, args.address, everywhere=args.everywhere)

    tried = _tried_removal(path, change, args)
    storage = (
        next((m.storage for m in tried.before.directory.mailboxes if m.address == address), address)
        if tried.before
        else address
    )
    name, _, domain = storage.rpartition("@")
    notes = [
        f"Its mail stays on the file system, in /srv/mail/{domain}/{name}, and in the backups.",
        'To export it first and delete it then: docs/mailboxes.md, "Add, change, remove".',
        "Until then, do not give the address to anybody else, who could read the mail.",
    ]
    if not args.yes:
        confirm(notes, f"Remove {shown(address)} from {path}?", "nothing was changed")
    edited = stack_edits.write(path, change)
    return _told(args, path, f"has no mailbox {shown(address)} any more", edited, notes)


def add_alias(args: Namespace) -> int:
    """Add an alias, or destinations to one."""
    path, address = _file_and_address(args)
    edited = stack_edits.write(
        path, lambda text: edit.with_alias(text, args.address, args.destinations)
    )
    alias = next(each for each in edited.after.directory.aliases if each.address == address)
    leads = ", ".join(map(shown, alias.destinations))
    return _told(args, path, f"{shown(address)} leads to {leads}", edited, [])


def remove_alias(args: Namespace) -> int:
    """Remove an alias, or some of its destinations."""
    path, address = _file_and_address(args)
    require(path, address, "alias")

    def change(text: str) -> str:
        return edit.without_alias(text, args.address, args.destinations, everywhere=args.everywhere)

    _tried_removal(path, change, args)
    what = (
        f"{', '.join(args.destinations)} from {shown(address)}"
        if args.destinations
        else shown(address)
    )
    if not args.yes:
        question = f"Remove {what} from {path}?" if not args.destinations else f"Remove {what}?"
        confirm([], question, "nothing was changed")
    edited = stack_edits.write(path, change)
    left = next((each for each in edited.after.directory.aliases if each.address == address), None)
    leads = left and ", ".join(map(shown, left.destinations))
    said = (
        f"{shown(address)} leads to {leads}" if left else f"has no alias {shown(address)} any more"
    )
    return _told(args, path, said, edited, [])


def _file_and_address(args: Namespace) -> tuple[Path, str]:
    return stack_files.chosen(args.stack_file), checked_address(args.address)


def _gb(text: str) -> float:
    """Parse a number of GB as a person writes it."""
    try:
        quota_gb = float(text)
    except ValueError:
        quota_gb = 0.0
    if not 0.1 <= quota_gb <= LARGEST_QUOTA_GB:  # and not NaN
        raise ArgumentTypeError(f"{text!r} is not a number of GB from 0.1 to {LARGEST_QUOTA_GB}")
    return int(quota_gb) if quota_gb.is_integer() else quota_gb


def require(path: Path, name: str, kind: str) -> None:
    """Raise CommandError unless the file has this entry, if the file is valid.

    `kind`: mailbox, alias or domain; a domain's name is given as it is stored.
    """
    try:
        _, directory = stack_files.read(path)
    except CommandError as error:
        if error.code is Exit.CONFIG:
            return
        raise
    names = {
        "mailbox": {each.address for each in directory.mailboxes},
        "alias": {each.address for each in directory.aliases},
        "domain": {each.name for each in directory.domains},
    }
    if name not in names[kind]:
        line = f"has no {kind} {shown(name)}; see: plexus directory"
        raise CommandError(Exit.NO_USER, line, source=str(path))


def _tried_removal(path: Path, change: stack_edits.Edit, args: Namespace) -> stack_edits.Edited:
    """Try a removal. Report what still refers to the address, with the way to remove it."""
    try:
        return stack_edits.tried(path, change)
    except CommandError as error:
        if error.code is not Exit.CONFIG or args.everywhere:
            raise
        hint = f"{path}: nothing was changed; --everywhere also removes what refers to it"
        raise CommandError(error.code, *(*error.lines, hint), source="") from error


def _told(
    args: Namespace,
    path: Path,
    what: str,
    edited: stack_edits.Edited,
    notes: list[str],
    more: dict[str, str] | None = None,
) -> int:
    effects = list(_effects(edited.before, edited.after))
    if args.json:
        document = {"file": str(path), "done": what, "pulumi_up": effects, "notes": notes}
        print(json.dumps(document | (more or {}), indent=2, ensure_ascii=False))
        return Exit.OK
    print(f"{path}: {what}")
    for effect in effects:
        print(f"pulumi up: {effect}")
    for note in notes:
        print(note)
    return Exit.OK


def _effects(before: Settings | None, after: Settings) -> list[str]:
    """Yield what `pulumi up` will do because of the change."""
    effects = [
        "writes the directory again; the containers load it within a minute, without a restart"
    ]
    if after.accept != "addresses":
        return effects
    hosted = set(after.directory.hosted_addresses())
    had = set(before.directory.hosted_addresses()) if before else hosted
    caught = {domain.name for domain in after.directory.domains if domain.catch_all is not None}

    def named(addresses: set[str]) -> str:
        return ", ".join(shown(a) for a in sorted(addresses) if a.rpartition("@")[2] not in caught)

    if more := named(hosted - had):
        effects.append(f"SES accepts mail to {more}")
    if fewer := named(had - hosted):
        effects.append(f"SES refuses mail to {fewer}")
    return effects
