"""Run a one-off task from a command: progress, and the exit code of each failure."""

import sys
from argparse import Namespace
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

from postal_plexus.cli import system
from postal_plexus.cli.exits import CommandError, Exit
from postal_plexus.operations.system import OperationError
from postal_plexus.operations.task import Tasks

Line = dict[str, Any]


def tasks(args: Namespace) -> Tasks:
    """Return the tasks of the chosen stack."""
    return Tasks(system.connect(args))


def results(
    of: Tasks, image: str, words: Sequence[str], tell: Callable[[Line], None] | None = None
) -> list[Line]:
    """Run a verb to its end. Return its results, or pass each to `tell` as it arrives.

    Raises:
        CommandError: as `system.failure` says.
    """
    found: list[Line] = []
    if sys.stderr.isatty():
        print("plexus: running a task on the mail host ...", file=sys.stderr)
    with ending():
        of.run(image, words, tell or found.append)
    return found


def results_of_all(
    of: Tasks, image: str, words: Sequence[str]
) -> tuple[list[Line], CommandError | None]:
    """Run a verb on each host. Return the results, and the failures of hosts as one error.

    Each result has its host's number as `host`, if there are several. A host that does not answer
    does not hide the others.

    Raises:
        CommandError: Control-C has stopped it.
    """
    found: list[Line] = []
    failed: CommandError | None = None
    hosts = of.on_each_host()
    for each in hosts:
        number = {"host": each.host.host} if hosts[1:] else {}
        lines, failed = results_of_host(each, image, words, failed)
        found += [line | number for line in lines]
    return found, failed


def show_all(
    of: Tasks, image: str, words: Sequence[str], show: Callable[[list[Line]], None]
) -> None:
    """Run a verb on each host, and pass the results of those that answer to `show`.

    Raises:
        CommandError: a host's failure, after the others' results have been shown.
    """
    found, failed = results_of_all(of, image, words)
    if found or not failed:
        show(found)
    if failed:
        raise failed


def results_of_host(
    of: Tasks, image: str, words: Sequence[str], failed: CommandError | None = None
) -> tuple[list[Line], CommandError | None]:
    """Run a verb on one host of several. Return the results, and its failure if it failed.

    Args:
        of: the tasks of that host.
        image: see `Tasks.run`.
        words: see `Tasks.run`.
        failed: the failures of hosts before it, to which its own is added.

    Raises:
        CommandError: Control-C has stopped it.
    """
    try:
        return results(of, image, words), failed
    except CommandError as error:
        if error.code is Exit.INTERRUPTED:
            raise
        return [], added(failed, error, of)


def added(failed: CommandError | None, error: CommandError, of: Tasks) -> CommandError:
    """Return the failures of hosts before, if any, and that of one more, which it names."""
    host = f"host {of.host.host}: " if of.host.count > 1 else ""
    lines = [f"plexus: {host}{line.removeprefix('plexus: ')}" for line in error.lines]
    if failed:
        return CommandError(failed.code, *failed.lines, *lines, source="")
    return CommandError(error.code, *lines, source="")


@contextmanager
def ending(stopped: str = "") -> Generator[None]:
    """Convert the failures of a task within the context to CommandError.

    Args:
        stopped: what to add to the message if Control-C has stopped it.
    """
    try:
        yield
    except OperationError as error:
        raise system.failure(error, stopped) from error


def document(line: Line) -> Line:
    """Return a result without the fields that only number and sort it."""
    return {name: value for name, value in line.items() if name not in {"n", "kind"}}
