"""The stub's memory over a kill -9: an append-only file of its changes.

Written without fsync: a killed process loses nothing that it has written, and the machine itself
does not fail in these runs. A torn last line is what was never answered, and is skipped.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


class Journal:
    """Appends changes; each is in the kernel's hands when `append` returns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        torn = path.exists() and path.stat().st_size > 0 and path.read_bytes()[-1:] != b"\n"
        self._file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        if torn:
            os.write(self._file, b"\n")

    def append(self, entry: Mapping[str, Any]) -> None:
        """Write one change."""
        os.write(self._file, json.dumps(entry).encode() + b"\n")

    def entries(self) -> Iterator[dict[str, Any]]:
        """Return all changes so far, oldest first."""
        with self._path.open("rb") as lines:
            for line in lines:
                try:
                    yield json.loads(line)
                except ValueError:
                    continue
