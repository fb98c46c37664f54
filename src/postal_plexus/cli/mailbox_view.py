"""The commands `plexus mailbox list|sessions|kick|quota`."""

import json
from argparse import Namespace
from typing import Any

from postal_plexus.cli import tasks
from postal_plexus.cli.addresses import checked_address
from postal_plexus.cli.exits import CommandError, Exit
from postal_plexus.mail.printable import printable
from postal_plexus.maintenance.output import ELSEWHERE
from postal_plexus.operations.task import Tasks

Line = dict[str, Any]

_UNITS = ("B", "KB", "MB", "GB", "TB")


def run(args: Namespace) -> int:
    """Run the chosen command. Raise NO_USER for an address that has no mailbox."""
    verb = f"mailbox-{args.act}"
    if args.act == "quota":
        verb = "mailbox-recalculate" if args.recalculate else "mailbox-list"
    words = [checked_address(each) for each in args.addresses]
    runner = tasks.tasks(args)
    if words:
        found, failed = _named(runner, verb, words)
    else:
        found, failed = tasks.results_of_all(runner, "dovecot", [verb])
    if runner.host.count > 1:
        found.sort(key=lambda line: str(line["address"]))
    if failed and not found:
        raise failed
    _print(args, found)
    if failed:
        raise failed
    return Exit.OK


def _named(runner: Tasks, verb: str, words: list[str]) -> tuple[list[Line], CommandError | None]:
    """Ask a host about some mailboxes, and the hosts that it names about those that live there.

    Return the results, and the failures of the latter as one error.
    """
    found = tasks.results(runner, "dovecot", [verb, *words])
    away = [line for line in found if line["kind"] == ELSEWHERE]
    found = [line for line in found if line["kind"] != ELSEWHERE]
    failed: CommandError | None = None
    for host in sorted({int(line["host"]) for line in away}):
        there = [str(line["address"]) for line in away if line["host"] == host]
        on_host = runner.on_host(host)
        lines, failed = tasks.results_of_host(on_host, "dovecot", [verb, *there], failed)
        # One that has just moved is missing; the next call finds it.
        found += [line for line in lines if line["kind"] != ELSEWHERE]
    return found, failed


def _print(args: Namespace, found: list[Line]) -> None:
    if args.json:
        print(json.dumps([tasks.document(each) for each in found], indent=2))
        return
    show = {"list": _mailbox, "quota": _quota, "sessions": _session, "kick": _kicked}[args.act]
    for each in found:
        print(show(each))
    if args.act == "sessions" and not found:
        print("Nobody is connected.")


def _mailbox(line: Line) -> str:
    login = line["login"]
    last = f"{login['at']} {login['protocol']} from {login['from']}" if login else "never logged in"
    return f"{_quota(line)}  {printable(last)}"


def _quota(line: Line) -> str:
    octets, most = line["octets"], line["most"]
    of = f"of {size(most)} ({100 * octets // most} %)" if most else "without a limit"
    return f"{line['address']:<32} {line['mails']:>8} messages  {size(octets):>8} {of}"


def _session(line: Line) -> str:
    where = ", ".join(line["from"]) or "unknown"
    return printable(
        f"{line['address']:<32} {line['sessions']:>3} by {line['protocol']} from {where}"
    )


def _kicked(line: Line) -> str:
    return f"{line['address']}: {line['sessions']} sessions ended"


def size(octets: int) -> str:
    """Format a number of octets for people, in units of 1024."""
    amount, unit = float(octets), 0
    while amount >= 1024 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1024, unit + 1
    return f"{amount:.1f} {_UNITS[unit]}" if unit else f"{octets} B"
