"""`plexus import ADDRESS SOURCE`: import mail from another server, or from files.

Raises CommandError: USAGE if the arguments are wrong, NO_INPUT if a file cannot be read, DATA if
some of the files are damaged, and what `system.failure` returns for a task.
"""

import csv
import json
import re
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from getpass import getpass
from pathlib import Path
from typing import Any

from postal_plexus.cli import system
from postal_plexus.cli.addresses import checked_address
from postal_plexus.cli.exits import CommandError, Exit
from postal_plexus.directory import AddressError
from postal_plexus.directory.idn import kept_address

SUMMARY = "import mail from another IMAP server, or from files"

DETAILS = """ `plexus import ADDRESS SOURCE` copies all folders into the mailbox ADDRESS, with flags
and dates; another run imports what is new since. A task on the mail host does the work. SOURCE is
imaps://HOST, or a file: an mbox, a Maildir, a directory or a zip file of .eml or mbox files.
"""

_COLUMNS = ("address", "source", "user", "password")
_AGAIN = "; run it again to continue"


@dataclass(frozen=True)
class Order:
    """One mailbox and its source; files need no user and no password."""

    address: str
    source: str
    user: str = ""
    password: str = ""

    @property
    def is_server(self) -> bool:
        """Whether the source is another server."""
        return _is_server(self.source)


