"""How long the indexes' copy to the mail store takes: that of each hour, and that at a stop.

ECS gives a task 120 s to end, and Dovecot takes its part of them. What EFS adds is not here, since
messages and copies lie on a disk: `benchmarks/results/nfs.md` counts the operations of one copy.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from benchmarks.host.bed import BIG
from benchmarks.host.mailbox import await_indexer, fill

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.host.bed import Bed
    from benchmarks.mailhost.engine import Container

COPY = (
    *("setpriv", "--reuid=5000", "--regid=5000", "--clear-groups", "--inh-caps=-all"),
    *("indexes", "copy"),
)


def measure(
    bed: Bed, box: Container, folders: int, each: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Measure seconds to copy indexes of `folders` with `each` messages: all, 20, all changed."""
    fill(bed, box, each)
    asyncio.run(_spread(bed, box, folders))
    await_indexer(box)
    found: dict[str, Any] = {"copied_folders": folders, "copied_mails": folders * each}
    for name, changed, flag in (
        ("new", 0, ""),
        ("few", 20, "Answered"),
        ("all", folders, "Flagged"),
    ):
        asyncio.run(_flag(bed, box, changed, flag))
        begun = time.monotonic()
        told = box.execute(*COPY, timeout=600)
        found[f"copy_{name}_seconds"] = time.monotonic() - begun
        say(f"{name}: {found[f'copy_{name}_seconds']:.1f} s; {told}")
    return {"index_copy": found}


async def _spread(bed: Bed, box: Container, folders: int) -> None:
    """Copy the inbox into each folder: the messages are hard links, the indexes are not."""
    session = await bed.session(box, BIG)
    await session.command("SELECT INBOX")
    for number in range(folders):
        await session.command(f"CREATE f{number}")
        await session.command(f"COPY 1:* f{number}")
    session.close()


async def _flag(bed: Bed, box: Container, folders: int, flag: str) -> None:
    """Mark the first message of that many folders."""
    session = await bed.session(box, BIG)
    for number in range(folders):
        await session.command(f"SELECT f{number}")
        await session.command(f"STORE 1 +FLAGS.SILENT (\\{flag})")
    session.close()
