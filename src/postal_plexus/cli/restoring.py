"""What `plexus restore` does."""

import json
import sys
from argparse import Namespace
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console

from postal_plexus.cli import system, tasks
from postal_plexus.cli.addresses import checked_address
from postal_plexus.cli.asking import confirm
from postal_plexus.cli.exits import CommandError, Exit
from postal_plexus.maintenance.output import ELSEWHERE
from postal_plexus.operations.backups import (
    Backups,
    Point,
    PointError,
    calendars_path,
    choose,
    path_of,
)
from postal_plexus.operations.replay import Found, Replays, UnknownMailboxError, mailbox_of
from postal_plexus.operations.services import Services
from postal_plexus.operations.system import OperationError, System
from postal_plexus.operations.task import Tasks

Line = dict[str, Any]
Done = tuple[dict[str, Any], CommandError | None]
"""What was done, and what could not be done although that much was."""

# A backup takes a while and reflects its beginning; it may lack what arrived during it.
_BEFORE = timedelta(hours=1)
_TASK = "restore"
_DOVECOT = "dovecot"


def run(args: Namespace) -> int:
    """Run the chosen command. Raise DATA without a recovery point, NO_USER without the mailbox."""
    for option in ("folder", "calendars", "shared_calendars"):
        if getattr(args, option) and args.address is None:
            name = option.replace("_", "-")
            raise CommandError(Exit.USAGE, f"--{name} goes with ADDRESS")
    if args.address is not None:
        args.address = checked_address(args.address)
    stack = system.connect(args)
    backups = Backups(stack)
    points = backups.points()
    if args.list:
        return _list(points, as_json=args.json)
    try:
        point = choose(points, args.at)
        restore = _one
        if args.all:
            restore = _all
        elif args.calendars or args.shared_calendars:
            restore = _calendars
        done, failed = restore(args, stack, backups, point)
    except PointError as error:
        raise CommandError(Exit.DATA, str(error)) from error
    except UnknownMailboxError as error:
        raise CommandError(Exit.NO_USER, str(error)) from error
    if args.json:
        print(json.dumps({"recovery_point": point.taken_at.isoformat(), **done}, indent=2))
    if failed:
        raise failed
    return Exit.OK


def _list(points: list[Point], *, as_json: bool) -> int:
    if as_json:
        found = [{"taken_at": each.taken_at.isoformat(), "arn": each.arn} for each in points]
        print(json.dumps(found, indent=2))
        return Exit.OK
    for each in points:
        print(f"{each.taken_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC  {each.arn}")
    if not points:
        print("There is no recovery point yet; the first one comes within a day.")
    return Exit.OK


def _one(args: Namespace, stack: System, backups: Backups, point: Point) -> Done:
    directory = Replays(stack).directory()
    mailbox = mailbox_of(directory, args.address)
    first = directory.first_address(mailbox) or mailbox
    runner = Tasks(stack)
    _restore(args, backups, point, path_of(first, args.folder))
    date = f"{point.taken_at.astimezone(UTC):%Y-%m-%d}"
    lines = _run(args, runner, ["restore-mailbox", f"--date={date}", mailbox])
    (restored,) = [line for line in lines if line["kind"] == "restored"]
    if not args.json:
        print(
            f"{restored['folder']}: {restored['mails']} messages, {restored['octets'] / 1e6:.1f} MB"
        )
    done = {
        "mailbox": mailbox,
        "folder": restored["folder"],
        "mails": restored["mails"],
        "folders": [tasks.document(line) for line in lines if line["kind"] == "folder"],
        "damaged": [line["folder"] for line in lines if line["kind"] == "damaged"],
    }
    return done, None


def _calendars(args: Namespace, stack: System, backups: Backups, point: Point) -> Done:
    directory = Replays(stack).directory()
    mailbox = mailbox_of(directory, args.address)
    first = directory.first_address(mailbox) or mailbox
    runner = Tasks(stack)
    shared = args.shared_calendars
    _restore(args, backups, point, calendars_path("" if shared else first))
    date = f"{point.taken_at.astimezone(UTC):%Y-%m-%d}"
    words = ["restore-calendars", f"--date={date}", *(["--shared"] if shared else []), mailbox]
    lines = [line for line in _run(args, runner, words) if line["kind"] == "calendar"]
    if not args.json:
        for line in lines:
            print(f"{line['name']}: {line['entries']} entries")
    return {"mailbox": mailbox, "calendars": [tasks.document(line) for line in lines]}, None


