"""Sign the return path of forwarded mail, so that real bounces can be told from forged ones.

The envelope sender of a forward is `postmaster+fwd-DAY-SIGNATURE@domain` (compare SRS and BATV): an
address of the alias's domain that receives bounces, signed with a key that only this host has, and
valid for 14 days. A message to such an address without a valid signature is forged, or late. The
key is created at the first start and stored in the state directory. If it is lost, bounces of
earlier forwards no longer verify.
"""

import contextlib
import hashlib
import hmac
import os
import re
import time
from collections.abc import Callable

_FILE = "forward-seal.key"
_DAYS = 14
_SIGNED = re.compile(r"postmaster\+fwd-([0-9]{1,6})-([0-9a-f]{20})@(.+)", re.IGNORECASE)


class ReturnPath:
    """Signs and verifies with the key in `directory`. Threads share it.

    Raises:
        OSError: the key can be neither read nor created.
    """

    def __init__(self, directory: str, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        path = os.path.join(directory, _FILE)
        with contextlib.suppress(FileExistsError):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(os.urandom(32))
        with open(path, "rb") as file:
            self._key = file.read() or b"\0"

    def sign(self, domain: str) -> str:
        """Return the envelope sender of a forward that is sent now."""
        day = self._today()
        return f"postmaster+fwd-{day}-{self._signature(day, domain)}@{domain}"

    def verify(self, recipient: str) -> bool | None:
        """Return whether a return path's signature is valid, or None if it is not a return path."""
        match = _SIGNED.fullmatch(recipient)
        if match is None:
            return None
        day = int(match[1])
        recent = 0 <= self._today() - day <= _DAYS
        good = hmac.compare_digest(self._signature(day, match[3].lower()), match[2].lower())
        return good and recent

    def _today(self) -> int:
        return int(self._clock() // 86400)

    def _signature(self, day: int, domain: str) -> str:
        return hashlib.blake2b(
            f"{day} {domain}".encode(), key=self._key[:64], digest_size=10
        ).hexdigest()
