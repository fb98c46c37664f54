"""Put a backup's messages back, in a separate task beside Dovecot: into new folders, or in place.

AWS Backup writes what it restores into a directory `aws-backup-restore_DATETIME` beside Dovecot's
directory. Dovecot's access point does not contain it, so this task mounts the whole file system.

    restore-mailbox   imports one mailbox into folders `Restored DATE/...`, while Dovecot runs and
                      its owner reads. Existing messages and folders stay unchanged.
    restore-all       moves whole mailboxes into the place of lost ones, by renames. Dovecot must
                      not run meanwhile, on no host; on this one it waits with its start. Lost
                      calendars, too.
    restore-end       removes AWS Backup's directory after restore-all on several hosts.
    restore-calendars see `restored_calendars`.

At the end, AWS Backup's directory is removed. A task that was killed leaves a note in it, by which
the next one on that host removes the incomplete result and starts again, so that nothing is
duplicated. On other hosts tasks may be at work at the same time.

In a stack of several hosts restore-all runs on host 1, which has what it puts back, and leaves it
to its home as it does a new mailbox (`homes`). A mailbox that exists and is another host's (a line
of the kind "elsewhere") is compared and merged there, where its index is.

Flags are those of the copy of the index beside the messages, which was an hour old at most when the
backup was taken (`containers/dovecot/indexes`); newer messages are unread.
"""

import fcntl
import json
import os
import re
import shutil
import socket
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from postal_plexus.maintenance import calls, homes, mailboxes, programs, restored_calendars
from postal_plexus.maintenance.at_home import at_home, staying
from postal_plexus.maintenance.calls import Call, Verb
from postal_plexus.maintenance.codes import DATA, FAULT, UNAVAILABLE, StatusError
from postal_plexus.maintenance.dsync import PLUGINS, options, without
from postal_plexus.maintenance.mailbox_hold import HOLDS_PATH
from postal_plexus.maintenance.mailboxes import STORE, home
from postal_plexus.maintenance.output import ELSEWHERE, PROGRESS, Output
from postal_plexus.maintenance.programs import ProgramError
from postal_plexus.maintenance.staging import VMAIL

WHOLE_STORE, INDEXES = Path("/srv/store"), Path("/srv/indexes")
NOTE = "plexus-restoring"
_ASIDE = ".before-restore"
_LONGEST_SECONDS = 12 * 3600.0
# As `indexes` says it.
_DAMAGED = re.compile(
    r"^indexes: /srv/mail/([^/]+)/([^/]+)/sdbox/(.+)/dovecot\.index\S*\.copy is damaged",
    re.MULTILINE,
)
# No plugins that act on new or deleted messages: none arrive here, and only copies are deleted.
_PLAIN = options(without(PLUGINS))


def free_name(wanted: str, taken: Iterable[str]) -> str:
    """Return a folder name that is not in use, not even as a parent."""
    tops = {each.partition("/")[0].casefold() for each in taken}
    names = (wanted if number == 1 else f"{wanted} ({number})" for number in range(1, 1000))
    return next(each for each in names if each.casefold() not in tops)


def _restored() -> list[Path]:
    """Return AWS Backup's directories, the newest first; their names contain the time."""
    return sorted(WHOLE_STORE.glob("aws-backup-restore_*"), reverse=True)


def _doveadm(address: str, *words: str, of: Path | None = None) -> str:
    """Run doveadm on a mailbox, or on a copy of it with the indexes beside the messages."""
    command, rest = (words[:2], words[2:]) if words[0] == "mailbox" else (words[:1], words[1:])
    where = [] if of is None else options([f"mail_path={of}", f"mail_index_path={of}"])
    return programs.run(
        [
            *("setpriv", f"--reuid={VMAIL}", f"--regid={VMAIL}", "--clear-groups", "env"),
            *(f"USER={address}", f"HOME={home(STORE, address)}"),
            f"PLEXUS_HOSTNAME={os.environ.get('PLEXUS_HOSTNAME') or 'localhost'}",
            *("doveadm", "-f", "tab", *_PLAIN, *where),
            *(*command, "--no-userdb-lookup", *rest),
        ],
        seconds=_LONGEST_SECONDS,
    )


