"""Commands with verbs of their own (`plexus queue hold`): a table, each with its module.

A verb's module is loaded when it runs, since it needs AWS's library.
"""

import importlib
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from postal_plexus.cli import system
from postal_plexus.cli.exits import CommandError, Exit

if TYPE_CHECKING:
    from argparse import _SubParsersAction  # pyright: ignore[reportPrivateUsage]


def no_arguments(_parser: ArgumentParser) -> None:
    """Take none."""


@dataclass(frozen=True)
class Verb:
    """One verb, which works on a running stack.

    Attributes:
        module: has `run(args) -> int`; `args.act` is the verb.
        arguments: declares what it takes besides the common options.
        asks: it asks before it acts, so it takes --yes.
    """

    summary: str
    description: str
    module: str
    arguments: Callable[[ArgumentParser], None] = no_arguments
    asks: bool = False


def declare(actions: "_SubParsersAction[ArgumentParser]", verbs: Mapping[str, Verb]) -> None:
    """Declare the verbs of a command; `run` below is what it then does."""
    for name, verb in verbs.items():
        command = actions.add_parser(name, help=verb.summary, description=verb.description)
        system.add_options(command)
        command.add_argument("--json", action="store_true", help="as a JSON document")
        if verb.asks:
            command.add_argument("--yes", action="store_true", help="do not ask")
        verb.arguments(command)
        command.set_defaults(act=name, module=verb.module)


@system.reported
def run(args: Namespace) -> int:
    """Do what was chosen."""
    module = importlib.import_module(args.module)
    return cast("Callable[[Namespace], int]", module.run)(args)


def confirm(lines: Iterable[str], question: str, undone: str) -> None:
    """Show what is to be done, and ask.

    Raises:
        CommandError: USAGE where nobody can be asked, or the answer is not yes; `undone` says so.
    """
    for line in lines:
        print(line, file=sys.stderr)
    if not sys.stdin.isatty():
        raise CommandError(Exit.USAGE, f"nobody can be asked here, so {undone}; give --yes")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise CommandError(Exit.USAGE, undone)
