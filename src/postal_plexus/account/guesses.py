"""Count wrong codes of the second factor: after ten of a user in a day only recovery codes count.

To guess codes one needs the password, so a stranger cannot lock a user out. With ten guesses a day,
and three codes of a million valid at a time, the chance of success is one in 90 per year. A right
code does not reset the count, because the user may log in while somebody guesses. Each line of the
file is the time of a wrong code, in seconds since the epoch. The files are in a directory of the
host, so that they survive a restart.
"""

import os
from pathlib import Path

MOST = 10
WINDOW_SECONDS = 86400


class Guesses:
    """The records, a file for each user."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def are_too_many(self, address: str, now: float) -> bool:
        """Return whether codes are refused for now."""
        return len(self._recent(address, now)) >= MOST

    def note(self, address: str, now: float) -> None:
        """Record a wrong code."""
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
        # A time in the future, after a change of the clock, counts too.
        return [at for at in noted if now - at < WINDOW_SECONDS]
