"""`plexus cost`: what a stack costs a month, line by line, and what others would take for it."""

import json
from argparse import ArgumentParser, Namespace
from importlib import resources
from typing import Any

from postal_plexus.cli import estimate, stack_files
from postal_plexus.cli.exits import CommandError, Exit

SUMMARY = "estimate what a stack costs a month, beside what others take for the same users"

DETAILS = """
Prices are those of us-east-1, from a dated file; traffic that is not given is assumed: 1 GB a
mailbox, 20 mails received and 5 sent a day.
"""


def arguments(parser: ArgumentParser) -> None:
    """Declare the options of the command."""
    stack_files.add_option(parser, stack_files.DEFAULT)
    parser.add_argument("--gb", type=float, metavar="GB", help="mail in all mailboxes")
    parser.add_argument("--mails-in", type=int, metavar="N", help="mails received a month")
    parser.add_argument("--mails-out", type=int, metavar="N", help="mails sent a month")
    parser.add_argument("--mail-kb", type=int, metavar="KB", help="size of a mail")
    parser.add_argument(
        "--ses-plan",
        choices=("none", "essentials"),
        default="essentials",
        help="the account's SES plan (default: essentials, what new accounts get)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, with total_usd")


def run(args: Namespace) -> int:
    """Print the estimate. Raises CommandError for a wrong stack file or an unknown price."""
    path = stack_files.chosen(args.stack_file)
    _, settings = stack_files.read_whole(path)
    directory = settings.directory
    prices: dict[str, Any] = json.loads(
        resources.files("postal_plexus.cli").joinpath("prices.json").read_text("utf-8")
    )
    stack = estimate.Stack(
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
    )
    assumed = estimate.traffic_of(stack.mailboxes)
    traffic = estimate.Traffic(
        gb=assumed.gb if args.gb is None else args.gb,
        mails_in=assumed.mails_in if args.mails_in is None else args.mails_in,
        mails_out=assumed.mails_out if args.mails_out is None else args.mails_out,
        mail_kb=assumed.mail_kb if args.mail_kb is None else args.mail_kb,
        ses_plan=args.ses_plan,
    )
    try:
        lines = estimate.estimate(stack, traffic, prices)
    except estimate.UnknownPrice as error:
        raise CommandError(Exit.DATA, f"{error}; name one of them as instance-type") from error
    show = _json if args.json else _table
    print(show(lines, estimate.others(stack.mailboxes, prices), prices))
    if not args.json:
        _say_what_else(stack, prices)
    return Exit.OK


def _say_what_else(stack: estimate.Stack, prices: dict[str, Any]) -> None:
    """Print what may make the bill another one."""
    bigger = estimate.bigger_sizes(stack, prices)
    if bigger:
        sizes = ", ".join(f"{name} +{usd:.2f}" for name, usd in bigger.items())
        print(
            f"while Spot has no {stack.instance_type} it takes a bigger one, by the hour: {sizes}"
        )
    print(
        "SES plan Essentials is 0.16 for 1,000 sent; `aws sesv2 put-account-pricing-attributes "
        "--plan NONE` makes it 0.10 (--ses-plan none)"
    )


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
