"""The daemon's log: one line an event, `time level logger event key=value ...`."""

from __future__ import annotations

import logging
import logging.handlers
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"
# Talkative libraries: each connection and each line of a dialogue.
_QUIET = ("mail.log", "hypercorn.access", "hypercorn.error", "botocore", "urllib3", "asyncio")


def set_up(path: Path) -> None:
    """Log to the file, and to standard error until it is taken away."""
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    file = logging.handlers.RotatingFileHandler(path, maxBytes=5_000_000, backupCount=2)
    for handler in (file, logging.StreamHandler(sys.stderr)):
        handler.setFormatter(logging.Formatter(_FORMAT))
        root.addHandler(handler)
    root.setLevel(logging.INFO)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
