"""Questions before actions that cannot be undone."""

import sys
from collections.abc import Iterable

from postal_plexus.cli.exits import CommandError, Exit


def ask(question: str, undone: str) -> bool:
    """Ask a yes-or-no question. Return whether the answer is yes.

    Raises:
        CommandError: USAGE if there is no terminal; the message contains `undone`.
    """
    if not sys.stdin.isatty():
        raise CommandError(Exit.USAGE, f"there is no terminal to ask at, so {undone}; give --yes")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def confirm(lines: Iterable[str], question: str, undone: str) -> None:
    """Show what will be done, and ask for confirmation.

    Raises:
        CommandError: USAGE if there is no terminal or the answer is not yes; the message contains
            `undone`.
    """
    for line in lines:
        print(line, file=sys.stderr)
    if not ask(question, undone):
        raise CommandError(Exit.USAGE, undone)
