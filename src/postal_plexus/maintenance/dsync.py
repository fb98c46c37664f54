"""Run Dovecot's own sync (dsync) in a task, on the files of a mailbox.

The programs get the image's configuration without the services and plugins that a task must not
run, the source's address, and its password in a file in the container's memory (0600), never in
arguments or the environment. The only services started, in the task's own memory, are those that
Dovecot needs to resolve names. Raises SyncError.
"""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from postal_plexus.maintenance.codes import AGAIN, DATA, KILLED, REFUSED, StatusError
from postal_plexus.maintenance.import_job import Job
from postal_plexus.maintenance.mailboxes import unescaped
from postal_plexus.maintenance.programs import ENVIRONMENT, run
from postal_plexus.maintenance.staging import VMAIL

_CHANGED = 2  # the mailbox changed meanwhile: retry

SEARCH_PLUGINS = ("fts", "fts_flatcurve", "search_bounds", "search_phrases")
"""A search index is made by the next search; made meanwhile, it would be most of the work."""
PLUGINS = (*SEARCH_PLUGINS, "quota", "lazy_expunge", "expunge_once", "acl")

SPOOL = Path("/run/plexus/live-dovecot/spool")
"""The live Dovecot's temporary files, on the host's disk, as a task sees them."""

SMALL = 1 << 20
# The most messages to fetch ahead, and the memory that they may take; an import is not faster with
# more than twenty.
_AHEAD = (20, 10, 4, 2, 1, 0)
_MEMORY = 150 << 20

_START_SECONDS = 20.0
# Dovecot waits 10 s for a lock. The lock file of a killed process on the mailbox is broken after
# 180 s, by the next process that needs it.
_LOCK_SECONDS = 200.0
_LOCK_PAUSE_SECONDS = 0.2
_LOCKED = re.compile(r"Resource temporarily unavailable|while waiting for (dot)?lock")
_LONGEST_REASON = 400


STAGED = ".staged"
"""The namespace whose folder `all` shows all staged messages, where the source has labels."""


class SyncError(StatusError):
    """Dovecot's program failed.

    Attributes:
        status: its exit status: 75 try again, 77 name or password refused, 65 Dovecot does not
            understand the other server, 137 not enough memory.
    """


class LimitedError(SyncError):
    """The server has reached its own limit for now."""


# Google's messages when the daily 2,500 MB or an account's connections are used up; RFC 5530.
_LATER = re.compile(
    r"bandwidth limits|Too many simultaneous|\[(OVERQUOTA|UNAVAILABLE|INUSE|LIMIT)\]", re.IGNORECASE
)


def failure(status: int, reason: str, said: str = "") -> SyncError:
    """Return the error for a status; a server's own limit is an error to retry. Pure."""
    limit = next((line for line in (reason, *said.splitlines()) if _LATER.search(line)), None)
    if limit is None:
        return SyncError(status, reason)
    return LimitedError(
        AGAIN, f"the server has reached its own limit and sends no more for now: {limit}"
    )


@dataclass(frozen=True)
class Counts:
    """Messages and octets (as IMAP counts them, RFC822.SIZE) of one folder."""

    mails: int
    octets: int


@dataclass(frozen=True)
class Large:
    """A message above `SMALL`: its UID, its number in its folder, and its octets."""

    uid: int
    number: int
    octets: int


def prefetch(folders: Iterable[Sequence[Large]]) -> int:
    """Return how many messages a sync may fetch ahead of the one that it stores. Pure.

    Dovecot keeps them in memory, and 4.8 times the size of the one that it stores. Measured with
    consecutive messages of 38 MB: 182 MB with none ahead, 332 with four, 674 with fourteen.

    Args:
        folders: the large messages of each, in their order.
    """
    given = [list(each) for each in folders]
    largest = max((mail.octets for its in given for mail in its), default=0)

    def need(ahead: int) -> float:
        together = 0
        for its in given:
            first = held = 0
            for mail in its:
                held += mail.octets
                while mail.number - its[first].number > ahead:
                    held -= its[first].octets
                    first += 1
                together = max(together, held)
        return 3.8 * largest + together + SMALL * ahead

    allowed = max(_MEMORY, need(0) + SMALL * _AHEAD[0])
    return next(ahead for ahead in _AHEAD if need(ahead) <= allowed)


