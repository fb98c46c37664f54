"""The commands of `plexus dead-letters`."""

import json
from argparse import Namespace
from collections.abc import Sequence
from datetime import UTC, datetime

from postal_plexus.cli import system
from postal_plexus.cli.asking import confirm
from postal_plexus.cli.exits import CommandError, Exit
from postal_plexus.mail.printable import printable
from postal_plexus.operations.dead_letters import DeadLetters, Letter, LetterError, chosen

_ID_SHOWN = 8


def run(args: Namespace) -> int:
    """Run the chosen command. Raise DATA if there is no such dead letter."""
    letters = DeadLetters(system.connect(args))
    try:
        done = _done(letters, args)
    except LetterError as error:
        raise CommandError(Exit.DATA, str(error)) from error
    if args.json:
        print(json.dumps([_document(each, whole=args.act == "show") for each in done], indent=2))
    elif args.act == "list":
        _list(done, several=letters.hosts > 1)
    elif args.act == "show":
        _show(done)
    else:
        what = "dropped" if args.act == "drop" else "put back into the queue"
        for each in done:
            print(f"{_line(each)}: {what}")
    return Exit.OK


def _done(letters: DeadLetters, args: Namespace) -> list[Letter]:
    match args.act:
        case "list":
            return letters.read()
        case "show":
            return chosen(letters.read(), args.ids)
        case "deliver":
            return letters.deliver(args.ids)
        case _:
            if not args.yes:
                named = chosen(letters.read(), args.ids)
                lines = [f"{_line(each)}  {each.reason}" for each in named]
                confirm(lines, "Drop permanently?", "nothing was dropped")
            return letters.drop(args.ids)


def _list(letters: Sequence[Letter], *, several: bool) -> None:
    for each in letters:
        print(f"{_line(each)}  {each.reason}" + (f"  (host {each.host})" if several else ""))
    if not letters:
        print("No dead letters.")


def _line(letter: Letter) -> str:
    age = datetime.now(UTC) - letter.since
    hours = int(age.total_seconds()) // 3600
    told = f"{hours // 24} d" if hours >= 48 else f"{hours} h"
    sender = printable(letter.sender) or "<>"
    to = printable(letter.recipient) or "all recipients"
    return f"{letter.id[:_ID_SHOWN]}  {told:>5}  {sender} -> {to}"


def _show(letters: Sequence[Letter]) -> None:
    for each in letters:
        for name, text in _document(each).items():
            print(f"{name:<12} {text}")
        print()


def _document(letter: Letter, *, whole: bool = False) -> dict[str, object]:
    receipt = letter.receipt
    found: dict[str, object] = {
        "id": letter.id,
        "host": letter.host,
        "since": letter.since.isoformat(timespec="seconds"),
        "reason": printable(letter.reason),
        "recipient": printable(letter.recipient),
        "sender": printable(letter.sender),
        "recipients": [printable(each) for each in receipt.envelope.recipients] if receipt else [],
        "subject": printable(letter.header("subject")),
        "message_id": printable(letter.header("message-id")),
        "ses_id": receipt.message_id if receipt else "",
        "object": f"s3://{receipt.bucket}/{receipt.key}" if receipt else "",
    }
    if whole:
        found["entry"] = letter.body
    return found
