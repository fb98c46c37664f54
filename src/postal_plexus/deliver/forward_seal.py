"""The seal on a forward's envelope sender, by which its bounce is known to be one.

A forward leaves with `postmaster+fwd-DAY-SEAL@domain` as its envelope sender: an address of ours
that takes bounces, sealed with a key that only this host has, and good for 14 days. What comes to
such an address without a good seal is forged, or too late. The key is made at the first start and
lies in the state directory; if it is lost, bounces under way no longer count as ours.
"""

import contextlib
import hashlib
import hmac
import os
import re
import time

_FILE = "forward-seal.key"
_DAYS = 14
_SEALED = re.compile(r"postmaster\+fwd-([0-9]{1,6})-([0-9a-f]{20})@(.+)", re.IGNORECASE)


class ForwardSeal:
    """Seals and recognises. Raises OSError when the key can be neither read nor made."""

    def __init__(self, directory: str) -> None:
        path = os.path.join(directory, _FILE)
        with contextlib.suppress(FileExistsError):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(os.urandom(32))
        with open(path, "rb") as file:
            self._key = file.read() or b"\0"

    def sender(self, domain: str) -> str:
        """The envelope sender of a forward that leaves now."""
        day = int(time.time() // 86400)
        return f"postmaster+fwd-{day}-{self._seal(day, domain)}@{domain}"

    def is_sealed(self, recipient: str) -> bool | None:
        """Whether this is a forward's sender with a good seal; None if it is no such address."""
        match = _SEALED.fullmatch(recipient)
        if match is None:
            return None
        day = int(match[1])
        recent = 0 <= int(time.time() // 86400) - day <= _DAYS
        good = hmac.compare_digest(self._seal(day, match[3].lower()), match[2].lower())
        return good and recent

    def _seal(self, day: int, domain: str) -> str:
        return hashlib.blake2b(
            f"{day} {domain}".encode(), key=self._key[:64], digest_size=10
        ).hexdigest()
