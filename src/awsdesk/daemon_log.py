"""The daemon's log: one line an event, `time level logger event key=value ...`."""

from __future__ import annotations

import asyncio
import logging
import logging.handlers
import ssl
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"
# Libraries that log each connection and each line of a dialogue.
_QUIET = ("hypercorn.access", "hypercorn.error", "botocore", "urllib3", "persistence", "sns")


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """Leave out clients that hang up during a transfer: not an error, but a long traceback."""
    failure = record.exc_info[1] if record.exc_info else None
    return record.name != "asyncio" or not isinstance(
        failure, ssl.SSLError | ConnectionError | TimeoutError | asyncio.CancelledError
    )


def set_up(path: Path) -> None:
    """Log to the file, and to standard error until that is closed."""
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    file = logging.handlers.RotatingFileHandler(path, maxBytes=5_000_000, backupCount=2)
    for handler in (file, logging.StreamHandler(sys.stderr)):
        handler.setFormatter(logging.Formatter(_FORMAT))
        handler.addFilter(_is_worth_a_line)
        root.addHandler(handler)
    root.setLevel(logging.INFO)
    # aiosmtpd warns of its own use of a deprecated attribute at each sign-in.
    logging.getLogger("mail.log").setLevel(logging.ERROR)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
