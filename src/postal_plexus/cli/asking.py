"""Questions before what cannot be undone."""

import sys
from collections.abc import Iterable

from postal_plexus.cli.exits import CommandError, Exit


def ask(question: str, undone: str) -> bool:
    """Ask, and tell whether the answer is yes.

    Raises:
        CommandError: USAGE where nobody can be asked; `undone` says so.
    """
    if not sys.stdin.isatty():
        raise CommandError(Exit.USAGE, f"nobody can be asked here, so {undone}; give --yes")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def confirm(lines: Iterable[str], question: str, undone: str) -> None:
    """Show what is to be done, and ask.

    Raises:
        CommandError: USAGE where nobody can be asked, or the answer is not yes; `undone` says so.
    """
    for line in lines:
        print(line, file=sys.stderr)
    if not ask(question, undone):
        raise CommandError(Exit.USAGE, undone)
