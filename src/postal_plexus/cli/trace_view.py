"""What `plexus trace` does: search, and print what was found."""

import json
import sys
from argparse import Namespace
from datetime import UTC, datetime

from rich.console import Console

from postal_plexus.cli import system
from postal_plexus.cli.exits import CommandError, Exit
from postal_plexus.mail.printable import printable
from postal_plexus.operations.mail_search import Found, MailSearch, edge_takes
from postal_plexus.operations.system import OperationError, System
from postal_plexus.tracing import report
from postal_plexus.tracing.step import bare_message_id

_SHOWN_WHOLE = 3
_MOST_LISTED = 200

_NO_TRACE = (
    "SES refuses mail during the SMTP session, which leaves no trace here: the",
    "sender's server has the reason. Possible reasons:",
    "- nobody has the address (550), or it is misspelled: plexus check, plexus directory",
    "- SES does not trust the sending server (its IP address is blocked, or is one of EC2's)",
    "- the message is larger than 40 MB (552)",
    "- the domain's MX does not point to SES, or no rule set is active: plexus doctor, plexus dns",
    "- the sender's server has not tried yet, or will retry",
    "Or the message is older (--since), its lines have expired (`log-days`), or subjects are not",
    "logged (`log-subjects`).",
)


def run(args: Namespace) -> int:
    """Print the journeys. Return DATA if there are none."""
    until = args.until or datetime.now(UTC)
    if args.since >= until:
        raise CommandError(Exit.USAGE, "--since is not before --until")
    if not bare_message_id(args.what):
        line = "WHAT is empty; give a Message-ID, an id of SES or Postfix, an address or a word"
        raise CommandError(Exit.USAGE, line)
    stack = system.connect(args)
    console = Console(stderr=True)
    with console.status("reading the logs") as status:
        found = MailSearch(
            stack,
            args.since,
            until,
            lambda service, lines: status.update(f"reading the log of {service}: {lines:,} lines"),
        ).find(args.what)
    if args.json:
        document = {
            "since": f"{args.since:%Y-%m-%dT%H:%M:%SZ}",
            "lines": found.lines,
            "without_archive": found.without_archive,
            "mails": [report.document(each) for each in found.journeys],
        }
        print(json.dumps(document, indent=2))
    elif found.journeys:
        _show(found, full=args.full)
    if found.without_archive:
        print(
            "plexus: AWS does not let you read the archive, so mail is missing that deliver has not"
            " received yet (plexus operator-policy --mail)",
            file=sys.stderr,
        )
    if found.journeys:
        return Exit.OK
    line = (
        f"no line since {args.since:%Y-%m-%d %H:%M} UTC matches {printable(args.what.strip(), 200)}"
    )
    raise CommandError(Exit.DATA, f"{line} ({found.lines:,} were read)", *_why(stack, args.what))


def _show(found: Found, *, full: bool) -> None:
    now = datetime.now(UTC)
    if full or len(found.journeys) <= _SHOWN_WHOLE:
        for number, each in enumerate(found.journeys):
            print("\n" * (number > 0), end="")
            for line in report.lines(each, now):
                print(line)
        return
    for each in found.journeys[-_MOST_LISTED:]:
        print(f"{report.headline(each)}: {report.summary(each)}")
    more = len(found.journeys) - _MOST_LISTED
    if more > 0:
        print(f"and {more} before; name a shorter time by --since and --until", file=sys.stderr)
    print("the steps of one: plexus trace ID; of all: --full", file=sys.stderr)


def _why(stack: System, what: str) -> tuple[str, ...]:
    """Yield what can be said about a message that left no line."""
    address = bare_message_id(what)
    if "@" not in address.strip("@"):
        return _NO_TRACE
    try:
        takes = edge_takes(stack, address)
    except OperationError:
        return _NO_TRACE
    if takes is None:
        return _NO_TRACE
    now = "takes" if takes else "refuses (550, no receipt rule names it)"
    return (f"SES now {now} mail to {printable(address, 320)}.", *_NO_TRACE)
