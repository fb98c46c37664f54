"""Dovecot's own sync (dsync), run by a task on the files of a mailbox.

The programs get the image's configuration with the services and plugins left out that a task must
not have, the source's address, and its password in a file of the container's memory (0600): never
as a word of a command or in an environment. Only what Dovecot itself needs to resolve names is
started, in the task's own memory. Fails with SyncError.
"""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from postal_plexus.maintenance.codes import AGAIN, DATA, REFUSED
from postal_plexus.maintenance.import_job import Job
from postal_plexus.maintenance.mailboxes import unescaped
from postal_plexus.maintenance.programs import ENVIRONMENT, run
from postal_plexus.maintenance.staging import VMAIL

LARGEST = 40 * 1024 * 1024
"""Octets of a mail that a mailbox takes (quota_mail_size, and SES)."""

_CHANGED = 2  # the mailbox changed meanwhile: again

SEARCH_PLUGINS = ("fts", "fts_flatcurve", "search_bounds", "search_phrases")
"""A search index is made by the next search; made meanwhile, it would be most of the work."""
PLUGINS = (*SEARCH_PLUGINS, "quota", "lazy_expunge", "expunge_once", "acl")

_START_SECONDS = 20.0
_LONGEST_REASON = 400


class SyncError(Exception):
    """Dovecot's program failed.

    Attributes:
        status: its exit status: 75 try again, 77 name or password refused, 65 the other side says
            what Dovecot does not understand, 137 not enough memory.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class Counts:
    """Mails and octets (as IMAP counts them, RFC822.SIZE) of one folder."""

    mails: int
    octets: int


def configuration(run: Path, job: Job | None) -> str:
    """Return a task's configuration of Dovecot. Pure.

    Args:
        run: the task's directory, in its own memory.
        job: the source, where it is an IMAP server.
    """
    lines = [
        # They must come first, also before a file that has them.
        "dovecot_config_version = 2.4.0",
        "dovecot_storage_version = 2.4.0",
        "!include /etc/dovecot/dovecot.conf",
        f"base_dir = {run}/dovecot",
        f"state_dir = {run}/dovecot",
        "log_path = /dev/stderr",
        # Nobody is served here.
        "protocols {\n  imap = no\n  lmtp = no\n  sieve = no\n}",
        "mail_temp_dir = /tmp",
        # Folders of the source that are called so are folders like others.
        "namespace shared {\n  disabled = yes\n}",
    ]
    if job is not None and job.kind == "imap":
        features = ["no-metadata", *(["gmail-migration"] if job.gmail else [])]
        lines += [
            f"imapc_host = {_quoted(job.host)}",
            f"imapc_port = {job.port}",
            f"imapc_ssl = {'no' if job.tls == 'none' else job.tls}",
            f"imapc_user = {_quoted(job.user)}",
            f"imapc_password = <{run}/password",
            # Cyrus has METADATA whose values Dovecot takes for broken.
            "imapc_features {\n" + "".join(f"  {each} = yes\n" for each in features) + "}",
            # So many mails are asked for at once; more takes memory and no less time.
            "mail_prefetch_count = 20",
            f"ssl_client_ca_file = {run}/authorities.pem",
        ]
        if job.prefix:
            lines.append(f"imapc_list_prefix = {_quoted(job.prefix)}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


class Dsync:
    """Dovecot's programs for one mailbox.

    Args:
        address: the mailbox.
        run: an own directory in the container's memory.
    """

    def __init__(self, address: str, run: Path) -> None:
        self._address = address
        self._run = run
        self.notes = run / "notes"
        self._environment = {**ENVIRONMENT, "USER": address}

    def configure(self, job: Job | None) -> None:
        """Write the configuration, with the password in a file of its own."""
        self._run.mkdir(mode=0o755, parents=True, exist_ok=True)
        # What Dovecot notes of the source, as the mail user; and its locks that outlive nothing.
        for path in (self.notes, Path("/run/volatile")):
            path.mkdir(mode=0o700, exist_ok=True)
            os.chown(path, VMAIL, VMAIL)
        # Where Dovecot binds the sockets of its services; the live one's are elsewhere in a task.
        Path("/run/plexus/dovecot").mkdir(mode=0o755, parents=True, exist_ok=True)
        _provide_pair(Path("/run/tls/pair.pem"))
        self._write("dovecot.conf", configuration(self._run, job))
        if job is not None and job.kind == "imap":
            self._write("password", job.password)
            usual = Path("/etc/ssl/certs/ca-certificates.crt").read_text("utf-8")
            self._write("authorities.pem", f"{usual}\n{job.authority}")

    @contextmanager
    def services(self) -> Generator[None]:
        """Run what Dovecot needs to reach another server. Raises SyncError."""
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
        """Return what each folder holds, by its name in Unicode. Raises SyncError."""
        words = ["mailbox", "status", "--no-userdb-lookup", "messages vsize", "*"]
        rows = self.rows(settings, words)
        return {name: Counts(int(mails), int(octets)) for name, mails, octets in rows}

    def too_large(self, settings: Sequence[str]) -> dict[str, list[tuple[int, int]]]:
        """Return UID and octets of the mails that no mailbox takes, by folder. Raises SyncError."""
        words = ["fetch", "--no-userdb-lookup", "mailbox uid size.virtual", "LARGER", str(LARGEST)]
        found: dict[str, list[tuple[int, int]]] = {}
        for name, uid, octets in self.rows(settings, words):
            found.setdefault(name, []).append((int(uid), int(octets)))
        return found

    def rows(self, settings: Sequence[str], words: Sequence[str]) -> list[list[str]]:
        """Return the rows of a command's table, without its heading. Raises SyncError."""
        done = subprocess.run(  # noqa: S603  (words of our own, a job that was checked)
            self._words(["-f", "tab", *options(settings)], words),
            capture_output=True,
            env=self._environment,
            check=False,
        )
        if done.returncode:
            raise self._error(done.returncode, done.stderr)
        lines = done.stdout.decode("utf-8", "replace").splitlines()[1:]
        return [[unescaped(each) for each in line.split("\t")] for line in lines]

    def sync(
        self,
        settings: Sequence[str],
        words: Sequence[str],
        tick: Callable[[], None],
        seconds: float,
    ) -> None:
        """Run a sync to its end, with a call of `tick` each `seconds`.

        Raises:
            SyncError: it failed. `AGAIN`: run it again, and it goes on where it was.
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
        lines = [
            re.sub(r"^doveadm\([^)]*\)(<[^>]*>)*: ", "", line)
            for line in said.decode("utf-8", "replace").splitlines()
            if line.strip() and "Debug:" not in line
        ]
        telling = [line for line in lines if re.search(r"Error|Fatal|Panic", line)]
        # What only says that something is said elsewhere comes last.
        causes = [line for line in telling if "Refer to server log" not in line]
        reason = (causes or telling or lines or ["no reason given"])[-1][:_LONGEST_REASON]
        if re.search(r"Authentication failed|AUTHENTICATIONFAILED|Login failed", reason):
            status = REFUSED
        return SyncError(AGAIN if status == _CHANGED else status, reason)

    def _write(self, name: str, text: str) -> None:
        path = self._run / name
        path.unlink(missing_ok=True)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(file, "w", encoding="utf-8") as opened:
            opened.write(text)


def _provide_pair(path: Path) -> None:
    """Make the key and certificate that the configuration names; nobody will see them."""
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
    """Return settings that leave plugins out."""
    return [f"mail_plugins/{each}=no" for each in plugins]


def at(driver: str, path: Path, more: Mapping[str, str] | None = None) -> list[str]:
    """Return settings for mailboxes at another place, with their indexes beside them."""
    own = {"mail_driver": driver, "mail_path": str(path), "mail_index_path": "", **(more or {})}
    return [*without(PLUGINS), *(f"{name}={value}" for name, value in own.items())]


def options(settings: Sequence[str]) -> list[str]:
    """Return settings as words of doveadm."""
    return [word for each in settings for word in ("-o", each)]
