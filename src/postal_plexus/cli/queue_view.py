"""The commands of `plexus queue`."""

import json
from argparse import Namespace
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from postal_plexus.cli import tasks
from postal_plexus.cli.asking import confirm
from postal_plexus.cli.exits import CommandError, Exit
from postal_plexus.mail.printable import printable
from postal_plexus.operations.task import Tasks

_DONE = {
    "retry": "tried again",
    "hold": "on hold",
    "release": "released",
    "drop": "dropped",
}

Mail = dict[str, Any]


def run(args: Namespace) -> int:
    """Run the chosen command. Raise DATA if there is no such message."""
    queue = tasks.tasks(args)
    words: list[str] = list(getattr(args, "ids", ()))
    if words:
        _print(args, _named(queue, args, words))
    else:
        act = f"queue-{args.act}"
        tasks.show_all(queue, "postfix", [act], lambda lines: _print(args, joined(lines)))
    return Exit.OK


def _named(queue: Tasks, args: Namespace, ids: list[str]) -> list[Mail]:
    """Run the command on each host that has some of the messages. Return them."""
    by_host = _where(queue, ids)
    if args.act == "drop" and not args.yes:
        by_host = _confirmed(queue, by_host)
    return [
        mail
        for host, words in by_host.items()
        for mail in _on(queue, host, [f"queue-{args.act}", *words])
    ]


def _on(queue: Tasks, host: int, words: list[str]) -> list[Mail]:
    several = {"host": host} if queue.host.count > 1 else {}
    lines = tasks.results(queue.on_host(host), "postfix", words)
    return joined(line | several for line in lines)


def _where(queue: Tasks, ids: list[str]) -> dict[int, list[str]]:
    """Return the host of each message: its number, and the ids there."""
    if queue.host.count == 1:
        return {1: ids}
    lines, failed = tasks.results_of_all(queue, "postfix", ["queue-list"])
    hosts = {line["id"]: int(line["host"]) for line in lines}
    found: dict[int, list[str]] = {}
    for each in ids:
        if each not in hosts:
            line = f"no message {each} is in the queue of any host: it may have left by now"
            raise failed or CommandError(Exit.DATA, line)
        found.setdefault(hosts[each], []).append(each)
    return found


def _print(args: Namespace, found: list[Mail]) -> None:
    if args.json:
        print(json.dumps([_document(each) for each in found], indent=2))
    elif args.act in _DONE:
        for each in found:
            print(f"{_line(each)}: {_outcome(args.act, each)}")
        if not found:
            print("The queue is empty.")
    else:
        _show(found)


def joined(lines: Iterable[Mail]) -> list[Mail]:
    """Join the lines of a task about one message, which are several if it has many recipients."""
    found: dict[str, Mail] = {}
    for line in lines:
        mail = found.setdefault(line["id"], {**line, "recipients": []})
        mail["recipients"] += line["recipients"]
    return list(found.values())


def _confirmed(queue: Tasks, by_host: dict[int, list[str]]) -> dict[int, list[str]]:
    """Show what would be dropped, and ask. Return the ids, each with its arrival time."""
    found = {host: _on(queue, host, ["queue-show", *ids]) for host, ids in by_host.items()}
    lines = [f"{_line(each)}  {_subject(each)}" for its in found.values() for each in its]
    confirm(lines, "Drop permanently?", "nothing was dropped")
    return {
        host: [f"{each['id']}@{each['arrived']}" for each in its] for host, its in found.items()
    }


def _outcome(act: str, mail: Mail) -> str:
    if act == "drop" and mail["queue"]:
        return f"could not be dropped, and is in the queue ({mail['queue']})"
    if act == "hold" and mail["queue"] != "hold":
        return f"not on hold ({mail['queue'] or 'it has left'})"
    return _DONE[act]


def _show(found: list[Mail]) -> None:
    for each in found:
        of_host = f", host {each['host']}" if "host" in each else ""
        print(f"{_line(each)}  ({each['queue']}{of_host})")
        for name, text in each.get("header", {}).items():
            print(f"    {name:<15} {printable(text)}")
        for recipient in each["recipients"]:
            reason = printable(recipient["reason"])
            print(f"    {printable(recipient['address'])}{': ' if reason else ''}{reason}")
    if not found:
        print("The queue is empty.")


def _line(mail: Mail) -> str:
    age = datetime.now(UTC) - datetime.fromtimestamp(mail["arrived"], UTC)
    minutes = max(0, int(age.total_seconds())) // 60
    told = f"{minutes // 60} h" if minutes >= 120 else f"{minutes} min"
    recipients = [printable(each["address"]) for each in mail["recipients"]]
    more = f" and {len(recipients) - 1} more" if len(recipients) > 1 else ""
    to = f"{recipients[0]}{more}" if recipients else "nobody"
    return f"{mail['id']}  {told:>7}  {printable(mail['sender']) or '<>'} -> {to}"


def _subject(mail: Mail) -> str:
    return printable(mail.get("header", {}).get("subject", ""), 60)


def _document(mail: Mail) -> Mail:
    moment = datetime.fromtimestamp(mail["arrived"], UTC)
    return {**tasks.document(mail), "arrived": moment.isoformat(timespec="seconds")}