def _folders(address: str, of: Path | None = None) -> dict[str, tuple[int, int]]:
    """Return messages and octets of each folder."""
    answer = _doveadm(address, "mailbox", "status", "messages vsize", "*", of=of)
    rows = [line.split("\t") for line in answer.splitlines()[1:]]
    return {name: (int(mails), int(octets)) for name, mails, octets in rows}


def _guids(address: str, of: Path | None = None) -> set[str]:
    answer = _doveadm(address, "fetch", "guid", "mailbox", "*", "all", of=of)
    return set(answer.splitlines()[1:])


def _make_whole(address: str, store: Path) -> Iterator[str]:
    """Unpack the copies of indexes beside their messages, and list every message in them.

    Return the folders whose copy is damaged; their messages are there, unread.
    """
    for directory, _names, files in os.walk(store):
        if "dovecot.index.copy" not in files:
            continue
        try:
            programs.run(
                [
                    *("tar", "--extract", "--gzip", "--no-same-owner"),
                    *(f"--file={directory}/dovecot.index.copy", f"--directory={directory}"),
                ]
            )
        except ProgramError:
            for name in ("dovecot.index", "dovecot.index.log", "dovecot.index.log.2"):
                Path(directory, name).unlink(missing_ok=True)
            yield str(Path(directory).relative_to(store))
    programs.run(["chown", "-R", f"{VMAIL}:{VMAIL}", str(store)])
    _doveadm(address, "force-resync", "*", of=store)


def _prepare() -> None:
    Path("/run/volatile").mkdir(mode=0o700, exist_ok=True)
    os.chown("/run/volatile", VMAIL, VMAIL)


def _host() -> int:
    """Return this host's number; 1 in a stack of one host."""
    return int(os.environ.get("PLEXUS_SHARD") or homes.FIRST)


def _remove_unfinished(output: Output) -> None:
    """Remove what killed tasks of this host have left: their incomplete folders and their source.

    Only one task runs on a host at a time, but another host's may be at work.
    """
    for top in _restored():
        note = top / NOTE
        if not note.exists():
            continue
        told = json.loads(note.read_bytes())
        if int(told.get("host", homes.FIRST)) != _host():
            continue
        address, folder = str(told["address"]), str(told["folder"])
        try:
            with staying(str(told.get("mailbox", address))):
                output.say(PROGRESS, text=f"removing {folder} of {address}, which was not finished")
                for each in sorted(_folders(address), reverse=True):
                    if each.partition("/")[0] == folder:
                        _doveadm(address, "mailbox", "delete", "-s", each)
        except StatusError as error:
            # It has moved, or is gone; its owner sees the folder.
            output.say(PROGRESS, text=f"{folder} of {address} is incomplete, and stays: {error}")
        shutil.rmtree(top)


