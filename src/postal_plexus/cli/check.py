"""`plexus check`: validate a stack file, and report everything that is wrong with it."""

from argparse import ArgumentParser, Namespace

from postal_plexus.cli import stack_files
from postal_plexus.cli.exits import Exit

SUMMARY = "check a stack file: every problem, with its key, entry and remedy"

DETAILS = """
The file is checked completely, as by the Pulumi program. A file that passes can only be refused for
what the AWS account and region contain. Password hashes that Pulumi has encrypted are not checked.
"""

_TEMPLATE_SALT = "$cmVwbGFjZS10aGlzLW9uZQ$"
NO_PASSWORD = (
    f"{{ARGON2ID}}$argon2id$v=19$m=19456,t=2,p=1{_TEMPLATE_SALT}"
    "bm90LWEtcGFzc3dvcmQtYXQtYWxsLXJlcGxhY2UtbWU"
)
"""A hash of the password "replace-this-one", which the template Pulumi.prod.yaml contains."""


def arguments(parser: ArgumentParser) -> None:
    """Declare the options of the command."""
    stack_files.add_option(parser, stack_files.DEFAULT)


def run(args: Namespace) -> int:
    """Print one line with a summary of the file. Raise CommandError with the problems."""
    path = stack_files.chosen(args.stack_file)
    stack, settings = stack_files.read_whole(path)
    directory = settings.directory
    catch_alls = sum(domain.catch_all is not None for domain in directory.domains)
    counts = (
        _count(len(directory.domains), "domain"),
        _count(len(directory.mailboxes), "mailbox", "mailboxes"),
        _count(len(directory.aliases), "alias", "aliases"),
        _count(catch_alls, "catch-all"),
    )
    line = f"{path}: in order: {', '.join(counts)}"
    if stack.sealed_hashes:
        hashes = _count(stack.sealed_hashes, "password hash", "password hashes")
        line += f"; {hashes} encrypted by Pulumi, not checked"
    untouched = sum(_TEMPLATE_SALT in mailbox.password_hash for mailbox in directory.mailboxes)
    if untouched:
        hashes = _count(untouched, "password hash is", "password hashes are")
        line += f"; {hashes} the template's, and nobody can log in with that: use plexus password"
    print(line)
    return Exit.OK


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
