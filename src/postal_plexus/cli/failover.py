"""`plexus failover N`: the other hosts take the mailboxes of a host that is lost.

Raises CommandError: USAGE if the stack has no such host, DATA if no mailbox of it has another home,
UNAVAILABLE while its instance is not terminated, and the errors of a task.
"""

import json
import sys
from argparse import ArgumentParser, Namespace
from datetime import UTC, datetime
from typing import Any

from postal_plexus.cli import system
from postal_plexus.cli.asking import confirm
from postal_plexus.cli.exits import CommandError, Exit
from postal_plexus.cli.numbers import host_number

Line = dict[str, Any]

SUMMARY = "let other mail hosts take the mailboxes of a host that is lost"

DETAILS = """
For a host that does not come back soon, such as one whose zone has failed. Its instance must be
terminated. First give its mailboxes other hosts: `plexus move ADDRESS|DOMAIN N` and `pulumi up`.
All their mail is on the file system; flags and folders are as they were when the lost host last
copied them there, an hour before at most. Mail that waits in the lost host's queue arrives when it
is back.
"""


def arguments(parser: ArgumentParser) -> None:
    """Declare which host is lost."""
    parser.add_argument("host", metavar="N", type=host_number, help="the lost host's number")
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    parser.add_argument("--json", action="store_true", help="print JSON")
    system.add_options(parser)


@system.reported
def run(args: Namespace) -> int:
    """Run it, and print which mailboxes have a new host."""
    from postal_plexus.cli import tasks  # noqa: PLC0415  AWS's library
    from postal_plexus.operations.failover import LostHost  # noqa: PLC0415

    stack = system.connect(args)
    if args.host > stack.count or stack.count == 1:
        hosts = "one host" if stack.count == 1 else f"hosts 1 to {stack.count}"
        raise CommandError(
            Exit.USAGE, f"the stack has {hosts}: there is no host {args.host} to lose"
        )
    if not args.yes:
        confirm(
            [f"Mailboxes of host {args.host} become as they were when it last copied its indexes."],
            "Is it lost? Continue?",
            "nothing was done",
        )
    lost = LostHost(stack.hosts[int(args.host) - 1])
    rescued: list[Line] = []
    left = 0
    failed: CommandError | None = None
    if sys.stderr.isatty():
        print("plexus: making sure that the host is gone and stays away ...", file=sys.stderr)
    with lost.kept_away():
        for runner in tasks.Tasks(stack).on_each_host():
            number = runner.host.host
            if number == args.host:
                continue
            words = ["rescue", f"--from={args.host}"]
            lines, failed = tasks.results_of_host(runner, "dovecot", words, failed)
            rescued += [
                {**tasks.document(line), "host": number}
                for line in lines
                if line["kind"] == "rescued"
            ]
            left = next((int(each["mailboxes"]) for each in lines if each["kind"] == "left"), left)
    _print(args, rescued, left)
    if failed:
        raise failed
    if not rescued:
        line = (
            f"no mailbox of host {args.host} has another host by now: plexus move, then pulumi up"
        )
        raise CommandError(Exit.DATA, line)
    return Exit.OK


def _print(args: Namespace, rescued: list[Line], left: int) -> None:
    if args.json:
        print(json.dumps({"lost": args.host, "mailboxes": rescued, "left": left}, indent=2))
        return
    for each in rescued:
        copied = each["flags_from"]
        of = (
            f"{datetime.fromtimestamp(copied, UTC):%Y-%m-%d %H:%M} UTC" if copied else "unknown age"
        )
        print(f"{each['address']}: host {each['host']} takes it, with flags of {of}")
    if left:
        print(f"{left} mailboxes still have host {args.host} as their home")
