"""A mailbox of 50,000 messages: what a client waits for, and what delivery into it costs."""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import time
from typing import TYPE_CHECKING, Any

from benchmarks.host import mails
from benchmarks.host.bed import BIG, USERS, user
from benchmarks.mailhost.engine import wait_until
from benchmarks.mailhost.lmtp import deliver_all
from benchmarks.mailhost.report import percentile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.host.bed import Bed
    from benchmarks.mailhost.engine import Container
    from benchmarks.mailhost.host import Place
    from benchmarks.mailhost.imap import Session

QUIET = 0.03  # seconds of processor time within one second
SESSIONS = 4  # as many as `deliver` keeps
# What Thunderbird asks for to show a list.
HEADERS = (
    "(UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Cc Bcc Subject Date Message-ID "
    "Priority X-Priority References Newsgroups In-Reply-To Content-Type Reply-To)])"
)


def fill(bed: Bed, box: Container, count: int) -> float:
    """Measure the messages per second into the big mailbox, which is empty before."""
    box.execute("doveadm", "mailbox", "status", "-u", BIG, "messages", "INBOX")
    begun = time.monotonic()
    work = ((BIG, mails.mail(number)) for number in range(count))
    asyncio.run(deliver_all(bed.place.lmtp, work, SESSIONS))
    return count / (time.monotonic() - begun)


def await_indexer(box: Container) -> None:
    """Wait until no indexing is in progress: the container is idle for a second."""

    def quiet() -> bool:
        before = box.usage().processor_seconds()
        time.sleep(1)
        return box.usage().processor_seconds() - before < QUIET

    wait_until("the indexer", quiet, 900)


def fill_at_once(place: Place, box: Container, count: int) -> None:
    """Fill the big mailbox by Dovecot's own import, which is sooner done than deliveries."""
    source = place.dovecot / "import"
    maildir(source, count, place.mail)
    imported(box, BIG, "/run/plexus/dovecot/import")
    shutil.rmtree(source)


def imported(box: Container, user: str, folder: str) -> None:
    """Import a Maildir with Dovecot's command, without a sync for each message, and index it."""
    words = ("import", "-u", user, f"maildir:{folder}", "", "ALL")
    box.execute("doveadm", "-o", "mail_fsync=never", *words, timeout=900)
    # The import makes Dovecot's indexer begin; flatcurve cannot have two writers.
    await_indexer(box)
    box.execute("doveadm", "index", "-u", user, "INBOX", timeout=900)
    await_indexer(box)


def maildir(folder: Path, count: int, like: Path) -> None:
    """Write a Maildir of `count` messages of 4 KB with the owner of `like`."""
    for name in ("", "cur", "new", "tmp"):
        (folder / name).mkdir(exist_ok=True)
    for number in range(count):
        content = mails.mail(number).replace(b"\r\n", b"\n")
        name = f"{1795900000 + number}.M{number}P1.mail,S={len(content)}:2,"
        write_like(folder / "cur" / name, content, like)
    owner = like.stat()
    for name in ("", "cur", "new", "tmp"):
        os.chown(folder / name, owner.st_uid, owner.st_gid)


def write_like(path: Path, content: bytes, like: Path) -> None:
    """Write a file with the owner of `like`."""
    path.write_bytes(content)
    owner = like.stat()
    os.chown(path, owner.st_uid, owner.st_gid)
    path.chmod(0o600)


def index(bed: Bed, box: Container) -> tuple[int, float]:
    """Return the big mailbox's number of messages, and the seconds to rebuild its search index."""
    await_indexer(box)
    status = box.execute(
        "doveadm", "-f", "tab", "mailbox", "status", "-u", BIG, "messages", "INBOX"
    )
    shutil.rmtree(next(homes(bed, BIG)[1].rglob("INBOX/*/fts-flatcurve")))
    begun = time.monotonic()
    box.execute("doveadm", "index", "-u", BIG, "INBOX", timeout=900)
    return int(status.split()[-1]), time.monotonic() - begun


