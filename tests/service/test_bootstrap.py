"""tools/bootstrap refuses in the first second what cannot work."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
@pytest.mark.parametrize("docker", ["exit 1", "echo podman version 5.4.2"])
def test_podman_without_root_is_refused_before_anything_is_installed(docker: str) -> None:
    """`make run` as a user who has podman alone, also under docker's name (podman-docker)."""
    # Not pytest's own directory, which is root's alone.
    with tempfile.TemporaryDirectory() as name:
        checkout = Path(name)
        (checkout / "tools").mkdir()
        shutil.copy(ROOT / "tools/bootstrap", checkout / "tools")
        (checkout / "docker").write_text(f"#!/bin/sh\n{docker}\n")
        (checkout / "docker").chmod(0o755)
        for folder in (checkout, checkout / "tools"):
            folder.chmod(0o777)
        done = subprocess.run(
            [checkout / "tools/bootstrap", "desk"],
            env={"PATH": f"{checkout}:/usr/bin:/bin"},
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert (69, "") == (done.returncode, done.stdout)
        assert "sudo make run" in done.stderr
        assert {"docker", "tools", ".build"} == {path.name for path in checkout.iterdir()}
