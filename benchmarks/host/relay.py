"""Messages a second through Postfix to SES, ours beside its default configuration, in pairs."""

from __future__ import annotations

import os
import statistics
import time
from typing import TYPE_CHECKING, Any

from benchmarks.deliver.bed import named
from benchmarks.host import mails
from benchmarks.host.bed import USERS, user
from benchmarks.host.watch import Watch
from benchmarks.mailhost.engine import Container, Mount, image

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.host.bed import Bed

SESSIONS = 4  # of smtp-source: our configuration takes as many from its neighbours
ALIKE = 20  # messages of one body; the guard takes more of the same owner within an hour for a loop


class Source:
    """Postfix's smtp-source beside a bed's Postfix: what `deliver` forwards for its users."""

    def __init__(self, bed: Bed) -> None:
        self._folder = bed.place.root / "source"
        self._folder.mkdir()
        self._bodies = 0
        self.container = Container(
            named(f"source-{bed.which}"),
            image("postfix"),
            mounts=[
                Mount(bed.place.postfix, "/run/plexus/postfix"),
                Mount(self._folder, "/mails", read_only=True),
            ],
            options=["--network", "none", "--user", "0", "--entrypoint", "sleep"],
            arguments=["infinity"],
        )
        bed.made.append(self.container)
        self.container.start()

    def prepare(self, count: int) -> None:
        """Write the bodies of the next messages. `count` is a multiple of `ALIKE`."""
        for path in self._folder.iterdir():
            path.unlink()
        for _ in range(count // ALIKE):
            self._bodies += 1
            forwarder = f"X-Plexus-Forwarder: {user(self._bodies % USERS + 1)}\n"
            # smtp-source ends each line of the file with CRLF itself.
            mail = mails.mail(self._bodies).replace(b"\r\n", b"\n")
            (self._folder / f"{self._bodies}").write_bytes(forwarder.encode() + mail)

    def send(self) -> None:
        """Send the prepared messages to other domains, as fast as Postfix accepts them."""
        source = (
            f"/usr/sbin/smtp-source -s 1 -m {ALIKE} -f {user(1)} -t someone@elsewhere.example "
            "-F /mails/{} unix:/run/plexus/postfix/inject.sock"
        )
        script = f"ls /mails | xargs -P {SESSIONS} -I{{}} {source}"
        self.container.execute("sh", "-c", script, timeout=600)


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
            sources[bed.which].prepare(count)
            os.sync()
            with Watch(postfix=boxes[bed.which]) as watch:
                begun = time.monotonic()
                sources[bed.which].send()
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