def _restore_mailbox(call: Call, output: Output) -> int:
    (address,) = call.words
    first = mailboxes.first_address(mailboxes.TABLE.read_text("utf-8"), address)
    _prepare()
    _remove_unfinished(output)
    top = next((each for each in _restored() if home(each / "mail", first).exists()), None)
    if top is None:
        return output.fail(DATA, f"nothing of {address} was restored")
    store = home(top / "mail", first) / "sdbox"
    # Messages expunged then are not restored; they would appear as a folder of that name.
    shutil.rmtree(store / "mailboxes" / ".Expunged", ignore_errors=True)
    for folder in _make_whole(first, store):
        output.say("damaged", address=address, folder=folder)
    wanted = {name: counts for name, counts in _folders(first, store).items() if counts[0]}
    mails, octets = (sum(counts[which] for counts in wanted.values()) for which in (0, 1))
    if not mails:
        shutil.rmtree(top)
        return output.fail(DATA, f"the backup has no mail of {address} there")
    quota = mailboxes.quota(address)
    if not quota.has_room(octets):
        shutil.rmtree(top)
        return output.fail(
            DATA,
            f"{address} has {quota.octets / 1e6:.0f} MB and would refuse mail"
            f" with {octets / 1e6:.0f} MB more: raise its quota, or restore one folder (--folder)",
        )
    folder = free_name(f"Restored {call.options['date']}", _folders(first))
    told = {"address": first, "mailbox": address, "folder": folder, "host": _host()}
    (top / NOTE).write_text(json.dumps(told))
    output.say(PROGRESS, text=f"importing {mails} messages into {folder}")
    _doveadm(first, "import", "-s", f"sdbox:{store}", folder, "all")
    came = {
        name.removeprefix(f"{folder}/"): counts
        for name, counts in _folders(first).items()
        if name.startswith(f"{folder}/")
    }
    if came != wanted:
        return output.fail(FAULT, f"not all messages are in {folder}: {came} of {wanted}")
    shutil.rmtree(top)
    for name, (count, size) in sorted(wanted.items()):
        output.say("folder", name=f"{folder}/{name}", mails=count, octets=size)
    output.say("restored", address=address, folder=folder, mails=mails, octets=octets)
    return 0


def _dovecot_runs() -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(mailboxes.SOCKET)
    except OSError:
        return False
    return True


def _users(root: Path) -> Iterator[str]:
    """Yield the addresses of homes below a directory; Dovecot's other files begin with a dot."""
    for domain in sorted(root.iterdir()):
        if domain.name.startswith(".") or domain.name == "last-logins" or not domain.is_dir():
            continue
        for place in sorted(domain.iterdir()):
            if (place / "sdbox").is_dir():
                yield f"{place.name}@{domain.name}"


