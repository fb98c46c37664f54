"""Keep the directory up to date from its S3 object, here and in files for all three containers.

Every `directory_seconds` the object is requested unless it still has the known ETag. A valid one is
written to files with its renderings for Dovecot and Postfix, each replaced atomically, and put into
use. A broken one is refused with a log line (once per ETag) and a metric (at each check until it is
corrected), and the last good one stays in use. That one is also on the volume, so that a start
needs no S3. Without any directory the intake waits.

`for_mail` checks at once if an address seems unknown: SES accepts mail for a new address as soon as
its rule is created, which is after the object was written.

With several hosts the object has versions, and `for_mail` returns the one that counts for all hosts
(`directory_versions`), or raises TooEarlyError while it cannot be known.

How old the last look is, is told by S3's clock, not by this host's: one that is ahead would take an
old directory for the newest.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable

from postal_plexus.deliver import directory_versions, maillog
from postal_plexus.deliver.aws.errors import AwsError, MissingError
from postal_plexus.deliver.aws.store import Store, StoredObject
from postal_plexus.deliver.directory_versions import Moment, Version
from postal_plexus.deliver.policy import DIRECTORY_SECONDS
from postal_plexus.directory import TABLES, Directory, DirectoryError

_OBJECT = "directory.json"
_CLOCKS_DIFFER_SECONDS = 2.0  # between this host and SES
_VERSIONS_IN_MEMORY = 2  # during a change: the settled one and the newest
_FOR_DOVECOT = "dovecot-passwd"  # contains password hashes: only for owner and group


class TooEarlyError(Exception):
    """Which version of the directory counts for a message is known only in some seconds."""


class DirectorySync:
    """Keeps the directory in use up to date. Threads share it.

    Args:
        store: the connection to S3.
        bucket, key: the location of the object.
        path: the directory for the files.
        refused: called at each check while the object is broken.
        has_versions: whether the bucket keeps versions, because the stack has several hosts.
    """

    def __init__(
        self,
        store: Store,
        bucket: str,
        key: str,
        path: str,
        refused: Callable[[], None],
        *,
        has_versions: bool = False,
    ) -> None:
        self._store = store
        self._bucket = bucket
        self._key = key
        self._path = path
        self._last = os.path.join(path, _OBJECT)
        self._refused = refused
        self._is_broken = False
        self._etag = ""
        self._complained = ""
        self._available = threading.Event()
        self._current: Directory | None = None
        self._looking = threading.Lock()
        # By S3's clock, in seconds since the epoch; and by this host's monotonic one.
        self._looked_at = 0.0
        self._looked_at_here = 0.0
        self._has_versions = has_versions
        self._versions: list[Version] = []
        # The versions that were asked for last; None for one that is not valid.
        self._loaded: dict[str, Directory | None] = {}

    @property
    def current(self) -> Directory:
        """The directory in use. Raises DirectoryError before the first one is available."""
        if self._current is None:
            raise DirectoryError("no directory yet")
        return self._current

    def wait_available(self, seconds: float) -> bool:
        """Wait up to `seconds` for a directory. Return whether there is one."""
        return self._available.wait(seconds)

    def load_last(self) -> bool:
        """Load the last good directory from the volume, if there is one."""
        try:
            with open(self._last, "rb") as file:
                directory = Directory.from_json(file.read())
        except FileNotFoundError:
            return False
        except (OSError, DirectoryError) as error:
            maillog.directory_refused("", f"{self._last}: {error}")
            return False
        self._take(directory, "")
        return True

    def for_mail(self, recipients: Iterable[str], accepted_at: float) -> Directory:
        """Return the directory with which a message is delivered.

        If a recipient is unknown in the directory in use, or matches only a catch-all, a newer
        directory may contain the address. It is then read before a sender is told that the address
        does not exist, or the catch-all gets the message.

        Raises:
            AwsError: the newer one cannot be read, and the message can still wait for it.
            TooEarlyError: see above.
        """
        if self._has_versions:
            with self._looking:
                return self._as_of(list(recipients), accepted_at)
        if not any(map(self.current.may_be_new, recipients)):
            return self.current
        try:
            return self._refresh(accepted_at)
        except AwsError:
            if time.time() - accepted_at < DIRECTORY_SECONDS:
                raise
            return self.current

    def newest_at(self, moment: float) -> Directory:
        """Return the newest version at a moment (seconds since the epoch).

        Raises:
            AwsError: it cannot be read.
            TooEarlyError: a look now could still miss it.
        """
        with self._looking:
            return self._newest_at(directory_versions.of_new(moment))

    def poll(self) -> None:
        """Check once. Never raises."""
        with self._looking, contextlib.suppress(AwsError):
            self._look()

    def _refresh(self, accepted_at: float) -> Directory:
        """Return the directory as it was when SES accepted a message at `accepted_at`, or later.

        Checks the object unless that has been done since. A broken one counts as checked, because
        the last good one is all there is. Raises AwsError if it cannot be read.
        """
        with self._looking:
            if self._looked_at < accepted_at + _CLOCKS_DIFFER_SECONDS:
                self._look()
        return self.current

    def _as_of(self, recipients: list[str], accepted_at: float) -> Directory:
        """Return the version that counts for a message, with `_looking` held."""
        directory = self._newest_at(directory_versions.of_known(accepted_at))
        if any(map(directory.may_be_new, recipients)):
            directory = self._newest_at(directory_versions.of_new(accepted_at))
        return directory

    def _newest_at(self, moment: Moment) -> Directory:
        if self._looked_at < moment.seen_from:
            now = self._looked_at + time.monotonic() - self._looked_at_here
            if self._looked_at and now < moment.seen_from:
                raise TooEarlyError
            self._look()
            if self._looked_at < moment.seen_from:
                raise TooEarlyError
        for version in directory_versions.newest(self._versions, moment):
            if (directory := self._load(version)) is not None:
                return directory
        # The stack had one host then; who lives elsewhere now is reached through host 1.
        return self.current.on_one_host()

    def _load(self, version: Version) -> Directory | None:
        """Return a version's directory, or None if it is not valid. Raises AwsError."""
        if version.id not in self._loaded:
            octets = self._store.read_version(self._bucket, self._key, version)
            try:
                directory = Directory.from_json(octets)
            except DirectoryError:
                directory = None
            if directory == self._current:
                # Not twice in memory.
                directory = self._current
            while len(self._loaded) >= _VERSIONS_IN_MEMORY:
                del self._loaded[next(iter(self._loaded))]
            self._loaded[version.id] = directory
        return self._loaded[version.id]

    def _find_change(self) -> StoredObject | None:
        """Return the object if it has changed; with versions, also list them. Raises AwsError."""
        if not self._has_versions:
            return self._store.read_if_changed(self._bucket, self._key, self._etag)
        newest = self._store.newest_version(self._bucket, self._key)
        if self._versions and self._versions[0].id == newest:
            return None
        versions = self._store.versions(self._bucket, self._key)
        if newest not in {each.id for each in versions}:
            raise MissingError("ListObjectVersions", "NoSuchVersion", newest)
        found = self._store.read_if_changed(self._bucket, self._key, self._etag)
        self._versions = versions
        return found

    def _look(self) -> None:
        """Check the object, with `_looking` held. Raises AwsError."""
        began, began_here = time.time(), time.monotonic()
        try:
            found = self._find_change()
        except AwsError as error:
            if self._complained != error.code:
                self._complained = error.code
                maillog.directory_unreachable(str(error), have_one=self._current is not None)
            raise
        self._complained = ""
        if found is not None:
            self._etag = found.etag
            self._is_broken = not self._follow(found)
        answered_at, self._looked_at_here = self._store.answered_at, time.monotonic()
        if answered_at is not None:
            # No later than the begin of this look. The field has whole seconds, rounded down.
            began = answered_at - (self._looked_at_here - began_here)
        self._looked_at = began
        if self._is_broken:
            self._refused()

    def _follow(self, found: StoredObject) -> bool:
        """Put a changed object into use if it is valid. Return whether it was."""
        try:
            directory = Directory.from_json(found.octets)
        except DirectoryError as error:
            maillog.directory_refused(found.etag, str(error))
            return False
        is_new = directory != self._current or not self._available.is_set()
        try:
            self._write(directory, found.octets)
        except OSError as error:
            # It is used anyway: mail need not wait for the files, and the next check writes them
            # again.
            self._etag = ""
            maillog.directory_refused(found.etag, f"cannot be written: {error}")
        else:
            # Also the one in use, when it comes back after a refused one: the log says which.
            is_new = True
        if is_new:
            self._take(directory, found.etag)
        return True

    def run(self, seconds: float, stopping: threading.Event) -> None:
        """Poll until the service stops."""
        while not stopping.is_set():
            self.poll()
            # Without a directory nothing else can be done, so check again soon.
            stopping.wait(seconds if self._current is not None else min(seconds, 2.0))
        self._store.close()

    def _take(self, directory: Directory, etag: str) -> None:
        self._current = directory
        self._available.set()
        maillog.directory_taken(etag, len(directory.mailboxes), len(directory.aliases))

    def _write(self, directory: Directory, document: bytes) -> None:
        for name, render in TABLES.items():
            mode = 0o640 if name == _FOR_DOVECOT else 0o644
            replace_file(os.path.join(self._path, name), render(directory).encode(), mode)
        # Written last; it contains hashes as well, and at the next start it represents all of them.
        replace_file(self._last, document, 0o640)


def replace_file(path: str, octets: bytes, mode: int) -> None:
    """Replace a file atomically, or leave it if nothing would change. Raise OSError."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        if file.read() == octets and os.fstat(file.fileno()).st_mode & 0o777 == mode:
            return
    parent, name = os.path.split(path)
    temporary = os.path.join(parent, f".{name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        os.fchmod(descriptor, mode)
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(octets)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(temporary, path)
    directory = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
