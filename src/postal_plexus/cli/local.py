"""`plexus local`: the whole system on this desk, with an emulated AWS.

Here are its arguments only. What the commands do is in `desk`, which is loaded when one of them
runs: the other commands of `plexus` need neither an emulator nor containers.
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
            help="where it keeps everything (default: %(default)s)",
        )
        command.set_defaults(act=act)
        return command

    up = add(
        "up",
        "start it, or bring it up to date",
        "Start the desk, or bring it up to date; ends when every container is healthy.",
    )
    stack_files.add_option(up, "the one of the last time, else the desk's own")
    up.add_argument(
        "--ports",
        choices=("preferred", "ephemeral"),
        default="preferred",
        help="the usual ports where they are free, or any free ones (default: %(default)s)",
    )

    down = add(
        "down",
        "stop it; mailboxes and queues stay",
        "Stop everything of the desk. Mailboxes and queues stay, unless they are destroyed.",
    )
    down.add_argument("--destroy", action="store_true", help="remove mailboxes and queues too")

    status = add(
        "status",
        "say how it is and who has mail on it",
        "Say how the desk is. Ends with 69 unless it runs and is healthy.",
    )
    status.add_argument("--json", action="store_true", help="as a JSON document")

    send = add(
        "send",
        "send a mail in, as a server of the world does",
        "Send a mail in through SES. Ends with 69 if SES refuses it or one of its recipients.",
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
        help="the mail's subject (default: %(default)s)",
    )
    send.add_argument(
        "--text", default="Sent with plexus local send.\n", metavar="TEXT", help="the mail's text"
    )
    send.add_argument(
        "--file",
        metavar="FILE",
        help="send this whole mail instead, byte for byte; - reads it from the standard input",
    )

    add(
        "demo",
        "show a mail come in and another go out",
        "Show a mail come in and another go out, each with its times; then how to go on.",
    )


def run(args: Namespace) -> int:
    """Run the command that was chosen. Raises CommandError."""
    from postal_plexus.cli import desk  # noqa: PLC0415 - see above

    return desk.run(args)
