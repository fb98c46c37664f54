"""ministack in the daemon: read its state at the start, save it while it runs and at the end.

ministack saves its state only at a clean shutdown. Here it is also saved shortly after each change,
so that a killed daemon loses at most the last `SNAPSHOT_SECONDS`. Objects in S3 are on disk as soon
as their put is answered.
"""

from __future__ import annotations

import asyncio
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

from awsdesk.ministack_patches import environment, private

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

log = logging.getLogger(__name__)

SNAPSHOT_SECONDS = 2.0
# The service with the images' layers, hundreds of megabytes, is saved only after a call to its own
# API, or to a registry's (SES's API has /v2/email).
_LARGE = {"ecr": re.compile(r"ContainerRegistry|/v2/(?!email/)")}


class Snapshots:
    """Saves the emulator's state some time after it changed."""

    def __init__(
        self, about_to_save: Callable[[], Callable[[], None]], seconds: float = SNAPSHOT_SECONDS
    ) -> None:
        """Create the saver.

        `about_to_save` is called before a snapshot; the function that it returns, afterwards.
        """
        self._about_to_save = about_to_save
        self._seconds = seconds
        self._changed = asyncio.Event()
        # Possibly not on disk yet, unlike what was read from there at the start.
        self._large = {name for name in _LARGE if not _state(name).exists()}

    def changed(self, operation: str = "") -> None:
        """Note that a called operation may have changed something to save."""
        self._large |= {name for name, its in _LARGE.items() if its.search(operation)}
        self._changed.set()

    async def run(self) -> None:
        """Save until cancelled."""
        while True:
            await self._changed.wait()
            await asyncio.sleep(self._seconds)
            self._changed.clear()
            saved = self._about_to_save()
            large = self._large.copy()
            self._large.clear()
            try:
                if save(without=_LARGE.keys() - large):
                    saved()
                    continue
            except OSError as error:
                log.error("desk.state_not_tidied reason=%s", error)  # noqa: TRY400
            self._large |= large
            self._changed.set()


def save(without: Collection[str] = ()) -> bool:
    """Save the state of every service but some now; return whether the queues are on disk.

    ministack logs what it cannot write (a full disk) and continues.
    """
    persistence = environment.module("core.persistence")
    queues = _state("sqs")
    before = _version(queues)
    services = private.APP.build_persistence_save_dict()
    persistence.save_all({name: state for name, state in services.items() if name not in without})
    if _version(queues) == before:
        log.error("desk.state_not_saved path=%s", queues)
        return False
    return True


def _state(service: str) -> Path:
    return Path(environment.module("core.persistence").STATE_DIR) / f"{service}.json"


def _version(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def keep_from_running_containers() -> None:
    """Leave ECS tasks to the desk's agent, even if the docker SDK is installed."""
    private.ECS.replace("get_docker", lambda: None)
