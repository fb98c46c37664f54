"""`plexus cost`: estimate a stack's monthly cost line by line, beside other providers' prices."""

import json
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

from postal_plexus.cli import estimate, stack_files
from postal_plexus.cli.exits import CommandError, Exit
from postal_plexus.config.problems import quoted
from postal_plexus.directory.entries import MOST_HOSTS

SUMMARY = "estimate a stack's monthly cost, and compare it with other providers"

# Meaning, minimum and maximum of each field of Traffic. A message has at most 40 MB.
RANGES: dict[str, tuple[type[int] | type[float], int, int]] = {
    "gb": (float, 0, 10**6),
    "mails_in": (int, 0, 10**9),
    "mails_out": (int, 0, 10**9),
    "mail_kb": (int, 0, 40 * 1024),
}
# The same of a stack that may be wanted instead, as fields of Stack.
SIZES: dict[str, tuple[type[int] | type[float], int, int]] = {
    "mailboxes": (int, 1, 10**6),
    "hosts": (int, 1, MOST_HOSTS),
}

DETAILS = """
Prices are for us-east-1, from a dated file. By default each mailbox has 1 GB, receives 20 messages
a day of 75 KB and sends 5; one and a half clients fetch each. For another size than the stack's,
the hosts' disks are as large as the indexes of its messages need.
"""


def arguments(parser: ArgumentParser) -> None:
    """Declare the options of the command."""
    stack_files.add_option(parser, stack_files.DEFAULT)
    parser.add_argument(
        "--mailboxes", metavar="N", help="as if the stack had this number of mailboxes"
    )
    parser.add_argument("--hosts", metavar="N", help="as if it had this number of hosts")
    parser.add_argument("--instance-type", metavar="TYPE", help="as if they were of this type")
    parser.add_argument("--gb", metavar="GB", help="mail in all mailboxes")
    parser.add_argument("--mails-in", metavar="N", help="messages received per month")
    parser.add_argument("--mails-out", metavar="N", help="messages sent per month")
    parser.add_argument("--mail-kb", metavar="KB", help="average size of a message")
    parser.add_argument(
        "--ses-plan",
        choices=("none", "essentials"),
        default="essentials",
        help="the account's SES plan (default: essentials, what new accounts get)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, with total_usd")


def run(args: Namespace) -> int:
    """Print the estimate.

    Raises CommandError for invalid numbers, an invalid stack file or an unknown price.
    """
    numbers = _numbers(args)
    given = {name: number for name, number in numbers.items() if name in RANGES}
    stack = _resized(read(stack_files.chosen(args.stack_file)), numbers, args.instance_type)
    traffic = replace(estimate.traffic_of(stack.mailboxes), **given, ses_plan=args.ses_plan)
    indexes_gb = estimate.indexes_gb(traffic, stack.hosts)
    if numbers:
        stack = replace(stack, indexes_gb=max(indexes_gb, stack.indexes_gb))
    prices = read_prices()
    lines = _lines(stack, prices, traffic)
    show = _json if args.json else _table
    print(show(lines, estimate.others(stack.mailboxes, prices), prices))
    if not args.json:
        _say_what_else(stack, prices)
        if stack.indexes_gb < indexes_gb:
            print(f"indexes-gb is {stack.indexes_gb}; this mail needs about {indexes_gb}")
    return Exit.OK


def _resized(
    stack: estimate.Stack, numbers: dict[str, Any], instance_type: str | None
) -> estimate.Stack:
    """Return the stack with the size that is asked about; aliases stay as many."""
    sizes = {name: number for name, number in numbers.items() if name in SIZES}
    if instance_type:
        sizes["instance_type"] = instance_type
    if "mailboxes" in sizes:
        sizes["addresses"] = stack.addresses - stack.mailboxes + sizes["mailboxes"]
    return replace(stack, **sizes)


