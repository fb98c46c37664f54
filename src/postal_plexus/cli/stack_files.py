"""Stack files on disk: which one is meant, and its content.

Raises CommandError: NO_INPUT if a file cannot be read or chosen, CONFIG if it is wrong.
"""

import re
from argparse import ArgumentParser
from pathlib import Path

from postal_plexus.cli.exits import CommandError, Exit
from postal_plexus.config.file import StackFile, read_stack_file
from postal_plexus.config.problems import NAMESPACE, StackError
from postal_plexus.config.settings import Settings, read_settings
from postal_plexus.directory import Directory

_PATTERN = "Pulumi.*.yaml"
_NAME = re.compile(r"Pulumi\.(.+)\.ya?ml")
_PLACES = (Path(), Path("pulumi"))


def add_option(parser: ArgumentParser, default: str) -> None:
    """Add the option --stack-file to a command; `default` describes what is used without it."""
    parser.add_argument(
        "--stack-file",
        type=Path,
        metavar="FILE",
        help=f"a Pulumi stack file, Pulumi.<stack>.yaml (default: {default})",
    )


DEFAULT = "the only one here or in pulumi/"


def chosen(given: Path | None) -> Path:
    """Return the file to use: the one given, or the only one in the usual places."""
    if given is not None:
        return given
    found = sorted(file for place in _PLACES for file in place.glob(_PATTERN))
    if len(found) == 1:
        return found[0]
    if not found:
        what = f"there is no {_PATTERN} here or in pulumi/"
        raise CommandError(Exit.NO_INPUT, f"{what}; name one: --stack-file FILE")
    names = ", ".join(map(str, found))
    raise CommandError(Exit.NO_INPUT, f"there are several stack files; name one of {names}")


def read(path: Path) -> tuple[StackFile, Directory]:
    """Return the file's content, and its directory of addresses."""
    file = parsed(path, _content(path))
    try:
        return file, file.directory()
    except StackError as error:
        raise wrong(path, error) from error


def read_whole(path: Path) -> tuple[StackFile, Settings]:
    """Return the file's content and its settings, with all of it checked."""
    return whole(path, _content(path))


def whole(path: Path, content: bytes) -> tuple[StackFile, Settings]:
    """Return the same for content that the file has, or will have."""
    file = parsed(path, content)
    named = _NAME.fullmatch(path.name)
    prefix = f"{NAMESPACE}:"
    config = {
        key.removeprefix(prefix): value
        for key, value in file.settings.items()
        if key.startswith(prefix)
    }
    try:
        return file, read_settings(named and named[1], file.settings.get("aws:region"), config)
    except StackError as error:
        raise wrong(path, error) from error


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CommandError(
            Exit.NO_INPUT,
            f"cannot be read ({error.strerror}); give the path of a Pulumi.<stack>.yaml",
            source=str(path),
        ) from error


def parsed(path: Path, content: bytes) -> StackFile:
    """Return the file's content, parsed as YAML. Raise CommandError if it is not valid."""
    try:
        return read_stack_file(content)
    except StackError as error:
        raise wrong(path, error) from error


def wrong(path: Path, error: StackError) -> CommandError:
    """Return the error for a wrong stack file: one line per problem, with the file's name."""
    return CommandError(Exit.CONFIG, *map(str, error.problems), source=str(path))
