"""`plexus import`: import mail and users from elsewhere. This module declares the arguments."""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from postal_plexus.cli import import_mail, import_workmail

SUMMARY = "import mail from another server or files, and users from Amazon WorkMail"

DETAILS = """ `plexus import ADDRESS SOURCE` is short for `plexus import mail ADDRESS SOURCE`.
"""

_MAIL = "mail"


def arguments(parser: ArgumentParser) -> None:
    """Declare the commands under `plexus import`."""
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    mail = commands.add_parser(
        _MAIL, help=import_mail.SUMMARY, description=import_mail.DETAILS.strip()
    )
    import_mail.arguments(mail)
    mail.set_defaults(act=import_mail.run)
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
    known = {_MAIL, import_workmail.NAME, "-h", "--help"}
    if len(words) > 1 and words[0] == "import" and words[1] not in known:
        return ["import", _MAIL, *words[1:]]
    return list(words)


def run(args: Namespace) -> int:
    """Run the chosen command."""
    return args.act(args)