def in_short(stack_file: Path) -> str:
    """Return the cost of a stack file as a clause. Raise CommandError."""
    stack = read(stack_file)
    lines = _lines(stack, read_prices(), estimate.traffic_of(stack.mailboxes))
    usd = estimate.total(lines)
    return f"about {usd:.2f} USD a month (plexus cost)"


def _lines(
    stack: estimate.Stack, prices: dict[str, Any], traffic: estimate.Traffic
) -> list[estimate.Line]:
    try:
        return estimate.estimate(stack, traffic, prices)
    except estimate.UnknownPriceError as error:
        raise CommandError(Exit.DATA, f"{error}; name one of them as instance-type") from error


def read_prices() -> dict[str, Any]:
    """Read the dated price file."""
    text = resources.files("postal_plexus.cli").joinpath("prices.json").read_text("utf-8")
    return json.loads(text)


def read(stack_file: Path) -> estimate.Stack:
    """Read those parts of a stack file that cost money. Raise CommandError."""
    _, settings = stack_files.read_whole(stack_file)
    directory = settings.directory
    return estimate.Stack(
        domains=len(directory.domains),
        mailboxes=len(directory.mailboxes),
        addresses=len(directory.mailboxes) + len(directory.aliases),
        instance_type=settings.instance_type,
        spot=settings.spot,
        host_image=settings.host_image,
        archive_days=settings.archive_days,
        backup_days=settings.backup_days,
        mailboxes_infrequent_days=settings.mailboxes_infrequent_days,
        indexes_gb=settings.indexes_gb,
        doctor=settings.doctor == "weekly",
        patches=settings.patches == "weekly",
        web=bool(settings.web_parts),
        hosts=settings.hosts,
    )


def _say_what_else(stack: estimate.Stack, prices: dict[str, Any]) -> None:
    """Print what may change the bill."""
    bigger = estimate.bigger_sizes(stack, prices)
    if bigger:
        sizes = ", ".join(f"{name} +{usd:.2f}" for name, usd in bigger.items())
        print(
            f"while Spot has no {stack.instance_type}, a larger one is used and billed by the hour:"
            f" {sizes}"
        )
    print(
        "SES plan Essentials is 0.16 for 1,000 sent; `aws sesv2 put-account-pricing-attributes "
        "--plan NONE` makes it 0.10 (--ses-plan none)"
    )


def _numbers(args: Namespace) -> dict[str, Any]:
    """Return the given numbers by their names in Traffic and Stack.

    Raises CommandError with all mistakes.
    """
    given: dict[str, Any] = {}
    faults: list[str] = []
    for name, (kind, least, most) in (RANGES | SIZES).items():
        text: str | None = getattr(args, name)
        if text is None:
            continue
        try:
            number = kind(text)
        except ValueError:
            number = None
        if number is None or not least <= number <= most:  # NaN is in no range
            sort = "a whole number" if kind is int else "a number"
            option = f"--{name.replace('_', '-')}"
            faults.append(f"{option} is {quoted(text)}: give {sort} from {least} to {most}")
        given[name] = number
    if faults:
        raise CommandError(Exit.USAGE, *faults)
    return given


def _json(lines: list[estimate.Line], others: dict[str, float], prices: dict[str, Any]) -> str:
    return json.dumps(
        {
            "total_usd": estimate.total(lines),
            "lines": [
                {"what": line.what, "why": line.why, "usd": round(line.usd, 4)} for line in lines
            ],
            "others_usd": others,
            "prices": {"date": prices["date"], "region": prices["region"]},
        },
        indent=2,
    )


def _table(lines: list[estimate.Line], others: dict[str, float], prices: dict[str, Any]) -> str:
    rows = [f"{line.what:<22}{line.why:<42}{line.usd:>8.2f}" for line in lines]
    rows.append(f"{'a month':<64}{estimate.total(lines):>8.2f} USD")
    rows.append("")
    rows += [f"{name:<64}{usd:>8.2f} USD" for name, usd in others.items()]
    rows.append(f"\nprices of {prices['region']} as known on {prices['date']}, without taxes")
    return "\n".join(rows)