def reading(bed: Bed, box: Container, say: Callable[[str], None]) -> dict[str, Any]:
    """Measure milliseconds of SELECT, of 100 headers, and of body searches.

    The search index is as delivery has left it: it has grown with the mailbox.
    """
    await_indexer(box)
    found = asyncio.run(_reading(bed, box))
    say("; ".join(f"{name} {value:.2f}" for name, value in found.items()))
    return found


async def _reading(bed: Bed, box: Container) -> dict[str, Any]:
    fresh: list[float] = []
    for _ in range(10):
        session = await bed.session(box, BIG)
        taken, _ = await session.timed("SELECT INBOX")
        fresh.append(taken)
        await session.command("LOGOUT")
    session = await bed.session(box, BIG)
    found = {"select_new_session_ms": statistics.median(fresh) * 1000}
    selects = [await _selected(session) for _ in range(200)]
    found["select_ms"] = statistics.median(selects[1:]) * 1000
    found["select_p99_ms"] = percentile(selects[1:], 99) * 1000
    exists = await session.command("SELECT INBOX")
    count = next(int(line.split()[1]) for line in exists if line.endswith(b"EXISTS\r\n"))
    headers: list[float] = []
    for _ in range(100):
        taken, answers = await session.timed(f"FETCH {count - 99}:{count} {HEADERS}")
        assert len(answers) == 100, answers
        headers.append(taken)
    found["headers_first_ms"] = headers[0] * 1000
    found["headers_ms"] = statistics.median(headers[1:]) * 1000
    first: list[float] = []
    again: list[float] = []
    hits: list[int] = []
    for rank in range(20, 2020, 40):
        for times in (first, again):
            taken, answers = await session.timed(f"UID SEARCH BODY {mails.word(rank)}")
            mails_found = len(answers[-1].split()) - 2  # after "* SEARCH"
            assert mails_found > 0, answers
            times.append(taken)
        hits.append(mails_found)
    found["search_hits"], found["search_hits_most"] = int(statistics.median(hits)), max(hits)
    found["search_first_ms"] = statistics.median(first) * 1000
    found["search_first_most_ms"] = max(first) * 1000
    found["search_ms"] = statistics.median(again) * 1000
    found["search_p99_ms"] = percentile(again, 99) * 1000
    session.close()
    return found


async def _selected(session: Session) -> float:
    taken, _ = await session.timed("SELECT INBOX")
    await session.command("UNSELECT")
    return taken


def growth(
    bed: Bed, box: Container, count: int, pairs: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Measure the rate of delivery into the big mailbox over that into an empty one, in pairs."""
    into: dict[str, list[float]] = {"big": [], "empty": []}
    number = 1_000_000
    for pair in range(pairs):
        order = ("big", "empty") if pair % 2 else ("empty", "big")
        for which in order:
            recipient = BIG if which == "big" else user(pair % USERS + 1)
            if which == "empty":
                for each in homes(bed, recipient):
                    shutil.rmtree(each, ignore_errors=True)
            await_indexer(box)
            work = [(recipient, mails.mail(number + each)) for each in range(count)]
            number += count
            begun = time.monotonic()
            asyncio.run(deliver_all(bed.place.lmtp, work, SESSIONS))
            into[which].append(count / (time.monotonic() - begun))
            say(f"delivery, {which}: {into[which][-1]:.0f} mails/s")
    ratios = [big / empty for big, empty in zip(into["big"], into["empty"], strict=True)]
    return {
        "delivery_big": statistics.median(into["big"]),
        "delivery_empty": statistics.median(into["empty"]),
        "delivery_ratios": ratios,
        "delivery_ratio": statistics.median(ratios),
    }


def homes(bed: Bed, address: str) -> tuple[Path, Path]:
    """Return where a user's messages and indexes are on the host."""
    local_part, _, domain = address.partition("@")
    place = bed.place
    return place.mail / domain / local_part, place.indexes / domain / local_part
