"""Mailbox formats side by side: speed, EFS's share in it, files, and what a crash leaves.

The disk here answers at once and EFS does not, so the calls that one delivery makes on the mail
store are counted (strace) and weighed with the latency that AWS states for EFS. A client of NFS
spares some of those reads by its caches: the milliseconds are what the format asks for, not what
EFS was seen to do.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.host import mails
from benchmarks.host.bed import BIG, user
from benchmarks.mailhost.engine import ROOT
from benchmarks.mailhost.lmtp import Lmtp, deliver_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from benchmarks.host.bed import Bed
    from benchmarks.mailhost.engine import Container

FORMATS = ("maildir", "mdbox", "sdbox")
SESSIONS = 4
# Milliseconds, General Purpose, Regional: https://docs.aws.amazon.com/efs/latest/ug/performance.html
EFS_READ_MS, EFS_WRITE_MS = 0.25, 2.7
# What EFS bills at least for a file in Infrequent Access: https://aws.amazon.com/efs/pricing/
IA_LEAST_BYTES = 128 * 1024
TRACED = 20
LONGEST = 20  # seconds that one delivery measurement may take

_CALL = re.compile(r"^\d+\s+(\w+)\((.*)$")
_WRITES = frozenset({"rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat"})
_WRITES |= frozenset({"mkdir", "mkdirat", "rmdir", "symlink", "ftruncate", "chmod", "fchmod"})
_WRITES |= frozenset({"utime", "utimensat", "fsync", "fdatasync"})
_READS = frozenset(
    {"stat", "lstat", "newfstatat", "access", "faccessat2", "readlink", "getdents64"}
)


def configuration(bed: Bed, driver: str) -> Path:
    """Our dovecot.conf with another format, and without the search index: it is the same in all."""
    text = (ROOT / "containers" / "dovecot" / "dovecot.conf").read_text()
    for ours, other in (
        ("mail_driver = sdbox", f"mail_driver = {driver}"),
        ("mail_path = ~/sdbox", f"mail_path = ~/{driver}"),
        ("mail_path = %{owner_home}/sdbox", f"mail_path = %{{owner_home}}/{driver}"),
        ("fts_autoindex = yes", "fts_autoindex = no"),
    ):
        assert ours in text, ours
        text = text.replace(ours, other)
    path = bed.place.root / f"dovecot-{driver}.conf"
    path.write_text(text)
    return path


def prepare(bed: Bed, count: int) -> None:
    """Write a maildir of this number of messages into the mail store, to import from."""
    folder = bed.place.mail / "source"
    for name in ("cur", "new", "tmp"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / "cur" / f"{1_790_000_000 + number}.M{number}.source:2,").write_bytes(
            mails.mail(number)
        )
    subprocess.run(["chown", "-R", "5000:5000", folder], check=True)


def fill(box: Container, address: str) -> float:
    """Measure messages per second of an import of the maildir, without fsync."""
    begun = time.monotonic()
    box.execute(
        *("doveadm", "-o", "mail_fsync=never", "import", "-u", address),
        *("maildir:/srv/mail/source", "", "ALL"),
        timeout=600,
    )
    found = box.execute("doveadm", "mailbox", "status", "-u", address, "messages", "INBOX")
    return int(found.rpartition("=")[2]) / (time.monotonic() - begun)


def measure(bed: Bed, count: int, say: Callable[[str], None], *, quick: bool) -> dict[str, Any]:
    """Measure a row of figures for each format."""
    prepare(bed, count)
    found: dict[str, Any] = {}
    for driver in FORMATS:
        for place in (bed.place.mail, bed.place.indexes):
            shutil.rmtree(place / "example.org", ignore_errors=True)
        box = bed.dovecot("512m", configuration(bed, driver))
        try:
            found[driver] = _measured(bed, box, 200 if quick else 1000, 1 if quick else 5)
        finally:
            bed.close()
        say(f"{driver}: " + "; ".join(f"{row} {value:.4g}" for row, value in found[driver].items()))
    return {"formats": found}


def _measured(bed: Bed, box: Container, count: int, kills: int) -> dict[str, float]:
    row: dict[str, float] = {}
    numbers = iter(range(10_000_000, 99_000_000))
    row["Delivery into an empty mailbox, messages/s"] = _speed(bed, user(1), count, numbers)
    fill(box, BIG)
    _speed(bed, BIG, 5, numbers)
    row["... into the full one, messages/s"] = _speed(bed, BIG, count, numbers)
    for name, address in (("an empty", user(1)), ("the full", BIG)):
        reads, writes = _calls(bed, box, address, numbers)
        row[f"Calls for a message into {name} one: reads"] = reads
        row[f"... {name}: writes and syncs"] = writes
        row[f"... {name}: ms by EFS's latencies"] = reads * EFS_READ_MS + writes * EFS_WRITE_MS
    row |= _crashes(bed, box, user(2), kills, numbers)
    row |= _lost_index(bed, box, user(3), numbers)
    files = [path.stat() for path in _home(bed, BIG).rglob("*") if path.is_file()]
    row["Files of the full mailbox"] = len(files)
    row["... MB"] = sum(each.st_size for each in files) / 1e6
    row["... MB as Infrequent Access bills them"] = (
        sum(max(each.st_size, IA_LEAST_BYTES) for each in files) / 1e6
    )
    return row


def _speed(bed: Bed, address: str, count: int, numbers: Iterable[int]) -> float:
    begun = time.monotonic()
    done = 0

    def work() -> Iterable[tuple[str, bytes]]:
        nonlocal done
        for number in numbers:
            if done == count or time.monotonic() - begun > LONGEST:
                return
            done += 1
            yield address, mails.mail(number)

    asyncio.run(deliver_all(bed.place.lmtp, work(), SESSIONS))
    return done / (time.monotonic() - begun)


# What a delivery asks of the mail store ----------------------------------------------------------


def _calls(bed: Bed, box: Container, address: str, numbers: Iterable[int]) -> tuple[float, float]:
    """Count reads and writes on the mail store for a message, with warm caches."""
    trace = bed.place.root / "trace"
    asyncio.run(_delivered(bed, address, 3, numbers))
    pids = box.usage().processes_of(b"lmtp")
    tracer = subprocess.Popen(
        ["strace", "-f", "-y", "-qq", "-o", trace, *(f"--attach={pid}" for pid in pids)],
        stderr=subprocess.DEVNULL,
    )
    try:
        while not all("TracerPid:\t0" not in _status(pid) for pid in pids):
            time.sleep(0.05)
        asyncio.run(_delivered(bed, address, TRACED, numbers))
    finally:
        tracer.terminate()
        tracer.wait()
    reads, writes = weighed(trace.read_text(errors="replace"), ("/srv/mail/", f"{bed.place.mail}/"))
    return reads / TRACED, writes / TRACED


def weighed(trace: str, below: tuple[str, ...]) -> tuple[int, int]:
    """Count calls in a trace (strace -y), on files below these paths, that EFS must answer.

    What was written and not synced is written when the file is closed; a file descriptor's reads
    come from the client's cache.
    """
    reads = writes = 0
    dirty: set[str] = set()
    for line in trace.splitlines():
        call = _CALL.match(line)
        if not call or not any(path in call[2] for path in below):
            continue
        name, arguments = call[1], call[2]
        file = arguments.partition("<")[2].partition(">")[0]
        if name in {"openat", "open"}:
            writes, reads = (writes + 1, reads) if "O_CREAT" in arguments else (writes, reads + 1)
        elif name in {"write", "pwrite64", "writev", "sendfile"}:
            dirty.add(file)
        elif name in _WRITES or (name == "close" and file in dirty):
            writes += 1
            dirty.discard(file)
        elif (name in _READS and '""' not in arguments) or (name == "fcntl" and "LK" in arguments):
            reads += 1
    return reads, writes


def _status(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return ""


async def _delivered(bed: Bed, address: str, count: int, numbers: Iterable[int]) -> list[int]:
    connection = await Lmtp.open(bed.place.lmtp)
    sent = [number for number, _ in zip(numbers, range(count), strict=False)]
    for number in sent:
        await connection.deliver(address, mails.mail(number))
    connection.close()
    return sent


# What is left ------------------------------------------------------------------------------------


def _crashes(
    bed: Bed, box: Container, address: str, kills: int, numbers: Iterable[int]
) -> dict[str, float]:
    """Kill Dovecot (-9) during deliveries; check that each accepted message exists once."""
    acknowledged: list[int] = []

    async def work() -> None:
        connection = await Lmtp.open(bed.place.lmtp)
        try:
            for number in numbers:
                await connection.deliver(address, mails.mail(number))
                acknowledged.append(number)
        except (ConnectionError, OSError, asyncio.IncompleteReadError):
            pass
        finally:
            connection.close()

    async def until_killed(seconds: float) -> None:
        tasks = [asyncio.create_task(work()) for _ in range(SESSIONS)]
        await asyncio.sleep(seconds)
        await asyncio.to_thread(box.kill)
        await asyncio.gather(*tasks)

    for kill in range(kills):
        asyncio.run(until_killed(1 + kill * 0.13))
        bed.restart(box)
    present = _numbers(box, address)
    lost = len(set(acknowledged) - set(present))
    box.execute("doveadm", "force-resync", "-u", address, "INBOX", timeout=300)
    repaired = _numbers(box, address)
    return {
        "Killed amid deliveries, times": kills,
        "... messages acknowledged": len(acknowledged),
        "... of them lost": lost,
        "... lost after force-resync": len(set(acknowledged) - set(repaired)),
        "... doubled": len(repaired) - len(set(repaired)),
    }


def _lost_index(bed: Bed, box: Container, address: str, numbers: Iterable[int]) -> dict[str, float]:
    """Remove every index file, and let force-resync rebuild them."""
    sent = asyncio.run(_delivered(bed, address, 100, numbers))
    box.execute("doveadm", "flags", "add", "-u", address, "\\Seen", "mailbox", "INBOX", "1:50")
    bed.restart(box)
    home = _home(bed, address)
    for place in (home, bed.place.indexes / home.relative_to(bed.place.mail)):
        for path in place.rglob("dovecot*"):
            if path.is_file() and path.name != "dovecot-uidlist":
                path.unlink()
    box.execute("doveadm", "force-resync", "-u", address, "*", timeout=300)
    present = _numbers(box, address)
    seen = box.execute("doveadm", "search", "-u", address, "mailbox", "INBOX", "SEEN")
    return {
        "Index files lost, of 100 messages kept": len(set(sent) & set(present)),
        "... of 50 marks (read) kept": len(seen.splitlines()),
    }


def _numbers(box: Container, address: str) -> list[int]:
    """Return the numbers of the messages in INBOX, from their Message-IDs."""
    found = box.execute(
        *("doveadm", "fetch", "-u", address, "hdr.message-id", "mailbox", "INBOX"), timeout=300
    )
    return [int(number) for number in re.findall(r"<(\d+)@sender\.example>", found)]


def _home(bed: Bed, address: str) -> Path:
    local_part, _, domain = address.partition("@")
    return bed.place.mail / domain / local_part
