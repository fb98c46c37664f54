"""Edit a stack file: validated beforehand, atomically, by one process at a time.

The file's mode, owner, line endings and everything that the edit does not concern stay. A symbolic
link stays one. An edit whose result `plexus check` would refuse is not written.

Raises CommandError: CONFIG if the file is wrong, or would be; NO_INPUT if it cannot be read or
written. The file is then unchanged.
"""

import fcntl
import os
import stat
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from postal_plexus.cli import stack_files
from postal_plexus.cli.exits import CommandError, Exit
from postal_plexus.config.problems import StackError
from postal_plexus.config.settings import Settings

Edit = Callable[[str], str]


@dataclass(frozen=True)
class Edited:
    """The result of an edit: the new content, and the settings before and after."""

    old: bytes
    new: bytes
    before: Settings | None
    after: Settings


def tried(path: Path, edit: Edit) -> Edited:
    """Return the result of an edit without writing it. Raise CommandError if it is refused."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unwritten(path, "cannot be read", error) from error
    before = None
    try:
        _, before = stack_files.whole(path, content)
    except CommandError:
        # Invalid YAML is reported with its line. Other mistakes may be what the edit corrects.
        stack_files.parsed(path, content)
    try:
        edited = _edited(content.decode(), edit).encode()
    except StackError as error:
        raise stack_files.wrong(path, error) from error
    _, after = stack_files.whole(path, edited)
    return Edited(content, edited, before, after)


def write(path: Path, edit: Edit) -> Edited:
    """Edit the file."""
    # Imported here because commands that edit no file should not load it.
    from awsdesk import files  # noqa: PLC0415

    target = path.resolve()
    try:
        with _alone(target):
            edited = tried(path, edit)
            was = target.stat()
            if not was.st_mode & 0o222 or not os.access(target, os.W_OK):
                line = f"is read-only, so it was not changed; make it writable: chmod u+w {path}"
                raise CommandError(Exit.NO_INPUT, line, source=str(path))
            if target.read_bytes() != edited.old:
                line = "was changed by another program meanwhile, and this edit not written; again"
                raise CommandError(Exit.NO_INPUT, line, source=str(path))
            files.replace(target, edited.new, stat.S_IMODE(was.st_mode))
            if (was.st_uid, was.st_gid) != (os.geteuid(), os.getegid()):
                os.chown(target, was.st_uid, was.st_gid)
    except OSError as error:
        raise _unwritten(path, "cannot be written", error) from error
    return edited


def _edited(text: str, edit: Edit) -> str:
    """Edit a text with CRLF line endings as if they were LF."""
    if "\r\n" in text and "\n" not in text.replace("\r\n", ""):
        return edit(text.replace("\r\n", "\n")).replace("\n", "\r\n")
    return edit(text)


@contextmanager
def _alone(path: Path) -> Generator[None]:
    """Lock out other processes that edit through this module."""
    while True:
        handle = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if not os.path.samestat(os.fstat(handle), path.stat()):
                continue  # another process has replaced the file meanwhile
            yield
            return
        finally:
            os.close(handle)


def _unwritten(path: Path, what: str, error: OSError) -> CommandError:
    line = f"{what} ({error.strerror}); nothing was changed"
    return CommandError(Exit.NO_INPUT, line, source=str(path))
