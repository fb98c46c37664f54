"""S3 objects: kept in memory or in a directory, or generated while they are read.

Fails by `NoSuchObjectError`. A generated object costs no memory however big it is.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BLOCK = 64 * 1024
LINE = b"X" * 78 + b"\r\n"


class NoSuchObjectError(Exception):
    """No object has this key."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An object whose bytes are held."""

    content: bytes
    etag: str
    version: str = ""
    modified: float = 0.0

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.content)

    def blocks(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes from `start` to before `stop`, in blocks."""
        for offset in range(start, stop, BLOCK):
            yield self.content[offset : min(offset + BLOCK, stop)]


@dataclass(frozen=True, slots=True)
class Generated:
    """A mail of `size` bytes: `head`, then lines of one letter."""

    head: bytes
    size: int
    etag: str

    def blocks(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes from `start` to before `stop`, in blocks."""
        filler = LINE * (BLOCK // len(LINE) + 2)
        offset = start
        while offset < stop:
            if offset < len(self.head):
                block = self.head[offset : min(stop, offset + BLOCK)]
            else:
                phase = (offset - len(self.head)) % len(LINE)
                block = filler[phase : phase + min(BLOCK, stop - offset)]
            if offset + len(block) == self.size:
                block = block[:-2] + b"\r\n" if len(block) >= 2 else block
            yield block
            offset += len(block)


def etag_of(content: bytes) -> str:
    """Return the quoted ETag that S3 gives to an object of one part."""
    return f'"{hashlib.md5(content).hexdigest()}"'


class Objects:
    """All buckets. `directory` keeps the objects over a crash of the stub."""

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory
        self._stored: dict[str, Stored] = {}
        # Those of the objects that were put with a moment.
        self._versions: dict[str, list[Stored]] = {}
        self._families: list[tuple[str, Stored | Generated]] = []
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
            for path in directory.iterdir():
                if path.is_file() and not path.name.endswith(".new"):
                    content = path.read_bytes()
                    self._stored[unquote(path.name)] = Stored(content, etag_of(content))
            whole = [each for each in directory.glob("versions/*/*") if each.suffix != ".new"]
            for path in sorted(whole, key=lambda each: float(each.name)):
                key = unquote(path.parent.name)
                self._add_version(key, path.read_bytes(), float(path.name))

    def put(self, key: str, content: bytes) -> Stored:
        """Store `content` under `bucket/key`."""
        stored = Stored(content, etag_of(content))
        if self._directory is not None:
            _write(self._directory / quote(key, safe=""), content)
        self._stored[key] = stored
        return stored

    def put_version(self, key: str, content: bytes, modified: float) -> Stored:
        """Store a version of the moment `modified` (seconds since the epoch), now the newest."""
        if self._directory is not None:
            path = self._directory / "versions" / quote(key, safe="") / f"{modified:.6f}"
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, content)
        return self._add_version(key, content, modified)

    def _add_version(self, key: str, content: bytes, modified: float) -> Stored:
        before = self._versions.setdefault(key, [])
        stored = Stored(content, etag_of(content), f"v{len(before) + 1}", modified)
        before.append(stored)
        self._stored[key] = stored
        return stored

    def versions(self, key: str) -> list[Stored]:
        """Return the versions of an object, newest first."""
        return self._versions.get(key, [])[::-1]

    def put_family(self, prefix: str, content: Stored | Generated) -> None:
        """Let every key that begins with `prefix` (bucket included) have `content`."""
        self._families = [family for family in self._families if family[0] != prefix]
        self._families.append((prefix, content))

    def get(self, key: str) -> Stored | Generated:
        """Return the object of `bucket/key`. Raises NoSuchObjectError."""
        stored = self._stored.get(key)
        if stored is not None:
            return stored
        for prefix, content in self._families:
            if key.startswith(prefix):
                return content
        raise NoSuchObjectError(key)

    def delete(self, key: str) -> None:
        """Forget an object; it need not exist."""
        self._stored.pop(key, None)
        if self._directory is not None:
            (self._directory / quote(key, safe="")).unlink(missing_ok=True)

    def keys(self, prefix: str) -> list[str]:
        """Return the keys of stored (not generated) objects."""
        return sorted(key for key in self._stored if key.startswith(prefix))


def _write(path: Path, content: bytes) -> None:
    new = path.with_name(path.name + ".new")
    new.write_bytes(content)
    new.rename(path)


def mail_of(size: int, head: bytes) -> Stored | Generated:
    """Make a message of exactly `size` bytes, held in memory if small and generated if large."""
    if size < len(head) + 2:
        raise ValueError(f"a mail of {size} bytes cannot hold its own header")
    generated = Generated(head, size, f'"generated-{size}"')
    if size > 4 * BLOCK:
        return generated
    content = b"".join(generated.blocks(0, size))
    return Stored(content, etag_of(content))
