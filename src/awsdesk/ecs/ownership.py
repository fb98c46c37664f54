"""Directories and files with the owners that containers expect.

Root changes owners itself. Other users start a container, whose root may do it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from awsdesk.ecs.engine import Engine


@dataclass(frozen=True)
class Owned:
    """A directory, or a file with its content, and who owns it."""

    path: Path
    uid: int
    gid: int
    mode: int
    content: bytes | None = None


async def apply(wanted: list[Owned], root: Path, engine: Engine, image: str) -> None:
    """Create all of them below `root`.

    `image`: any image with a shell; used only where this process may not change owners.

    Raises:
        OSError: the disk is full or not writable.
        EngineError: the container could not change owners.
    """
    if os.geteuid() == 0:
        for one in wanted:
            _make(one, one.path)
            os.chown(one.path, one.uid, one.gid)
        return
    staging = root / ".staging"
    staging.mkdir(exist_ok=True)
    lines = ["set -e"]
    for number, one in enumerate(wanted):
        target = f"/desk/{one.path.relative_to(root)}"
        if one.content is None:
            lines.append(f'mkdir -p "{target}"')
        else:
            (staging / str(number)).write_bytes(one.content)
            lines.append(f'cp "/desk/.staging/{number}" "{target}"')
        lines.append(f'chown {one.uid}:{one.gid} "{target}"; chmod {one.mode:o} "{target}"')
    lines.append("rm -r /desk/.staging")
    mount = f"type=bind,source={root},target=/desk"
    shell = ["--user", "0", "--entrypoint", "/bin/sh", image, "-c", "; ".join(lines)]
    await engine.call("run", "--rm", "--pull", "never", "--mount", mount, *shell)


def _make(one: Owned, path: Path) -> None:
    if one.content is None:
        path.mkdir(parents=True, exist_ok=True)
    elif not path.exists() or path.read_bytes() != one.content:
        temporary = path.with_name(f".{path.name}.new")
        temporary.write_bytes(one.content)
        temporary.chmod(one.mode)
        os.chown(temporary, one.uid, one.gid)
        temporary.replace(path)
    path.chmod(one.mode)