def arguments(parser: ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument("address", nargs="?", metavar="ADDRESS", help="the mailbox of this stack")
    parser.add_argument(
        "source",
        nargs="?",
        metavar="SOURCE",
        help="imaps://HOST[:PORT], imap://HOST (STARTTLS), or a file or directory",
    )
    parser.add_argument("--user", help="the user name at the source (default: ADDRESS)")
    parser.add_argument(
        "--password-file", type=Path, metavar="FILE", help="its first line; else it is asked for"
    )
    parser.add_argument(
        "--csv",
        type=Path,
        metavar="FILE",
        help="several mailboxes: one line each, with the columns address, source, user, password",
    )
    parser.add_argument(
        "--prefix", default="", help="the folder above all others at the source (Courier: INBOX)"
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
    parser.add_argument("--over-quota", action="store_true", help="import even beyond the quota")
    parser.add_argument(
        "--deletions", action="store_true", help="apply deletions at the source, however many"
    )
    parser.add_argument(
        "--finish",
        action="store_true",
        help="after the last pass: remove the data kept between passes",
    )
    parser.add_argument("--again", action="store_true", help="import again from a finished source")
    parser.add_argument("--json", action="store_true", help="as a JSON document")
    system.add_options(parser)


@system.reported
def run(args: Namespace) -> int:
    """Run a pass for each mailbox; the exit code is that of the last one that failed."""
    from postal_plexus.operations.task import Tasks  # noqa: PLC0415  AWS's library

    if args.finish:
        return _finish(args)
    wanted = orders(args)
    common = _common(args)
    stack = system.connect(args)
    tasks = Tasks(stack)
    done: list[dict[str, Any]] = []
    worst = Exit.OK
    for order in wanted:
        try:
            if order.is_server:
                lines = _pass(tasks, order, common)
            else:
                lines = _files(stack, tasks, order, args)
            done.append({"address": order.address, "lines": lines})
            if not args.json:
                _show(order, lines, looked=args.dry_run)
            if any(line["kind"] == "left-out" and line["is_damage"] for line in lines):
                worst = Exit.DATA
        except CommandError as error:
            if len(wanted) == 1:
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
    try:
        where = moving.server(order.source)
        named = {"kind": "imap", **where, "user": order.user, "password": order.password}
    except moving.SourceError as error:
        raise CommandError(Exit.USAGE, str(error)) from error
    with ending(_AGAIN):
        moving.bring(tasks, order.address, {**named, **common}, _teller(order, lines))
    return lines


def _files(stack: Any, tasks: Any, order: Order, args: Namespace) -> list[dict[str, Any]]:
    from postal_plexus.cli.tasks import ending  # noqa: PLC0415
    from postal_plexus.operations import moving_files  # noqa: PLC0415
    from postal_plexus.operations.mail_files.sources import SourceError  # noqa: PLC0415

    lines: list[dict[str, Any]] = []
    wanted = moving_files.Order(
        order.address,
        Path(order.source),
        _folders(args),
        look=args.dry_run,
        over_quota=args.over_quota,
        again=args.again,
    )
    try:
        with ending(_AGAIN):
            moving_files.FileImport(stack, tasks, wanted, _teller(order, lines)).run()
    except SourceError as error:
        raise CommandError(Exit.NO_INPUT, str(error)) from error
    except KeyboardInterrupt:
        raise CommandError(Exit.INTERRUPTED, f"interrupted{_AGAIN}") from None
    return lines


def _teller(order: Order, lines: list[dict[str, Any]]) -> Callable[[dict[str, Any]], None]:
    """Return a function that collects results and shows progress on a terminal."""

    def tell(line: dict[str, Any]) -> None:
        if line["kind"] != "progress":
            lines.append(line)
        elif sys.stderr.isatty():
            counted = f" {line['mails']} of {line['of']}" if "of" in line else ""
            if "of_octets" in line:
                counted = f" {line['octets'] / 1e6:.0f} of {line['of_octets'] / 1e6:.0f} MB"
            print(f"{order.address}: {line['step']}{counted}", file=sys.stderr)

    return tell


def orders(args: Namespace) -> Sequence[Order]:
    """Return what is to be imported, addresses as the directory has them. Raise CommandError."""
    if args.csv is not None:
        if args.address or args.source or args.user or args.password_file:
            raise CommandError(Exit.USAGE, "--csv names the mailboxes: do not give ADDRESS too")
        return list(_read_csv(args.csv))
    if not args.address or not args.source:
        raise CommandError(Exit.USAGE, "give ADDRESS and SOURCE, or --csv; see --help")
    if not _is_server(args.source):
        if args.user or args.password_file or args.prefix or args.authority or args.deletions:
            line = "--user, --password-file, --prefix, --authority and --deletions need a server"
            raise CommandError(Exit.USAGE, line)
        return [Order(checked_address(args.address), args.source)]
    if args.password_file is not None:
        password = _read(args.password_file).split("\n", 1)[0].rstrip("\r")
    elif sys.stdin.isatty():
        password = getpass(f"Password of {args.user or args.address} at {args.source}: ")
    else:
        raise CommandError(
            Exit.USAGE, "there is no terminal to ask for the password; use --password-file"
        )
    return [Order(checked_address(args.address), args.source, args.user or args.address, password)]


def _read_csv(path: Path) -> Iterator[Order]:
    rows = csv.DictReader(_read(path).splitlines())
    if set(rows.fieldnames or ()) != set(_COLUMNS):
        line = f"the first line must name the columns {', '.join(_COLUMNS)}"
        raise CommandError(Exit.DATA, line, source=str(path))
    for row in rows:
        needed = ("address", "source", *(["password"] if _is_server(row["source"] or "") else []))
        if any(not row.get(each) for each in needed) or None in row:
            line = f"line {rows.line_num} lacks an address, a source or a password"
            raise CommandError(Exit.DATA, line, source=str(path))
        try:
            address = str(kept_address(row["address"])).lower()
        except AddressError as error:
            line = f"line {rows.line_num}: the address {row['address']!r} {error}"
            raise CommandError(Exit.DATA, line, source=str(path)) from error
        yield Order(
            address,
            row["source"],
            row["user"] or row["address"],
            row["password"] or "",
        )


def _is_server(source: str) -> bool:
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", source) is not None


def _folders(args: Namespace) -> dict[str, str]:
    folders: dict[str, str] = {}
    for each in args.folder:
        theirs, found, ours = each.partition("=")
        if not found or not theirs or not ours:
            raise CommandError(Exit.USAGE, f"--folder {each!r} is not THEIRS=OURS")
        folders[theirs] = ours
    return folders


def _common(args: Namespace) -> dict[str, object]:
    return {
        "prefix": args.prefix,
        "folders": _folders(args),
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
    print(f"{order.address}: {'found at' if looked else 'imported from'} {order.source}")
    print(
        f"{'folder there':<30} {'there':>8} {'MB':>8}   "
        f"{'folder here':<30} {'imported':>8} {'now':>7}"
    )
    for each in folders:
        now = "-" if each["now"] is None else each["now"]
        print(
            f"{each['source']:<30} {each['mails']:>8} {each['octets'] / 1e6:>8.1f}   "
            f"{each['folder']:<30} {each['brought']:>8} {now:>7}"
        )
        if each["too_large"]:
            sizes = ", ".join(
                f"{one['octets'] / 1e6:.0f} MB" + (f" ({one['name']})" if "name" in one else "")
                for one in each["too_large"]
            )
            print(f"  left out, above 40 MB: {sizes}")
    for each in (line for line in lines if line["kind"] == "left-out"):
        print(f"  left out: {each['name']} {each['reason']}")


def _finish(args: Namespace) -> int:
    from postal_plexus.cli.tasks import ending  # noqa: PLC0415
    from postal_plexus.operations import moving  # noqa: PLC0415
    from postal_plexus.operations.task import Tasks  # noqa: PLC0415

    if not args.address:
        raise CommandError(Exit.USAGE, "--finish needs the ADDRESS")
    lines: list[dict[str, Any]] = []
    address = checked_address(args.address)
    with ending(_AGAIN):
        moving.finish(Tasks(system.connect(args)), address, lines.append)
    if args.json:
        print(json.dumps(lines, indent=2))
    else:
        print(f"{args.address}: finished with {lines[-1]['sources']} sources")
    return Exit.OK
