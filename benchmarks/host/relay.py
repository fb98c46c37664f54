"""Mails a second through Postfix to SES, ours beside its default configuration, in pairs."""

from __future__ import annotations

import os
import statistics
import time
from typing import TYPE_CHECKING, Any

from benchmarks.deliver.bed import named
from benchmarks.host import mails
from benchmarks.host.bed import user
from benchmarks.host.watch import Watch
from benchmarks.mailhost.engine import Container, Mount, image

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.host.bed import Bed

SESSIONS = 4  # of smtp-source: our configuration takes as many from its neighbours


class Source:
    """Postfix's smtp-source beside a bed's Postfix, with one mail."""

    def __init__(self, bed: Bed) -> None:
        folder = bed.place.root / "source"
        folder.mkdir()
        # smtp-source ends each line of the file with CRLF itself.
        (folder / "mail").write_bytes(mails.mail(1).replace(b"\r\n", b"\n"))
        self.container = Container(
            named(f"source-{bed.which}"),
            image("postfix"),
            mounts=[
                Mount(bed.place.postfix, "/run/plexus/postfix"),
                Mount(folder, "/mail", read_only=True),
            ],
            options=["--network", "none", "--user", "0", "--entrypoint", "sleep"],
            arguments=["infinity"],
        )
        bed.made.append(self.container)
        self.container.start()

    def send(self, count: int) -> None:
        """Send this number of messages to other domains, as fast as Postfix accepts them."""
        self.container.execute(
            *("/usr/sbin/smtp-source", "-s", str(SESSIONS), "-m", str(count), "-F", "/mail/mail"),
            *("-f", user(1), "-t", "someone@elsewhere.example"),
            "unix:/run/plexus/postfix/inject.sock",
            timeout=600,
        )


def measure(
    beds: tuple[Bed, ...], count: int, pairs: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Speed and anonymous memory of each configuration; the median of the pairs' ratios."""
    speeds: dict[str, list[float]] = {bed.which: [] for bed in beds}
    memory: dict[str, list[float]] = {bed.which: [] for bed in beds}
    boxes = {bed.which: bed.postfix("512m") for bed in beds}
    sources = {bed.which: Source(bed) for bed in beds}
    for pair in range(pairs + 1):
        for bed in beds if pair % 2 else reversed(beds):
            os.sync()
            with Watch(postfix=boxes[bed.which]) as watch:
                begun = time.monotonic()
                sources[bed.which].send(count)
                speed = count / (bed.sink.await_more(count) - begun)
            if pair:  # the first warms up
                speeds[bed.which].append(speed)
                memory[bed.which].append(watch.used["postfix"].anonymous)
                say(
                    f"relay, {bed.which}: {speed:.0f} mails/s, {memory[bed.which][-1]} MB anonymous"
                )
    ours, theirs = speeds["ours"], speeds["defaults"]
    small, large = (max(memory[which]) for which in ("ours", "defaults"))
    return {
        "relay_ours": statistics.median(ours),
        "relay_defaults": statistics.median(theirs),
        "relay_ratios": [one / other for one, other in zip(ours, theirs, strict=True)],
        "relay_ratio": statistics.median(
            one / other for one, other in zip(ours, theirs, strict=True)
        ),
        "relay_memory_ours": small,
        "relay_memory_defaults": large,
        "relay_memory_ratio": small / large,
    }
