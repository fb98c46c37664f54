"""Where the fault harness can run."""

import os
import shutil

import pytest


@pytest.fixture
def mail_host() -> None:
    """Root and a container engine; skipped on a desk that lacks them, failed in CI."""
    missing = ""
    if os.geteuid() != 0:
        missing = "root (it owns several users' directories and mounts small disks)"
    elif not (shutil.which("podman") or shutil.which("docker")):
        missing = "podman or docker"
    if missing and os.environ.get("CI"):
        pytest.fail(f"the fault harness needs {missing}")
    if missing:
        pytest.skip(f"the fault harness needs {missing}")
