"""The task of an import, as ECS runs it: the Dovecot image with its program in front, hardened.

`start` gives a host one container in which all later tasks run, but those with a name of their own:
a container for each would take most of the time.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from postal_plexus.operations.mail_files.sending import MailFiles
from service.container_engine import ROOT, Container
from service.imap_source import AT_ONCE, PASSWORD, PREFIX, USER, ImapSource
from service.mail_host import CAPABILITIES, MailHost

MEMORY = "256m"
# What `maintain` does once it has the job, which on AWS is handed over by SSM.
PROGRAM = """
import sys
from pathlib import Path
from postal_plexus.maintenance import importing, output
said = output.Output(sys.stdout)
said.end(importing.imported(sys.argv[1], Path(sys.argv[2]).read_text(), said, *map(Path, sys.argv[3:])))
"""


EXPORT = """
import sys
from pathlib import Path
from postal_plexus.maintenance import codes, exporting, output
said = output.Output(sys.stdout)
code = 0
try:
    with open(sys.argv[2] + "/mailbox", "wb", buffering=0) as file:
        exporting.export(sys.argv[1], said, file, as_mbox=len(sys.argv) > 3)
except codes.StatusError as error:
    code = said.fail(error.status, str(error))
said.end(code)
"""


FILES = """
import sys
from pathlib import Path
from postal_plexus.maintenance import file_import, output
said = output.Output(sys.stdout)
with open(sys.argv[2] + "/records", "rb") as file:
    said.end(file_import.import_files(sys.argv[1], file, said))
"""
KNOWN = """
import sys
from postal_plexus.maintenance import file_import, mailboxes, output
first = mailboxes.first_address(mailboxes.TABLE.read_text(), sys.argv[1])
files = file_import.FileImports(first)
names = b"".join(file_import.known_names(first, files, again=len(sys.argv) > 2))
said = output.Output(sys.stdout)
said.say("known", names=names.hex())
said.end(0)
"""


@dataclass(frozen=True)
class Done:
    """How a task ended, and what it said."""

    code: int
    lines: list[dict[str, Any]]
    noise: str

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return its lines of one kind."""
        return [line for line in self.lines if line["kind"] == kind]


def start(host: MailHost, below: Path) -> None:
    """Start a container for tasks whose files are all below a directory."""
    options = _options(host, [below])
    command = ["-c", "while :; do sleep 3600 & wait; done"]
    host.containers["tasks"] = Container.run(
        host.engine, host.images["dovecot"], ["--entrypoint=sh", *options, *AT_ONCE], command
    )


def task_words(
    host: MailHost, program: str, paths: Sequence[Path], *arguments: str, name: str = ""
) -> list[str]:
    """Return the command that runs a program in a task beside Dovecot.

    Args:
        host: where.
        program: in Python; the task's memory is empty when it begins.
        paths: directories that it needs, under the same names.
        arguments: of the program.
        name: of a container of its own.
    """
    running = host.containers.get("tasks")
    if running and not name:
        clean = 'rm -rf /run/import /run/plexus/dovecot; exec python3 -c "$0" "$@"'
        return [host.engine.command, "exec", running.id, "sh", "-c", clean, program, *arguments]
    return [
        *(host.engine.command, "run", *([f"--name={name}"] if name else []), "--rm"),
        *(*_options(host, paths), "--entrypoint=python3", host.images["dovecot"]),
        *("-c", program, *arguments),
    ]


def _options(host: MailHost, paths: Sequence[Path]) -> list[str]:
    """Return a task's options for the container engine."""
    usual = {
        f"{host.root}/mail": "/srv/mail",
        f"{host.root}/indexes": "/srv/indexes",
        f"{host.root}/run/dovecot": "/run/plexus/live-dovecot",
        f"{host.root}/run/directory": "/run/plexus/directory:ro",
        f"{ROOT}/src/postal_plexus": "/usr/local/lib/plexus/postal_plexus:ro",
    }
    return [
        *("--network", host.network.name),
        *(f"--add-host={name}:{address}" for name, address in host.names.items()),
        *("--read-only", "--tmpfs=/run:size=8m", "--tmpfs=/tmp:size=16m", "--cap-drop=all"),
        *(f"--cap-add={CAPABILITIES['dovecot']}", "--security-opt=no-new-privileges"),
        *(
            f"--memory={MEMORY}",
            f"--memory-swap={MEMORY}",
            "--env=PLEXUS_HOSTNAME=mail.example.org",
        ),
        *(
            f"--volume={where}:{to}"
            for where, to in (usual | {str(path): str(path) for path in paths}).items()
        ),
        *("--env=PYTHONPATH=/usr/local/lib/plexus", "--env=PYTHONDONTWRITEBYTECODE=1"),
    ]


def words(
    host: MailHost, job: Path, address: str, tree: Path | None = None, name: str = ""
) -> list[str]:
    """Return the command that runs an import's task."""
    within = [f"/srv/mail/{tree.relative_to(host.root / 'mail')}"] if tree else []
    return task_words(host, PROGRAM, [job.parent], address, str(job), *within, name=name)


def export(host: MailHost, address: str, to: Path, *, as_mbox: bool = False) -> Done:
    """Run a task that writes `mailbox` into a directory: a tar, or a zip file of mboxes."""
    return _end(task_words(host, EXPORT, [to], address, str(to), *(["mbox"] if as_mbox else [])))


def known(host: MailHost, address: str, *, again: bool = False) -> set[bytes]:
    """Run a task that says which messages need not come."""
    done = _end(task_words(host, KNOWN, [], address, *(["again"] if again else [])))
    (names,) = (bytes.fromhex(line["names"]) for line in done.of("known"))
    return {names[at : at + 16] for at in range(0, len(names), 16)}


def files_words(
    host: MailHost, to: Path, path: Path, address: str, has: set[bytes], name: str = ""
) -> list[str]:
    """Read files as an operator's tool does; return the command of the task that takes them."""
    files = MailFiles(path, has, {})
    files.survey()
    to.mkdir(exist_ok=True)
    with (to / "records").open("wb") as file:
        file.writelines(files.records())
    return task_words(host, FILES, [to], address, str(to), name=name)


def run_files(host: MailHost, to: Path, path: Path, address: str, has: set[bytes]) -> Done:
    """Bring files to a mailbox."""
    return _end(files_words(host, to, path, address, has))


def write_job(path: Path, **job: object) -> Path:
    """Write a job for the task."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(job))
    return path


def imap_job(path: Path, source: ImapSource, **more: object) -> Path:
    """Write the job of an import from a server."""
    job: dict[str, object] = {
        "kind": "imap",
        "host": source.host,
        "port": 993,
        "tls": "imaps",
        "user": USER,
        "password": PASSWORD,
        "prefix": PREFIX[source.kind],
        "authority": source.authority.read_text(),
    }
    return write_job(path, **(job | more))


def run(host: MailHost, job: Path, address: str, tree: Path | None = None) -> Done:
    """Run a task to its end."""
    return _end(words(host, job, address, tree))


def _end(command: list[str]) -> Done:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return Done(done.returncode or lines[-1]["code"], lines, done.stderr)
