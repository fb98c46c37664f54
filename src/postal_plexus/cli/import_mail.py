"""`plexus import ADDRESS SOURCE`: mail from another server, into one mailbox or several.

Fails with CommandError: USAGE where a source is none, NO_INPUT where a file cannot be read,
NO_PASSWORD where the other server refuses name or password, AGAIN where a pass did not come to its
end, NO_ROOM where the mailbox is too small, and as a task does.
"""

import csv
import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from getpass import getpass
from pathlib import Path
from typing import Any

from postal_plexus.cli import system
from postal_plexus.cli.addresses import checked_address
from postal_plexus.cli.exits import CommandError, Exit

SUMMARY = "bring mail along from another IMAP server"

DETAILS = """ `plexus import ADDRESS imaps://HOST` copies all folders into the mailbox ADDRESS, with
flags and dates; run it again, and it brings what is new since. A task on the mail host does it.
"""

_COLUMNS = ("address", "source", "user", "password")
_ENDS = {
    64: Exit.USAGE,
    65: Exit.DATA,
    73: Exit.NO_ROOM,
    75: Exit.AGAIN,
    77: Exit.NO_PERMISSION,
}


@dataclass(frozen=True)
class Order:
    """One mailbox, and where its mail is."""

    address: str
    source: str
    user: str
    password: str


