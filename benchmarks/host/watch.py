"""What containers use meanwhile: sampled, since the kernel keeps no peak of each kind."""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

    from benchmarks.mailhost.engine import Container

MEGABYTE = 1024 * 1024
EVERY = 0.02  # seconds


@dataclass(frozen=True, slots=True)
class Used:
    """Of one container, in MB of 2**20 bytes."""

    peak: float  # the most ever charged, with page cache, tmpfs and kernel memory
    anonymous: float  # the most that could not be dropped, as sampled
    killed: int  # processes that the kernel killed

    def in_json(self) -> dict[str, Any]:
        """For the results."""
        return asdict(self)


class Watch:
    """Samples containers by name until it is left; then `used` says what was found."""

    def __init__(self, **containers: Container) -> None:
        self._groups = {name: container.usage() for name, container in containers.items()}
        self._most = dict.fromkeys(self._groups, 0)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.used: dict[str, Used] = {}

    def _sample(self) -> None:
        while not self._over.wait(EVERY):
            for name, group in self._groups.items():
                self._most[name] = max(self._most[name], group.anonymous())

    def __enter__(self) -> Watch:
        for group in self._groups.values():
            group.reset_peak()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        self.used = {
            name: Used(
                round(group.peak() / MEGABYTE, 1),
                round(self._most[name] / MEGABYTE, 1),
                group.killed(),
            )
            for name, group in self._groups.items()
        }
