"""Commands with verbs of their own (`plexus queue hold`): a table of verbs and their modules.

A verb's module is loaded when it runs, because it needs the AWS library.
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
    """Declare no arguments."""


@dataclass(frozen=True)
class Verb:
    """One verb, which works on a running stack.

    Attributes:
        module: has `run(args) -> int`; `args.act` is the verb.
        arguments: declares its arguments besides the common options.
        asks: whether it asks for confirmation, so that it accepts --yes.
    """

    summary: str
    description: str
    module: str
    arguments: Callable[[ArgumentParser], None] = no_arguments
    asks: bool = False


def declare(actions: "_SubParsersAction[ArgumentParser]", verbs: Mapping[str, Verb]) -> None:
    """Declare the verbs of a command; `run` below runs the chosen one."""
    for name, verb in verbs.items():
        command = actions.add_parser(name, help=verb.summary, description=verb.description)
        system.add_options(command)
        command.add_argument("--json", action="store_true", help="print JSON")
        if verb.asks:
            command.add_argument("--yes", action="store_true", help="do not ask for confirmation")
        verb.arguments(command)
        command.set_defaults(act=name, module=verb.module)


@system.reported
def run(args: Namespace) -> int:
    """Run the chosen verb."""
    module = importlib.import_module(args.module)
    return cast("Callable[[Namespace], int]", module.run)(args)