@contextmanager
def dovecot_kept_away() -> Generator[None]:
    """Keep Dovecot from starting on this host during the block: its entrypoint awaits the lock."""
    lock = os.open(HOLDS_PATH / ".lock", os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _restore_all(_call: Call, output: Output) -> int:
    with dovecot_kept_away():
        if _dovecot_runs():
            return output.fail(UNAVAILABLE, "Dovecot runs: stop its service first")
        _prepare()
        _remove_unfinished(output)
        top = _top_of_all()
        if top is None:
            return output.fail(DATA, "nothing was restored")
        is_everywhere = _put_back(top, output)
        if _host() == homes.FIRST:
            live, copy = WHOLE_STORE / "calendars", top / "calendars"
            restored_calendars.put_back(live, copy, output)
            if is_everywhere:
                shutil.rmtree(top)
    return 0


def _restore_end(_call: Call, _output: Output) -> int:
    if (top := _top_of_all()) is not None:
        shutil.rmtree(top)
    return 0


def _top_of_all() -> Path | None:
    return next((each for each in _restored() if (each / "mail").is_dir()), None)


def _put_back(top: Path, output: Output) -> bool:
    """Put lost mailboxes into place. Return whether none is left for another host to look at."""
    live, copy = WHOLE_STORE / "mail", top / "mail"
    aside = live / _ASIDE
    moved: list[str] = []
    is_everywhere = True
    for address in list(_users(copy)):
        here, there = home(live, address), home(copy, address)
        if here.exists():
            record = _record(address)
            if record is not None and record.host != _host():
                output.say(ELSEWHERE, address=address, host=record.host)
                is_everywhere = False
                continue
            # A mailbox that is new since the loss is merged with the copy; any other is not lost.
            if not _is_here(address) or not _is_new(address, there / "sdbox"):
                output.say("kept", address=address)
                continue
            _move(here, home(aside, address))
        elif _host() != homes.FIRST:
            continue
        else:
            # In a stack of several hosts this one has it now, since Dovecot runs on none of them;
            # it leaves it to its home as it does a new mailbox (`homes`).
            (live / homes.RECORDS.name / address).unlink(missing_ok=True)
        # Before the messages are there: a task that is killed here is repeated.
        shutil.rmtree(home(INDEXES, address), ignore_errors=True)
        _move(there, here)
        moved.append(address)
        output.say(PROGRESS, text=f"{address} is in place")
    for name in ("shared-mailboxes", "last-logins"):
        if (copy / name).exists() and not (live / name).exists():
            _move(copy / name, live / name)
    shard = os.environ.get("PLEXUS_SHARD")
    said = programs.run(
        [
            *("setpriv", f"--reuid={VMAIL}", f"--regid={VMAIL}", "--clear-groups", "env"),
            *([f"PLEXUS_SHARD={shard}"] if shard else []),
            *("/usr/local/bin/indexes", "start"),
        ],
        seconds=_LONGEST_SECONDS,
    )
    for domain, name, folder in _DAMAGED.findall(said):
        output.say("damaged", address=f"{name}@{domain}", folder=folder)
    for address in moved:
        _doveadm(address, "force-resync", "*")
    joined = _join(aside, output) if aside.exists() else {}
    for address in moved:
        counts = _folders(address).values()
        mails = sum(each[0] for each in counts)
        output.say("mailbox", address=address, mails=mails, since=joined.get(address, 0))
    return is_everywhere


def _record(address: str) -> homes.Record | None:
    """Return who has a mailbox; host 1 in a stack of one host."""
    records = WHOLE_STORE / "mail" / homes.RECORDS.name
    return homes.Record.parse(homes.read_record(address, records))


def _is_here(address: str) -> bool:
    """Return whether this host has a mailbox and its index."""
    record = _record(address)
    return record is not None and record.host == _host() and record.has


def _is_new(address: str, copy: Path) -> bool:
    """Return whether a mailbox has no message of its copy."""
    for _ in _make_whole(address, copy):
        pass
    return not _guids(address) & _guids(address, copy)


def _join(aside: Path, output: Output) -> dict[str, int]:
    """Merge what arrived since the loss into the restored mailboxes; return how many messages."""
    joined: dict[str, int] = {}
    for address in filter(_is_here, list(_users(aside))):
        store = home(aside, address) / "sdbox"
        for folder in _make_whole(address, store):
            output.say("damaged", address=address, folder=folder)
        shutil.rmtree(store / "mailboxes" / ".Expunged", ignore_errors=True)
        joined[address] = sum(counts[0] for counts in _folders(address, store).values())
        # What a killed task has merged already.
        there = _guids(address) & _guids(address, store)
        missing = [word for guid in sorted(there) for word in ("not", "guid", guid)] or ["all"]
        if len(there) < joined[address]:
            _doveadm(address, "import", f"sdbox:{store}", "", *missing)
        shutil.rmtree(home(aside, address))
    if not any(_users(aside)):
        shutil.rmtree(aside)
    return joined


def _move(source: Path, target: Path) -> None:
    """Move within the file system; new parent directories belong to the mail user."""
    for parent in reversed(target.parents):
        if not parent.exists():
            parent.mkdir(mode=0o700)
            os.chown(parent, VMAIL, VMAIL)
    source.rename(target)


def _restore_calendars(call: Call, output: Output) -> int:
    table = mailboxes.TABLE.read_text("utf-8")
    live = WHOLE_STORE / "calendars"
    if not live.is_dir():
        return output.fail(DATA, "this stack has no calendars (calendars: false)")
    return restored_calendars.restore(
        live,
        _restored(),
        mailboxes.first_address(table, call.words[0]),
        call.options["date"],
        output,
        shared="shared" in call.options,
    )


VERBS: dict[str, Verb] = {
    "restore-mailbox": Verb(at_home(_restore_mailbox), calls.ADDRESS, 1, 1, {"date": calls.NAME}),
    "restore-all": Verb(_restore_all),
    "restore-end": Verb(_restore_end),
    "restore-calendars": Verb(
        _restore_calendars, calls.ADDRESS, 1, 1, {"date": calls.NAME, "shared": None}
    ),
}
