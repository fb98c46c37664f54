"""Where a desk's files are on disk, and the names derived from its directory.

The desk directory is private (0700): it holds the emulated account's secrets. Names of containers,
networks and volumes carry a short hash of the directory's path, so that two desks run side by side.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from awsdesk import naming

DEFAULT_DESK = Path(".desk")
_MARK_TEXT = f"A desk of {naming.SYSTEM}. `{naming.COMMAND} down --destroy` removes it.\n"


class Use(Enum):
    """What a directory is to a desk."""

    MISSING = "missing"
    EMPTY = "empty"
    DESK = "desk"
    FOREIGN = "foreign"


@dataclass(frozen=True)
class DeskLayout:
    """The paths below one desk directory."""

    root: Path

    @classmethod
    def at(cls, directory: Path) -> DeskLayout:
        """Return the layout of a desk directory, absolute and without symbolic links."""
        return cls(directory.expanduser().resolve())

    @property
    def name(self) -> str:
        """Return a name that only this desk's directory has on this machine."""
        return f"{naming.PREFIX}-{hashlib.sha256(os.fsencode(self.root)).hexdigest()[:8]}"

    @property
    def mark(self) -> Path:
        """The file that makes the directory a desk."""
        return self.root / f"{naming.PREFIX}-desk"

    def use(self) -> Use:
        """Return what the directory is now.

        Raises:
            OSError: it cannot be read, or is not a directory.
        """
        try:
            names = {entry.name for entry in os.scandir(self.root)}
        except FileNotFoundError:
            return Use.MISSING
        if not names:
            return Use.EMPTY
        # A desk of an older version has no mark, but these two and its settings.
        is_old = {self.settings.name, self.aws.name, self.ses.name} <= names
        return Use.DESK if self.mark.name in names or is_old else Use.FOREIGN

    def is_made(self, name: str) -> bool:
        """Return whether an entry of the directory is one that a desk creates."""
        replaced = (self.settings, self.accounts, self.stack_state, self.outputs, self.page)
        replaced = (*replaced, self.instances)
        locks = (self.lock, self.page_lock)
        made = {one.name for one in (self.mark, *locks, *replaced, *self._directories())}
        # Also what a killed process left of a file that it was replacing.
        return (
            name in made
            or re.fullmatch(rf"{self.host.name}-\d+", name) is not None
            or any(name.startswith(f".{one.name}.") for one in replaced)
        )

    def remove(self) -> tuple[Path, ...]:
        """Remove what the desk made, and the directory if nothing else is in it.

        Links are removed, not followed. Return what remains because the desk did not create it.

        Raises:
            OSError: something cannot be removed; what is left is still a desk.
        """
        entries = sorted(self.root.iterdir(), key=lambda entry: entry == self.mark)
        for entry in entries:
            if not self.is_made(entry.name):
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        kept = tuple(entry for entry in entries if not self.is_made(entry.name))
        if not kept:
            self.root.rmdir()
        return kept

    @property
    def settings(self) -> Path:
        """Ports, keys and network of the desk (`DeskSettings`)."""
        return self.root / "desk.json"

    @property
    def accounts(self) -> Path:
        """The generated passwords of the mailboxes."""
        return self.root / "accounts.json"

    @property
    def stack_state(self) -> Path:
        """What the Pulumi program has made in the emulator."""
        return self.root / "stack-state.json"

    @property
    def outputs(self) -> Path:
        """The stack's outputs of the last deployment."""
        return self.root / "stack-outputs.json"

    @property
    def lock(self) -> Path:
        """Held by the running daemon; has its process id."""
        return self.root / "daemon.pid"

    @property
    def page(self) -> Path:
        """The address of the page that shows this desk (0600)."""
        return self.root / "page.json"

    @property
    def page_lock(self) -> Path:
        """Held by the process that serves the page; has its process id."""
        return self.root / "page.pid"

    @property
    def logs(self) -> Path:
        """The daemon's log and one log a service."""
        return self.root / "log"

    @property
    def aws(self) -> Path:
        """The emulator's state."""
        return self.root / "aws"

    @property
    def ses(self) -> Path:
        """What the SES stand-in remembers, and the faults that are injected into it."""
        return self.root / "ses"

    @property
    def outbox(self) -> Path:
        """Mail that left for other domains."""
        return self.root / "outbox"

    @property
    def authority(self) -> Path:
        """The desk's certificate authority and its certificates."""
        return self.root / "ca"

    @property
    def ca_file(self) -> Path:
        """The certificate that mail clients of the desk have to trust."""
        return self.authority / "ca.pem"

    @property
    def ca_bundle(self) -> Path:
        """The host's certificates with the desk's added: what containers see."""
        return self.authority / "bundle.pem"

    @property
    def host(self) -> Path:
        """The part of the host's file system that tasks mount, `/` of the desk's EC2 host.

        Other hosts have such a directory each, with their number (`host_path`).
        """
        return self.root / "host"

    @property
    def efs(self) -> Path:
        """The file systems, one directory each."""
        return self.root / "efs"

    @property
    def backups(self) -> Path:
        """The recovery points of the file systems: a directory and a description each."""
        return self.root / "backups"

    @property
    def tasks(self) -> Path:
        """What the agent writes for containers it starts (environment files, 0600)."""
        return self.root / "tasks"

    @property
    def instances(self) -> Path:
        """The EC2 hosts by their clusters (`Instances`)."""
        return self.root / "instances.json"

    def host_path(self, path: str, number: int = 1) -> Path:
        """Return the desk's place for an absolute path of an EC2 host."""
        root = self.host.with_name(naming.of_host(self.host.name, number))
        return root.joinpath(*Path(path).parts[1:])

    def _directories(self) -> tuple[Path, ...]:
        return (
            *(self.logs, self.aws, self.ses, self.outbox, self.authority),
            *(self.host, self.efs, self.backups, self.tasks),
        )

    def prepare(self) -> None:
        """Create the directories that must exist before anything runs."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.root.chmod(0o700)
        self.mark.write_text(_MARK_TEXT, encoding="utf-8")
        for directory in self._directories():
            directory.mkdir(exist_ok=True)
        # Containers access their mounts as other users, who may traverse these two but not list
        # them.
        for directory in (self.host, self.efs):
            directory.chmod(0o755)
