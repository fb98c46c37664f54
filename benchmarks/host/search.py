"""Body searches in a mailbox of a language with blanks, and in one without.

Size of the index, and processor time to make it and to search for words and phrases: what else this
machine does meanwhile does not count.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
from typing import TYPE_CHECKING, Any

from benchmarks.host import mails
from benchmarks.host.bed import user
from benchmarks.host.mailbox import SESSIONS, await_indexer, homes
from benchmarks.mailhost.lmtp import deliver_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.host.bed import Bed
    from benchmarks.mailhost.engine import Container

WORDS = 20
COMMON_PHRASES = 5
LANGUAGES = {"latin": (user(1), mails.mail), "japanese": (user(2), mails.japanese)}


def measure(bed: Bed, box: Container, count: int, say: Callable[[str], None]) -> dict[str, Any]:
    """For each language: octets of the index, seconds to make it, ms to search."""
    found: dict[str, Any] = {"searched_mails": count}
    for language, (address, mail) in LANGUAGES.items():
        box.execute("doveadm", "mailbox", "status", "-u", address, "messages", "INBOX")
        work = ((address, mail(number)) for number in range(count))
        asyncio.run(deliver_all(bed.place.lmtp, work, SESSIONS))
        index = next(homes(bed, address)[1].rglob("INBOX/*/fts-flatcurve"))
        await_indexer(box)
        shutil.rmtree(index)
        begun = box.usage().processor_seconds()
        box.execute("doveadm", "index", "-u", address, "INBOX", timeout=900)
        found[f"{language}_index_seconds"] = box.usage().processor_seconds() - begun
        found[f"{language}_index_octets"] = sum(
            file.stat().st_size for file in index.rglob("*") if file.is_file()
        )
        found |= asyncio.run(_searches(bed, box, language))
        say("; ".join(f"{name} {value:.1f}" for name, value in found.items()))
    return found


def _texts(language: str) -> dict[str, list[str]]:
    """Return words of middle ranks, phrases of one message, and phrases of many messages."""
    if language == "latin":
        lines = [mails.mail(number).decode().splitlines() for number in range(WORDS)]
        words = [line[-3].split() for line in lines]
        return {
            "word": [mails.word(100 + 40 * number) for number in range(WORDS)],
            "rare_phrase": [" ".join(each[3:7]) for each in words],
            "common_phrase": [
                f"{mails.word(rank)} {mails.word(rank + 1)}" for rank in range(COMMON_PHRASES)
            ],
        }
    texts = [mails.japanese(number).decode().splitlines()[-2] for number in range(WORDS)]
    return {
        "word": [mails.japanese_word(100 + 40 * number) for number in range(WORDS)],
        "rare_phrase": [text[5:14] for text in texts],
        "common_phrase": [mails.japanese_word(rank) + "の" for rank in range(COMMON_PHRASES)],
    }


async def _searches(bed: Bed, box: Container, language: str) -> dict[str, float]:
    session = await bed.session(box, LANGUAGES[language][0])
    await session.command("SELECT INBOX")
    found: dict[str, float] = {}
    for kind, texts in _texts(language).items():
        times: list[float] = []
        hits: list[int] = []
        for text in texts:
            begun = box.usage().processor_seconds()
            answers = await session.command(
                f"UID SEARCH CHARSET UTF-8 BODY {{{len(text.encode())}+}}\r\n{text}"
            )
            times.append(box.usage().processor_seconds() - begun)
            hits.append(len(answers[-1].split()) - 2)  # after "* SEARCH"
        found[f"{language}_{kind}_ms"] = statistics.median(times) * 1000
        found[f"{language}_{kind}_hits"] = statistics.median(hits)
    session.close()
    return found