def arguments(parser: ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("address", nargs="?", metavar="ADDRESS", help="the mailbox, one of ours")
    parser.add_argument(
        "source", nargs="?", metavar="SOURCE", help="imaps://HOST[:PORT], or imap://HOST (STARTTLS)"
    )
    parser.add_argument("--user", help="the name at the source (default: ADDRESS)")
    parser.add_argument(
        "--password-file", type=Path, metavar="FILE", help="its first line; else it is asked for"
    )
    parser.add_argument(
        "--csv",
        type=Path,
        metavar="FILE",
        help="many: a line each, with the columns address, source, user, password",
    )
    parser.add_argument(
        "--prefix", default="", help="where the source keeps all folders (Courier: INBOX)"
    )
    parser.add_argument(
        "--folder",
        action="append",
        default=[],
        metavar="THEIRS=OURS",
        help="where a folder is to go; those of special use are known",
    )
    parser.add_argument(
        "--authority", type=Path, metavar="FILE", help="a CA that vouches for the source, as PEM"
    )
    parser.add_argument("--dry-run", action="store_true", help="count only")
    parser.add_argument("--over-quota", action="store_true", help="also beyond the quota")
    parser.add_argument(
        "--deletions", action="store_true", help="pass on however many deletions at the source"
    )
    parser.add_argument(
        "--finish", action="store_true", help="after the last pass: remove what passes keep"
    )
    parser.add_argument("--again", action="store_true", help="import what was finished, anew")
    parser.add_argument("--json", action="store_true", help="as a JSON document")
    system.add_options(parser)


@system.reported
def run(args: Namespace) -> int:
    """Make a pass for each mailbox; the worst ending is the exit code."""
    from postal_plexus.operations.task import Tasks  # noqa: PLC0415  AWS's library

    if args.finish:
        return _finish(args)
    orders = _orders(args)
    common = _common(args)
    tasks = Tasks(system.connect(args))
    done: list[dict[str, Any]] = []
    worst = Exit.OK
    for order in orders:
        try:
            lines = _pass(tasks, order, common)
            done.append({"address": order.address, "lines": lines})
            if not args.json:
                _show(order, lines, looked=args.dry_run)
        except CommandError as error:
            if len(orders) == 1:
                raise
            worst = error.code
            done.append({"address": order.address, "error": "; ".join(error.lines)})
            print(f"plexus: {order.address}: {'; '.join(error.lines)}", file=sys.stderr)
    if args.json:
        print(json.dumps(done, indent=2))
    return worst


def _pass(tasks: Any, order: Order, common: dict[str, object]) -> list[dict[str, Any]]:
    from postal_plexus.cli.tasks import ending  # noqa: PLC0415
    from postal_plexus.operations import moving  # noqa: PLC0415

    lines: list[dict[str, Any]] = []

    def tell(line: dict[str, Any]) -> None:
        if line["kind"] != "progress":
            lines.append(line)
        elif sys.stderr.isatty():
            counted = f" {line['mails']} of {line['of']}" if "mails" in line else ""
            print(f"{order.address}: {line['step']}{counted}", file=sys.stderr)

    try:
        where = moving.server(order.source)
        named = {"kind": "imap", **where, "user": order.user, "password": order.password}
    except moving.SourceError as error:
        raise CommandError(Exit.USAGE, str(error)) from error
    with ending(_ENDS, "; run it again, and it goes on"):
        moving.bring(tasks, order.address, {**named, **common}, tell)
    return lines


def _orders(args: Namespace) -> Sequence[Order]:
    if args.csv is not None:
        if args.address or args.source or args.user or args.password_file:
            raise CommandError(Exit.USAGE, "--csv names the mailboxes: give no ADDRESS beside it")
        return list(_read_csv(args.csv))
    if not args.address or not args.source:
        raise CommandError(Exit.USAGE, "give ADDRESS and SOURCE, or --csv; see --help")
    if args.password_file is not None:
        password = _read(args.password_file).split("\n", 1)[0].rstrip("\r")
    elif sys.stdin.isatty():
        password = getpass(f"Password of {args.user or args.address} at {args.source}: ")
    else:
        raise CommandError(Exit.USAGE, "nobody can be asked for the password; --password-file")
    return [Order(checked_address(args.address), args.source, args.user or args.address, password)]


def _read_csv(path: Path) -> Iterator[Order]:
    rows = csv.DictReader(_read(path).splitlines())
    if set(rows.fieldnames or ()) != set(_COLUMNS):
        line = f"the first line must name the columns {', '.join(_COLUMNS)}"
        raise CommandError(Exit.DATA, line, source=str(path))
    for row in rows:
        if any(not row.get(each) for each in ("address", "source", "password")) or None in row:
            line = f"line {rows.line_num} lacks an address, a source or a password"
            raise CommandError(Exit.DATA, line, source=str(path))
        yield Order(
            row["address"].lower(), row["source"], row["user"] or row["address"], row["password"]
        )


def _common(args: Namespace) -> dict[str, object]:
    folders: dict[str, str] = {}
    for each in args.folder:
        theirs, found, ours = each.partition("=")
        if not found or not theirs or not ours:
            raise CommandError(Exit.USAGE, f"--folder {each!r} is not THEIRS=OURS")
        folders[theirs] = ours
    return {
        "prefix": args.prefix,
        "folders": folders,
        "authority": _read(args.authority) if args.authority else "",
        "look": args.dry_run,
        "over_quota": args.over_quota,
        "deletions": args.deletions,
        "again": args.again,
    }


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise CommandError(Exit.NO_INPUT, f"cannot be read: {reason}", source=str(path)) from error


def _show(order: Order, lines: Sequence[dict[str, Any]], *, looked: bool) -> None:
    folders = [line for line in lines if line["kind"] == "folder"]
    print(f"{order.address}: {'there are' if looked else 'imported from'} {order.source}")
    print(
        f"{'folder there':<30} {'mails':>7} {'MB':>8}   "
        f"{'folder here':<30} {'brought':>7} {'now':>7}"
    )
    for each in folders:
        print(
            f"{each['source']:<30} {each['mails']:>7} {each['octets'] / 1e6:>8.1f}   "
            f"{each['folder']:<30} {each['brought']:>7} {each['now']:>7}"
        )
        if each["too_large"]:
            sizes = ", ".join(f"{one['octets'] / 1e6:.0f} MB" for one in each["too_large"])
            print(f"  left out, above 40 MB: {sizes}")


def _finish(args: Namespace) -> int:
    from postal_plexus.operations import moving  # noqa: PLC0415
    from postal_plexus.operations.task import Tasks  # noqa: PLC0415

    if not args.address:
        raise CommandError(Exit.USAGE, "--finish needs the ADDRESS")
    lines: list[dict[str, Any]] = []
    address = checked_address(args.address)
    moving.finish(Tasks(system.connect(args)), address, lines.append)
    if args.json:
        print(json.dumps(lines, indent=2))
    else:
        print(f"{args.address}: finished with {lines[-1]['sources']} sources")
    return Exit.OK
