"""Commands with verbs of their own (`plexus queue hold`): a table, each with its module.

A verb's module is loaded when it runs, since it needs AWS's library.
"""

import importlib
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from postal_plexus.cli import system

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
