"""`plexus`, the operator's command: its arguments, and how each ending becomes an exit code."""

import os
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from importlib.metadata import version
from typing import NoReturn

from postal_plexus.cli import app_passwords, check, cost, directory, dns, local, password
from postal_plexus.cli.exits import CommandError, Exit, table

_COMMANDS = {
    "check": check,
    "cost": cost,
    "directory": directory,
    "dns": dns,
    "password": password,
    "app-passwords": app_passwords,
    "local": local,
}


class _Parser(ArgumentParser):
    """A parser whose errors end with the documented code."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where to read on."""
        self.print_usage(sys.stderr)
        self.exit(Exit.USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run `plexus` with these arguments, by default the process's own; gives the exit code."""
    args = _parser().parse_args(argv)
    try:
        code = args.run(args)
        sys.stdout.flush()
    except CommandError as error:
        for line in error.lines:
            print(line, file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # What is still buffered has no reader; without this Python would complain of it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.BROKEN_PIPE
    return code


def _parser() -> ArgumentParser:
    parser = _Parser(
        prog="plexus",
        description="Postal Plexus: mail for a few domains of your own, on AWS.",
        epilog="\n".join(("exit codes:", *table())),
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"plexus {version('postal-plexus')}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, command in _COMMANDS.items():
        sentence = f"{command.SUMMARY[0].upper()}{command.SUMMARY[1:]}. {command.DETAILS}"
        described = commands.add_parser(name, help=command.SUMMARY, description=sentence)
        command.arguments(described)
        described.set_defaults(run=command.run)
    return parser