def _all(args: Namespace, stack: System, backups: Backups, point: Point) -> Done:
    if not args.yes:
        confirm(
            [f"Every lost mailbox becomes as it was {point.taken_at:%Y-%m-%d %H:%M} UTC."],
            "Dovecot is stopped meanwhile, and mail waits. Continue?",
            "Nothing was done.",
        )
    runner = Tasks(stack)
    job = _restore(args, backups, point, None)
    _require_idle(runner, job)
    with _stopped(stack):
        lines, failed = _put_back(args, runner)
    done = [line for line in lines if line["kind"] == "mailbox"]
    kept = [str(line["address"]) for line in lines if line["kind"] == "kept"]
    calendars = [line for line in lines if line["kind"] == "calendar-in-place"]
    kept_calendars = [line for line in lines if line["kind"] == "kept-calendar"]
    queued = _replay(Replays(stack), point)
    if not args.json:
        for line in done:
            since = f", {line['since']} of them since" if line["since"] else ""
            print(f"{line['address']}: {line['mails']} messages{since}")
        for address in kept:
            print(f"{address}: exists, so it stays; plexus restore {address}")
        for line in calendars:
            print(f"{line['address']}, {line['name']}: {line['entries']} entries")
        for line in kept_calendars:
            print(f"{line['address']}, {line['name']}: has entries, so it stays")
        print(f"{queued} messages received since are in the queue; missing ones are delivered.")
    told = {
        "mailboxes": [tasks.document(line) for line in done],
        "kept": kept,
        "calendars": [tasks.document(line) for line in calendars],
        "kept_calendars": [tasks.document(line) for line in kept_calendars],
        "replayed": queued,
        "damaged": [tasks.document(line) for line in lines if line["kind"] == "damaged"],
    }
    return told, _await_dovecot(stack, failed)


def _put_back(args: Namespace, runner: Tasks) -> tuple[list[Line], CommandError | None]:
    """Put every lost mailbox into place, while Dovecot is stopped on all hosts.

    Host 1 does it, except for mailboxes that exist and are another host's, which has their indexes.
    Return the lines, and the failures of other hosts as one error.
    """
    lines = _run(args, runner.on_host(1), ["restore-all"])
    away = {str(line["address"]): line["host"] for line in lines if line["kind"] == ELSEWHERE}
    failed: CommandError | None = None
    for host in sorted(set(away.values())):
        try:
            lines += _run(args, runner.on_host(host), ["restore-all"])
        except CommandError as error:
            if error.code is Exit.INTERRUPTED:
                raise
            failed = tasks.added(failed, error, runner.on_host(host))
            lines += [
                {"kind": "kept", "address": address} for address, its in away.items() if its == host
            ]
    if away:
        lines += _run(args, runner.on_host(1), ["restore-end"])
    return lines, failed


def _require_idle(runner: Tasks, job: str) -> None:
    """Require that no task runs on any host: it may work on mailboxes, or restore them all."""
    for each in runner.on_each_host():
        if others := each.running():
            raise CommandError(
                Exit.UNAVAILABLE,
                f"one task at a time: {others[0]}; AWS has done its part: run it again with the"
                f" same arguments and --job {job}",
            )


def _await_dovecot(stack: System, failed: CommandError | None) -> CommandError | None:
    """Wait until Dovecot runs on all hosts. Return the failures before, and those of hosts."""
    for host in stack.hosts:
        try:
            Services(host).await_running(_DOVECOT)
        except OperationError as error:
            failed = tasks.added(failed, system.failure(error), Tasks(host))
    return failed


def _replay(replays: Replays, point: Point) -> int:
    """Put everything that was received since a recovery point into the queue. Return the number."""
    mailboxes = [each.address for each in replays.directory().mailboxes]
    found: dict[str, Found] = replays.find(mailboxes, point.taken_at - _BEFORE, datetime.now(UTC))
    return sum(sum(replays.put(each.mails, mailbox)) for mailbox, each in found.items())


def _restore(args: Namespace, backups: Backups, point: Point, item: str | None) -> str:
    """Start AWS Backup's part, and wait for it. Return the job's id."""
    job = args.job or backups.start(point, item)
    try:
        with Console(stderr=True).status("AWS Backup restores ...") as shown:
            for percent in backups.follow(job):
                shown.update(f"AWS Backup restores: {percent:.0f} %")
    except KeyboardInterrupt:
        again = f"AWS continues the restore; resume it with the same arguments and --job {job}"
        raise CommandError(Exit.INTERRUPTED, again) from None
    return str(job)


def _run(args: Namespace, runner: Tasks, words: list[str]) -> list[Line]:
    found: list[Line] = []

    def tell(line: Line) -> None:
        if line["kind"] == "progress":
            print(f"plexus: {line['text']}", file=sys.stderr)
        elif line["kind"] == "damaged" and not args.json:
            where = f"{line['address']} {line['folder']}"
            print(
                f"plexus: {where}: its flags are damaged, so its messages are unread",
                file=sys.stderr,
            )
        found.append(line)

    tasks.results(runner, _TASK, words, tell)
    return found


@contextmanager
def _stopped(stack: System) -> Generator[None]:
    """Stop Dovecot on all hosts for the duration; it is started again whatever happens."""
    print("plexus: Dovecot is stopped; mail waits", file=sys.stderr)
    with ExitStack() as started_again:
        hosts = [Services(host) for host in stack.hosts]
        for each in hosts:
            started_again.callback(each.request, _DOVECOT, run=True)
            each.request(_DOVECOT, run=False)
        for each in hosts:
            each.await_stopped(_DOVECOT)
        yield
