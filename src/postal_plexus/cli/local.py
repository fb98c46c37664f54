"""`plexus local`: the whole system on this desk, with an emulated AWS.

This module declares the arguments; `desk` does the work. `desk` is loaded only when one of these
commands runs, because the others need neither an emulator nor containers.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from postal_plexus.cli import stack_files

SUMMARY = "run the whole system on this desk, with an emulated AWS"
DETAILS = "The same program, containers and rules as on AWS; needs podman or docker."


def arguments(parser: ArgumentParser) -> None:
    """Declare the commands under `plexus local`."""
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(act: str, summary: str, description: str) -> ArgumentParser:
        command = commands.add_parser(act, help=summary, description=description)
        command.add_argument(
            "--desk",
            type=Path,
            default=Path(".desk"),
            metavar="DIR",
            help="the desk's directory (default: %(default)s)",
        )
        command.set_defaults(act=act)
        return command

    up = add(
        "up",
        "start it, or bring it up to date",
        "Start the desk, or bring it up to date. Returns when every container is healthy.",
    )
    stack_files.add_option(up, "the last one used, or else the desk's own")
    up.add_argument(
        "--ports",
        choices=("preferred", "ephemeral"),
        default="preferred",
        help="the usual ports if they are free, or any free ones (default: %(default)s)",
    )

    down = add(
        "down",
        "stop it; mailboxes and queues stay",
        "Stop the whole desk. Mailboxes and queues stay, unless --destroy is given.",
    )
    down.add_argument("--destroy", action="store_true", help="delete mailboxes and queues too")

    status = add(
        "status",
        "show its state and its accounts",
        "Show the desk's state. The exit code is 69 unless it is running and healthy.",
    )
    status.add_argument("--json", action="store_true", help="print JSON")

    send = add(
        "send",
        "send a message to the desk, as a server on the internet does",
        "Send a message to the desk through SES. Exits with 69 if SES refuses it or a recipient.",
    )
    send.add_argument("recipients", nargs="+", metavar="ADDRESS", help="an envelope recipient")
    send.add_argument(
        "--from",
        dest="sender",
        default="friend@elsewhere.example",
        metavar="ADDRESS",
        help="the envelope sender, empty for a bounce (default: %(default)s)",
    )
    send.add_argument(
        "--subject",
        default="Hello from the world",
        metavar="TEXT",
        help="the message's subject (default: %(default)s)",
    )
    send.add_argument(
        "--text",
        default="Sent with plexus local send.\n",
        metavar="TEXT",
        help="the message's text",
    )
    send.add_argument(
        "--file",
        metavar="FILE",
        help="send this message instead, byte for byte; - reads it from standard input",
    )

    add(
        "demo",
        "show a message arrive and another leave",
        "Show a message arrive and another leave, with times; then print what to do next.",
    )


def run(args: Namespace) -> int:
    """Run the chosen command. Raises CommandError."""
    from postal_plexus.cli import desk  # noqa: PLC0415 - see above

    return desk.run(args)
