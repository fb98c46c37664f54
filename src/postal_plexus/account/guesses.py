"""Wrong codes of the second factor: ten of a user within a day, then only recovery codes count.

Whoever guesses codes has the password already, so no stranger can shut a user out. Ten a day, three
codes valid at a time of a million: one chance in 90 a year. A right one forgives none, since the
user may log in while somebody guesses. A line of the file is the time of a wrong
code, in seconds since the epoch. A directory of the host's keeps them over a restart.
"""

import os
from pathlib import Path

MOST = 10
WINDOW_SECONDS = 86400


class Guesses:
    """The notes, a file for each user."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def are_too_many(self, address: str, now: float) -> bool:
        """Whether no code counts for now."""
        return len(self._recent(address, now)) >= MOST

    def note(self, address: str, now: float) -> None:
        """Note a wrong code."""
        lines = [*self._recent(address, now), int(now)]
        path = self._folder / address
        with open(  # noqa: PTH123
            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w"
        ) as file:
            file.writelines(f"{at}\n" for at in lines[-MOST:])

    def _recent(self, address: str, now: float) -> list[int]:
        try:
            text = (self._folder / address).read_text(encoding="ascii", errors="replace")
        except FileNotFoundError:
            return []
        noted = [int(line) for line in text.splitlines() if line.isascii() and line.isdigit()]
        # One that a set clock has put into the future counts too.
        return [at for at in noted if now - at < WINDOW_SECONDS]
