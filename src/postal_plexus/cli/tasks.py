"""Run a one-off task from a command: progress, and the exit code of each failure."""

import sys
from argparse import Namespace
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from postal_plexus.cli import system
from postal_plexus.cli.exits import CommandError, Exit
from postal_plexus.operations.task import RefusedError, Tasks, TaskStoppedError

Line = dict[str, Any]

_ENDS = {65: Exit.DATA, 67: Exit.NO_USER}


def tasks(args: Namespace) -> Tasks:
    """Return the tasks of the chosen stack."""
    return Tasks(system.connect(args))


def results(
    of: Tasks, image: str, words: Sequence[str], tell: Callable[[Line], None] | None = None
) -> list[Line]:
    """Run a verb to its end. Return its results, or pass each to `tell` as it arrives.

    Raises:
        CommandError: DATA or NO_USER as the task reports, INTERRUPTED after Control-C.
    """
    found: list[Line] = []
    if sys.stderr.isatty():
        print("plexus: running a task on the mail host ...", file=sys.stderr)
    with ending():
        of.run(image, words, tell or found.append)
    return found


@contextmanager
def ending(exits: Mapping[int, Exit] = _ENDS, stopped: str = "") -> Generator[None]:
    """Convert the failures of a task within the context to CommandError.

    Args:
        exits: by the task's exit code; UNAVAILABLE for any other.
        stopped: what to add to the message if Control-C has stopped it.
    """
    try:
        yield
    except RefusedError as error:
        raise CommandError(exits.get(error.code, Exit.UNAVAILABLE), str(error)) from error
    except TaskStoppedError as error:
        raise CommandError(Exit.INTERRUPTED, f"{error}{stopped}") from error


def document(line: Line) -> Line:
    """Return a result without the fields that only number and sort it."""
    return {name: value for name, value in line.items() if name not in {"n", "kind"}}
