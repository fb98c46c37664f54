"""Options of the commands that act on a running stack, on AWS or on a desk.

The AWS library is loaded only when a command runs.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING

from postal_plexus.cli.exits import CommandError, Exit
from postal_plexus.maintenance import codes

if TYPE_CHECKING:
    from postal_plexus.operations.system import OperationError, System


def add_options(parser: ArgumentParser) -> None:
    """Declare the options that locate the stack."""
    where = parser.add_argument_group("the stack")
    where.add_argument(
        "--stack", default="main", help="the stack's name on AWS (default: %(default)s)"
    )
    where.add_argument("--region", help="the stack's AWS region (default: as for AWS's own tools)")
    where.add_argument(
        "--desk", type=Path, metavar="DIR", help="use the desk in this directory instead of AWS"
    )


def connect(args: Namespace) -> "System":
    """Return the chosen stack. Raise CommandError if the desk is not running."""
    from postal_plexus.operations.system import Endpoint, System  # noqa: PLC0415

    if args.desk is None:
        return System(args.stack, args.region)
    from postal_plexus.desk import desk  # noqa: PLC0415 - AWS needs no emulator

    try:
        status = desk.status(args.desk)
    except desk.DeskError as error:
        raise CommandError(Exit.UNAVAILABLE, *str(error).splitlines()) from error
    if not status.running or status.settings is None:
        line = f"no desk runs in {args.desk}; start it: plexus local up"
        raise CommandError(Exit.UNAVAILABLE, line)
    aws = status.aws()
    imaps = status.endpoints.imaps
    endpoint = Endpoint(
        aws["endpoint_url"],
        aws["ca_bundle"],
        aws["access_key_id"],
        aws["secret_access_key"],
        (imaps.host, imaps.port),
    )
    return System(desk.STACK, aws["region"], endpoint=endpoint)


EXITS = {
    codes.USAGE: Exit.USAGE,
    codes.DATA: Exit.DATA,
    codes.NO_USER: Exit.NO_USER,
    codes.NO_ROOM: Exit.NO_ROOM,
    codes.AGAIN: Exit.AGAIN,
    codes.REFUSED: Exit.NO_PERMISSION,
}
"""The exit code for that of a task (`postal_plexus.maintenance.codes`); UNAVAILABLE for others."""


def failure(error: "OperationError", stopped: str = "") -> CommandError:
    """Return the CommandError for an error: the single table for all commands.

    Args:
        error: the error of a stack or one of its tasks.
        stopped: the text to add if Control-C has stopped a task.
    """
    from postal_plexus.operations.system import AccessError  # noqa: PLC0415  AWS's library
    from postal_plexus.operations.task import RefusedError, TaskStoppedError  # noqa: PLC0415

    match error:
        case RefusedError():
            return CommandError(EXITS.get(error.code, Exit.UNAVAILABLE), str(error))
        case TaskStoppedError():
            return CommandError(Exit.INTERRUPTED, f"{error}{stopped}")
        case AccessError():
            return CommandError(Exit.NO_PERMISSION, str(error))
        case _:
            return CommandError(Exit.UNAVAILABLE, str(error))


def reported(run: Callable[[Namespace], int]) -> Callable[[Namespace], int]:
    """Convert a stack's errors to CommandError with the documented exit code."""

    @wraps(run)
    def wrapped(args: Namespace) -> int:
        from postal_plexus.operations.system import OperationError  # noqa: PLC0415

        try:
            return run(args)
        except OperationError as error:
            raise failure(error) from error

    return wrapped
