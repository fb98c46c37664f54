"""The page's sessions: a file for each in memory, named by the hash of its token.

A session ends after 15 minutes without a request, after 2 hours in any case, and when the main
password that opened it is no longer the current one (`key`). Time is counted since the kernel's
boot. The files do not reveal any token.
"""

import hashlib
import json
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from postal_plexus.account import files

IDLE_SECONDS = 15 * 60
LONGEST_SECONDS = 2 * 3600
MOST, MOST_OF_USER = 200, 8
"""Sessions together, and of one user; beyond that, the one goes that was used longest ago."""

_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


def since_boot() -> float:
    """Return the time since boot, which no change of the clock affects."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Session:
    """A session of the page: its user, and the main password's `record.fingerprint`."""

    address: str
    key: str
    begun: float
    used: float


class Sessions:
    """All sessions, in a tmpfs directory that only the keeper can read."""

    def __init__(self, folder: Path, now: Callable[[], float] = since_boot) -> None:
        self._folder = folder
        self._now = now

    def begin(self, address: str, key: str) -> str:
        """Begin a session; return its token."""
        alive: list[tuple[float, str, Path]] = []
        for path in self._folder.iterdir():
            found = self._read(path)
            if found is None or self._is_over(found):
                path.unlink(missing_ok=True)
            else:
                alive.append((found.used, found.address, path))
        alive.sort()
        own = [each for each in alive if each[1] == address]
        for _, _, path in (
            *own[: max(0, len(own) + 1 - MOST_OF_USER)],
            *alive[: max(0, len(alive) + 1 - MOST)],
        ):
            path.unlink(missing_ok=True)
        token = secrets.token_urlsafe(32)
        self.keep(token, address, key)
        return token

    def keep(self, token: str, address: str, key: str) -> None:
        """Begin a session with this token."""
        now = self._now()
        self._write(self._path(token), Session(address, key, now, now))

    def find(self, token: str) -> Session | None:
        """Return the session of a token, and mark it as used; None if it has ended."""
        if not _TOKEN.fullmatch(token):
            return None
        path = self._path(token)
        found = self._read(path)
        if found is None or self._is_over(found):
            path.unlink(missing_ok=True)
            return None
        self._write(path, Session(found.address, found.key, found.begun, self._now()))
        return found

    def end(self, token: str) -> None:
        """End a session."""
        if _TOKEN.fullmatch(token):
            self._path(token).unlink(missing_ok=True)

    def _path(self, token: str) -> Path:
        return self._folder / hashlib.sha256(token.encode()).hexdigest()

    def _is_over(self, session: Session) -> bool:
        now = self._now()
        return not (
            0 <= now - session.used < IDLE_SECONDS and 0 <= now - session.begun < LONGEST_SECONDS
        )

    def _read(self, path: Path) -> Session | None:
        try:
            noted = cast("object", json.loads(files.read(path, 4096) or ""))
        except (OSError, ValueError):
            return None
        match noted:
            case [str(address), str(key), float(begun), float(used)]:
                return Session(address, key, begun, used)
            case _:
                return None

    def _write(self, path: Path, session: Session) -> None:
        noted = [session.address, session.key, float(session.begun), float(session.used)]
        files.write(path, json.dumps(noted).encode())
