"""Running a one-off task from a command: what is told meanwhile, and how each failure ends."""

import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import Any

from postal_plexus.cli import system
from postal_plexus.cli.exits import CommandError, Exit
from postal_plexus.operations.task import RefusedError, Tasks, TaskStoppedError

Line = dict[str, Any]

_ENDS = {65: Exit.DATA, 67: Exit.NO_USER}


def tasks(args: Namespace) -> Tasks:
    """Give the tasks of the chosen stack."""
    return Tasks(system.connect(args))


def results(
    of: Tasks, image: str, words: Sequence[str], tell: Callable[[Line], None] | None = None
) -> list[Line]:
    """Run a verb to its end; give its results, or hand each to `tell` as it comes.

    Raises:
        CommandError: DATA or NO_USER as the task says, INTERRUPTED after Control-C.
    """
    found: list[Line] = []
    if sys.stderr.isatty():
        print("plexus: a task on the mail host does this ...", file=sys.stderr)
    try:
        of.run(image, words, tell or found.append)
    except RefusedError as error:
        raise CommandError(_ENDS.get(error.code, Exit.UNAVAILABLE), str(error)) from error
    except TaskStoppedError as stopped:
        raise CommandError(Exit.INTERRUPTED, str(stopped)) from stopped
    return found
