"""The directory from which Dovecot and Postfix read certificate and key.

`certificate.pem` and `key.pem` are links through `current`, which is a link to a directory with one
pair. A new pair gets a directory of its own, and one rename of `current` changes both files: a
daemon that starts at that moment never sees a key that does not match. Plain files (the self-signed
pair that Dovecot creates on a new host) are first moved behind such links.

Raises OSError, or CertificateError for a pair that does not match; `current` is then unchanged.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

from postal_plexus.certificates.certificate import CertificateError, belongs, read

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography import x509

CERTIFICATE = "certificate.pem"
KEY = "key.pem"
CURRENT = "current"
_FILES = (CERTIFICATE, KEY)


class TlsDirectory:
    """The directory at `path`. New files have the process's user and group, and mode 0640."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def certificate(self) -> x509.Certificate | None:
        """The certificate in use, or None if there is none that can be read."""
        try:
            return read(self._path / CERTIFICATE)
        except CertificateError:
            return None

    def install(self, chain: bytes, key: bytes, certificate: x509.Certificate) -> None:
        """Put a pair in use. `certificate` is the chain's first."""
        if not belongs(key, certificate):
            raise CertificateError("the key does not belong to the certificate")
        before = self._target()
        pair = self._store(f"issued-{certificate.serial_number:x}", {CERTIFICATE: chain, KEY: key})
        self._adopt_plain_files()
        self._link(CURRENT, pair)
        for name in _FILES:
            self._link(name, f"{CURRENT}/{name}")
        _sync(self._path)
        self._remove_all_but({pair, before})

    def _target(self) -> str | None:
        try:
            return str((self._path / CURRENT).readlink())
        except OSError:
            return None

    def _store(self, name: str, files: dict[str, bytes]) -> str:
        """Create a directory with the files, either complete or not at all."""
        fresh = self._path / f".{name}.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        fresh.chmod(0o750)
        for file, content in files.items():
            descriptor = os.open(fresh / file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
            with os.fdopen(descriptor, "wb") as stream:
                os.fchmod(stream.fileno(), 0o640)
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
        _sync(fresh)
        target = self._path / name
        shutil.rmtree(target, ignore_errors=True)  # of a run that ended before it was in use
        fresh.rename(target)
        return name

    def _adopt_plain_files(self) -> None:
        """Move a pair of plain files behind the links, so that they are not changed one by one."""
        paths = [self._path / name for name in _FILES]
        if any(path.is_symlink() or not path.is_file() for path in paths):
            return
        plain = self._store("plain", {path.name: path.read_bytes() for path in paths})
        self._link(CURRENT, plain)
        for name in _FILES:
            self._link(name, f"{CURRENT}/{name}")

    def _link(self, name: str, target: str) -> None:
        path = self._path / name
        with suppress(OSError):
            if str(path.readlink()) == target:
                return
        fresh = self._path / f".{name}.new"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(target)
        fresh.replace(path)

    def _remove_all_but(self, kept: set[str | None]) -> None:
        """Keep the previous pair, for a daemon that has just begun to read it."""
        for entry in self._path.iterdir():
            ours = entry.name.startswith(("issued-", ".issued-", "plain", ".plain"))
            if ours and entry.name not in kept:
                shutil.rmtree(entry, ignore_errors=True)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