def configuration(run: Path, job: Job | None, *, has_labels: bool = False) -> str:
    """Return a task's configuration of Dovecot. Pure.

    Args:
        run: the task's directory, in its own memory.
        job: the source, if it is an IMAP server.
        has_labels: whether messages are in several folders of the source, with one GUID.
    """
    lines = [
        # They must come first, even before the file that contains them.
        "dovecot_config_version = 2.4.0",
        "dovecot_storage_version = 2.4.0",
        "!include /etc/dovecot/dovecot.conf",
        f"base_dir = {run}/dovecot",
        f"state_dir = {run}/dovecot",
        "log_path = /dev/stderr",
        # No clients are served here.
        "protocols {\n  imap = no\n  lmtp = no\n  sieve = no\n}",
        # Fetched messages, twenty at once, are kept here and not in memory while they are stored.
        f"mail_temp_dir = {SPOOL}",
        # Source folders with this name are ordinary folders.
        "namespace shared {\n  disabled = yes\n}",
    ]
    if job is not None and job.kind == "imap":
        lines += [
            f"imapc_host = {_quoted(job.host)}",
            f"imapc_port = {job.port}",
            f"imapc_ssl = {'no' if job.tls == 'none' else job.tls}",
            f"imapc_user = {_quoted(job.user)}",
            f"imapc_password = <{run}/password",
            # Cyrus has METADATA values that Dovecot regards as broken.
            "imapc_features {\n  no-metadata = yes\n}",
            f"ssl_client_ca_file = {run}/authorities.pem",
        ]
        if job.prefix:
            lines.append(f"imapc_list_prefix = {_quoted(job.prefix)}")
    if has_labels:
        # What is staged already, whatever its folder: a sync (-a) takes it from there, instead of
        # fetching it once more.
        lines += [
            "mail_plugins/virtual = yes",
            f"namespace staged {{\n  prefix = {STAGED}/\n  separator = /\n  mail_driver = virtual",
            f"  mail_path = {run}/staged\n  mail_index_path = {run}/staged",
            "  hidden = yes\n  list = no\n  subscriptions = no\n}",
        ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


class Dsync:
    """Dovecot's programs for one mailbox.

    Args:
        address: the mailbox.
        run: a separate directory in the container's memory.
    """

    def __init__(self, address: str, run: Path) -> None:
        self._address = address
        self._run = run
        self.notes = run / "notes"
        # Return large free buffers to the system, as in dovecot.conf.
        freed = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
        self._environment = {**ENVIRONMENT, **freed, "USER": address}

    def configure(self, job: Job | None, *, has_labels: bool = False) -> None:
        """Write the configuration, with the password in a separate file."""
        self._run.mkdir(mode=0o755, parents=True, exist_ok=True)
        # Dovecot's notes about the source, as the mail user; and its temporary locks.
        for path in (self.notes, Path("/run/volatile")):
            path.mkdir(mode=0o700, exist_ok=True)
            os.chown(path, VMAIL, VMAIL)
        # Where Dovecot binds its services' sockets; in a task, the running Dovecot's are elsewhere.
        Path("/run/plexus/dovecot").mkdir(mode=0o755, parents=True, exist_ok=True)
        _provide_pair(Path("/run/tls/pair.pem"))
        self._write("dovecot.conf", configuration(self._run, job, has_labels=has_labels))
        if has_labels:
            for path in (self._run / "staged", self._run / "staged/all"):
                path.mkdir(mode=0o700, exist_ok=True)
                os.chown(path, VMAIL, VMAIL)
            (self._run / "staged/all/dovecot-virtual").write_text("*\n  all\n")
        if job is not None and job.kind == "imap":
            self._write("password", job.password)
            usual = Path("/etc/ssl/certs/ca-certificates.crt").read_text("utf-8")
            self._write("authorities.pem", f"{usual}\n{job.authority}")

    @contextmanager
    def services(self) -> Generator[None]:
        """Run the services that Dovecot needs to reach another server. Raises SyncError."""
        log = self._run / "services.log"
        with log.open("wb") as file:
            dovecot = subprocess.Popen(  # noqa: S603
                ["/usr/sbin/dovecot", "-F", "-c", str(self._run / "dovecot.conf")],
                stdout=file,
                stderr=subprocess.STDOUT,
                env=self._environment,
            )
        try:
            deadline = time.monotonic() + _START_SECONDS
            while not (self._run / "dovecot/dns-client").exists():
                if dovecot.poll() is not None or time.monotonic() > deadline:
                    said = log.read_text("utf-8", "replace")[-_LONGEST_REASON:]
                    raise SyncError(DATA, f"Dovecot does not start: {said}")
                time.sleep(0.05)
            yield
        finally:
            dovecot.send_signal(signal.SIGTERM)
            dovecot.wait()

    def counts(self, settings: Sequence[str]) -> dict[str, Counts]:
        """Return each folder's counts, by its name in Unicode. Raises SyncError."""
        words = ["mailbox", "status", "--no-userdb-lookup", "messages vsize", "*"]
        rows = self.rows(settings, words)
        return {name: Counts(int(mails), int(octets)) for name, mails, octets in rows}

    def large(self, settings: Sequence[str]) -> dict[str, list[Large]]:
        """Return the messages above `SMALL` by folder, in their order. Raises SyncError."""
        fields = "mailbox uid seq size.virtual"
        words = ["fetch", "--no-userdb-lookup", fields, "LARGER", str(SMALL)]
        found: dict[str, list[Large]] = {}
        for name, uid, number, octets in self.rows(settings, words):
            found.setdefault(name, []).append(Large(int(uid), int(number), int(octets)))
        return found

    def rows(self, settings: Sequence[str], words: Sequence[str]) -> list[list[str]]:
        """Return the rows of a command's table, without its heading.

        A command that does not get a lock is retried for a while, so it may run twice.

        Raises:
            SyncError: it failed.
        """
        deadline = time.monotonic() + _LOCK_SECONDS
        while True:
            done = subprocess.run(  # noqa: S603  (words of our own, a job that was checked)
                self._words(["-f", "tab", *options(settings)], words),
                capture_output=True,
                env=self._environment,
                check=False,
            )
            if not done.returncode:
                break
            error = self._error(done.returncode, done.stderr)
            if not _LOCKED.search(str(error)) or time.monotonic() > deadline:
                raise error
            time.sleep(_LOCK_PAUSE_SECONDS)
        lines = done.stdout.decode("utf-8", "replace").splitlines()[1:]
        return [[unescaped(each) for each in line.split("\t")] for line in lines]

    def sync(
        self,
        settings: Sequence[str],
        words: Sequence[str],
        tick: Callable[[], None],
        seconds: float,
    ) -> None:
        """Run a sync to its end, and call `tick` every `seconds`.

        Raises:
            SyncError: it failed. With `AGAIN`, another run continues where it was.
        """
        errors = self._run / "errors"
        with errors.open("wb") as file:
            program = subprocess.Popen(  # noqa: S603
                self._words(options(settings), words),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=self._environment,
            )
        try:
            while True:
                try:
                    status = program.wait(seconds)
                    break
                except subprocess.TimeoutExpired:
                    tick()
        except BaseException:
            program.terminate()
            program.wait()
            raise
        if status:
            raise self._error(status, errors.read_bytes()[-100_000:])

    def _words(self, options: Sequence[str], words: Sequence[str]) -> list[str]:
        return ["doveadm", "-c", str(self._run / "dovecot.conf"), *options, *words]

    def _error(self, status: int, said: bytes) -> SyncError:
        status = 128 - status if status < 0 else status
        if status == KILLED:
            return SyncError(
                status,
                "a message of the source takes more memory than the task may have; what came before"
                " is kept: move the largest messages to a folder of their own there, or remove"
                " them, and run it again",
            )
        lines = [
            re.sub(r"^doveadm\([^)]*\)(<[^>]*>)*: ", "", line)
            for line in said.decode("utf-8", "replace").splitlines()
            if line.strip() and "Debug:" not in line
        ]
        telling = [line for line in lines if re.search(r"Error|Fatal|Panic", line)]
        # Lines that only refer to another log come last.
        causes = [line for line in telling if "Refer to server log" not in line]
        reason = (causes or telling or lines or ["no reason given"])[-1][:_LONGEST_REASON]
        if re.search(r"Authentication failed|AUTHENTICATIONFAILED|Login failed", reason):
            status = REFUSED
        return failure(AGAIN if status == _CHANGED else status, reason, "\n".join(lines))

    def _write(self, name: str, text: str) -> None:
        path = self._run / name
        path.unlink(missing_ok=True)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(file, "w", encoding="utf-8") as opened:
            opened.write(text)


def _provide_pair(path: Path) -> None:
    """Create the key and certificate that the configuration names; no client uses them."""
    if path.exists():
        return
    path.parent.mkdir(mode=0o700, exist_ok=True)
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    words += [
        "-noenc",
        "-subj",
        "/CN=task",
        "-keyout",
        f"{path}.key",
        "-out",
        f"{path}.certificate",
    ]
    run(words)
    path.write_text("".join(Path(f"{path}.{each}").read_text() for each in ("key", "certificate")))


def without(plugins: Sequence[str]) -> list[str]:
    """Return settings without some plugins."""
    return [f"mail_plugins/{each}=no" for each in plugins]


def at(driver: str, path: Path, more: Mapping[str, str] | None = None) -> list[str]:
    """Return settings for mailboxes at another place, with their indexes beside them."""
    own = {"mail_driver": driver, "mail_path": str(path), "mail_index_path": "", **(more or {})}
    return [*without(PLUGINS), *(f"{name}={value}" for name, value in own.items())]


def options(settings: Sequence[str]) -> list[str]:
    """Return settings as arguments of doveadm."""
    return [word for each in settings for word in ("-o", each)]
