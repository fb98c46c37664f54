"""One import, timed: by the task of `plexus import`, by one sync of Dovecot, or by mbsync."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.imports.source import FOLDERS
from benchmarks.mailhost.engine import ControlGroup
from service import imap_source, import_task
from service.imap_source import USER
from service.mail_host import HOSTNAME, PASSWORD, MailHost

if TYPE_CHECKING:
    from service.imap_source import ImapSource

# Dovecot's sync straight into the mailbox, in the same container: what `plexus import` cannot be
# faster than. It cannot be repeated (docs/import-export.md).
ONE_STEP = """
import sys
from pathlib import Path
from postal_plexus.maintenance import dsync, import_job
job = import_job.read_job(Path(sys.argv[2]).read_text())
made = dsync.Dsync(sys.argv[1], Path("/run/import"))
made.configure(job)
settings = [*dsync.without(dsync.SEARCH_PLUGINS), "mail_prefetch_count=20"]
words = ["backup", "-R", "--no-userdb-lookup", "-I", "41943040", "imapc:"]
with made.services():
    made.sync(settings, words, lambda: None, 60.0)
"""
# As mbsync has them.
NAMES = " ".join('"{}"'.format(each.lstrip(".").replace(".", "/")) for each in FOLDERS)
_SAMPLE_SECONDS = 0.05


@dataclass
class Taken:
    """What one run took.

    Attributes:
        seconds: from its start to its end, with the container's.
        samples: seconds since the start, and MB of the task that are not page cache.
        processor: seconds of processor time of the task.
    """

    seconds: float = 0.0
    samples: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    processor: float = 0.0

    def peak(self, first: float = 0.0, last: float = 1.0) -> float:
        """Return the most MB within a part of the run's time."""
        within = [
            megabytes
            for at, megabytes in self.samples
            if first * self.seconds <= at <= last * self.seconds
        ]
        return max(within, default=0.0)


def imported(host: MailHost, job: Path, address: str, kill_at: int = 0) -> Taken:
    """Run the task of `plexus import`; with `kill_at` messages staged it is killed."""
    return _watched(host, import_task.words(host, job, address, name=_name()), kill_at)


def one_step(host: MailHost, job: Path, address: str) -> Taken:
    """Run Dovecot's sync from the source straight into the mailbox, once."""
    command = import_task.task_words(host, ONE_STEP, [job.parent], address, str(job), name=_name())
    return _watched(host, command, 0)


def _name() -> str:
    return f"bench-import-{os.getpid()}-{time.monotonic_ns()}"


def _watched(host: MailHost, command: list[str], kill_at: int) -> Taken:
    name = next(word for word in command if word.startswith("--name=")).partition("=")[2]
    taken, ended = Taken(), threading.Event()
    begun = time.monotonic()
    task = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def watch() -> None:
        pid = 0
        while not pid and not ended.wait(_SAMPLE_SECONDS):
            shown = [host.engine.command, "inspect", "--format", "{{.State.Pid}}", name]
            told = subprocess.run(shown, capture_output=True, text=True, check=False).stdout.strip()
            pid = int(told or 0)
        staging = host.root / "mail/.import"
        try:
            group = ControlGroup.of(pid)
            while not ended.wait(_SAMPLE_SECONDS):
                at = time.monotonic() - begun
                taken.samples.append((at, group.anonymous() / 1e6))
                taken.processor = group.processor_seconds()
                if kill_at and sum(1 for _ in staging.rglob("u.*")) > kill_at:
                    os.kill(pid, signal.SIGKILL)
                    return
        except OSError:
            return  # it has ended

    watching = threading.Thread(target=watch)
    watching.start()
    said = task.communicate()[0]
    taken.seconds = time.monotonic() - begun
    ended.set()
    watching.join()
    if bool(task.returncode) != bool(kill_at):
        raise SystemExit(f"the import ended with {task.returncode}: {said[-2000:]}")
    return taken


def mirrored(host: MailHost, source: ImapSource, address: str) -> Taken:
    """Run mbsync between the same two servers, by IMAP on both sides."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        trusted = root / "trusted.pem"
        ours = host.root / "tls/certificate.pem"
        trusted.write_text(source.authority.read_text() + ours.read_text())
        near = host.containers["dovecot"].port(993)
        sides = {
            "far": (source.host, source.container.port(993), USER, imap_source.PASSWORD),
            "near": (HOSTNAME, near, address, PASSWORD),
        }
        text = "".join(
            f'IMAPAccount {side}\nHost {name}\nPort {port}\nUser {user}\nPass "{password}"\n'
            f"SSLType IMAPS\nCertificateFile {trusted}\nPipelineDepth 50\n\n"
            f"IMAPStore {side}\nAccount {side}\n\n"
            for side, (name, port, user, password) in sides.items()
        )
        text += f"Channel all\nFar :far:\nNear :near:\nPatterns {NAMES}\nCreate Near\nSync Pull\n"
        text += f"CopyArrivalDate yes\nSyncState {root}/\n"
        (root / "rc").write_text(text)
        # mbsync insists on the certificates' names, which lead here in its own view of /etc/hosts.
        (root / "hosts").write_text(f"127.0.0.1 localhost {source.host} {HOSTNAME}\n")
        within = 'mount --bind "$1/hosts" /etc/hosts && exec mbsync -q -c "$1/rc" all'
        begun = time.monotonic()
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", within, "sh", root],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"mbsync failed: {done.stderr[-2000:]}")
        return Taken(time.monotonic() - begun)
