"""Options of the commands that act on a running stack, on AWS or on a desk.

The AWS library is loaded only when a command runs.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING

from postal_plexus.cli.exits import CommandError, Exit

if TYPE_CHECKING:
    from postal_plexus.operations.system import System


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


def reported(run: Callable[[Namespace], int]) -> Callable[[Namespace], int]:
    """Convert a stack's errors to CommandError with the documented exit code."""

    @wraps(run)
    def wrapped(args: Namespace) -> int:
        from postal_plexus.operations.system import AccessError, OperationError  # noqa: PLC0415

        try:
            return run(args)
        except AccessError as error:
            raise CommandError(Exit.NO_PERMISSION, str(error)) from error
        except OperationError as error:
            raise CommandError(Exit.UNAVAILABLE, str(error)) from error

    return wrapped
