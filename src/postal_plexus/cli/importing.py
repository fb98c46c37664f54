"""`plexus import`: import mail, calendars, contacts and users from elsewhere.

This module declares the arguments.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from postal_plexus.cli import import_calendars, import_mail, import_workmail

SUMMARY = "import mail, calendars and contacts, and users from Amazon WorkMail"

DETAILS = """ `plexus import ADDRESS SOURCE` is short for `plexus import mail ADDRESS SOURCE`, or,
if SOURCE has calendars or contacts (.ics, .vcf) and no mail, for `plexus import calendars ADDRESS
SOURCE...`.
"""

_MAIL, _CALENDARS = "mail", "calendars"


def arguments(parser: ArgumentParser) -> None:
    """Declare the commands under `plexus import`."""
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    mail = commands.add_parser(
        _MAIL, help=import_mail.SUMMARY, description=import_mail.DETAILS.strip()
    )
    import_mail.arguments(mail)
    mail.set_defaults(act=import_mail.run)
    calendars = commands.add_parser(
        _CALENDARS, help=import_calendars.SUMMARY, description=import_calendars.DETAILS.strip()
    )
    import_calendars.arguments(calendars)
    calendars.set_defaults(act=import_calendars.run)
    users = commands.add_parser(
        import_workmail.NAME,
        help="import users from Amazon WorkMail",
        description=import_workmail.DETAILS.strip(),
    )
    users.add_argument("--region", help="the AWS region (default: as for AWS's own tools)")
    users.add_argument("--json", action="store_true", help="as a JSON document")
    import_workmail.add_options(users)
    users.set_defaults(act=import_workmail.run)


def spelled_out(words: Sequence[str]) -> list[str]:
    """Return the command line with the command inserted for which an address stands."""
    known = {_MAIL, _CALENDARS, import_workmail.NAME, "-h", "--help"}
    if len(words) > 1 and words[0] == "import" and words[1] not in known:
        kind = _CALENDARS if _names_calendars(words[1:]) else _MAIL
        return ["import", kind, *words[1:]]
    return list(words)


def _names_calendars(words: Sequence[str]) -> bool:
    """Return whether a command line without a kind names files with calendars or contacts."""
    from postal_plexus.operations.calendar_files import is_for_calendars  # noqa: PLC0415

    paths = [Path(word) for word in words[1:] if not word.startswith("-") and "://" not in word]
    return any(is_for_calendars(each) for each in paths)


def run(args: Namespace) -> int:
    """Run the chosen command."""
    return args.act(args)
