"""Read and write the keeper's files in a mailbox's directory, atomically and synced.

Reading follows no symbolic link and does not block on a pipe; anything but an ordinary file raises
OSError. The mail store is NFS, so a file is durable only once its directory is synced.
"""

import errno
import os
import stat
from pathlib import Path


def read(path: Path, most: int) -> str | None:
    """Return a file's text, or None if it does not exist.

    Raises:
        OSError: it cannot be read, is not an ordinary file, or is larger than `most` octets.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with open(descriptor, "rb", closefd=True) as file:  # noqa: PTH123
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not an ordinary file", str(path))
        octets = file.read(most + 1)
    if len(octets) > most:
        raise OSError(errno.EFBIG, "larger than it can be", str(path))
    # Latin-1: each octet is a character, so invalid content is noticed and not repaired.
    return octets.decode("latin-1")


def write(path: Path, octets: bytes) -> None:
    """Replace a file; create its directory if it is missing.

    Raises:
        OSError: it could not be stored; the previous file is unchanged.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(fresh, flags, 0o600), "wb") as file:  # noqa: PTH123
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def remove(path: Path) -> None:
    """Remove a file durably."""
    path.unlink(missing_ok=True)
    if path.parent.is_dir():
        _sync(path.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
