"""`plexus`, the operator's command: its arguments, and the exit code for each outcome."""

import os
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib.metadata import version
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NoReturn, TextIO, cast

from postal_plexus.cli import (
    alias,
    app_passwords,
    check,
    console,
    cost,
    dead_letters,
    directory,
    dns,
    doctor,
    exporting,
    failover,
    importing,
    local,
    mailbox,
    move,
    operator_policy,
    password,
    queue,
    replay,
    reports,
    restore,
    trace,
    up,
)
from postal_plexus.cli.exits import CommandError, Exit, table

_COMMANDS = {
    "check": check,
    "up": up,
    "cost": cost,
    "directory": directory,
    "dns": dns,
    "password": password,
    "mailbox": mailbox,
    "alias": alias,
    "move": move,
    "failover": failover,
    "import": importing,
    "export": exporting,
    "app-passwords": app_passwords,
    "doctor": doctor,
    "dead-letters": dead_letters,
    "replay": replay,
    "restore": restore,
    "queue": queue,
    "reports": reports,
    "operator-policy": operator_policy,
    "console": console,
    "trace": trace,
    "local": local,
}


class _Parser(ArgumentParser):
    """A parser that ends with the documented exit code on errors."""

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and where to read more."""
        self.print_usage(sys.stderr)
        self.exit(Exit.USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")


class _Output:
    """Standard output that remembers a failed write, which argparse would hide."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def write(self, text: str) -> int:
        """Write to the stream."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        """Flush the stream."""
        try:
            self._stream.flush()
        except OSError as error:
            self.error = error
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `plexus` with these arguments, by default the process's own. Return the exit code."""
    _open_closed_streams()
    _print_anything()
    code = _with_output(argv)
    try:
        sys.stderr.flush()
    except OSError:
        _drop_what_is_buffered(sys.stderr)
    return code


def _with_output(argv: Sequence[str] | None) -> int:
    output = _Output(sys.stdout)
    code = int(Exit.IO_ERROR)
    try:
        with redirect_stdout(cast("TextIO", output)):
            code = _run(argv)
            output.flush()
    except OSError as error:
        if error is not output.error:
            raise
    if output.error is None:
        return code
    _drop_what_is_buffered(sys.stdout)
    if isinstance(output.error, BrokenPipeError):
        return Exit.BROKEN_PIPE
    _complain(f"plexus: the output cannot be written ({output.error.strerror})")
    return Exit.IO_ERROR


def _run(argv: Sequence[str] | None) -> int:
    try:
        words = sys.argv[1:] if argv is None else argv
        args = parser().parse_args(importing.spelled_out(words))
        return int(args.run(args))
    except SystemExit as ended:  # --help, --version and wrong arguments
        return ended.code if isinstance(ended.code, int) else Exit.USAGE
    except CommandError as error:
        for line in error.lines:
            _complain(line)
        return error.code
    except KeyboardInterrupt:
        _complain("")
        return Exit.INTERRUPTED


def _print_anything() -> None:
    """Escape names that are not UTF-8, such as a directory's, on output."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _complain(line: str) -> None:
    """Write to standard error. If that fails, only the exit code reports the error."""
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        _drop_what_is_buffered(sys.stderr)


def _drop_what_is_buffered(stream: TextIO) -> None:
    """Redirect a stream that cannot be written to, so that Python does not exit with 120."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _open_closed_streams() -> None:
    """Open streams that the caller has closed; argparse before Python 3.11.5 needs them."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115


def parser() -> ArgumentParser:
    """Create the parser of the whole command line."""
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
