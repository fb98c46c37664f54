"""Who runs these tests: root, with QEMU. Elsewhere an error under CI, else a skip."""

import os
import shutil

import pytest


@pytest.fixture(scope="session", autouse=True)
def machine() -> None:
    """Only root can make network namespaces and a root file system's owners."""
    why = ""
    if os.geteuid() != 0:
        why = "virtual machines with networks need root"
    elif shutil.which("qemu-system-x86_64") is None:
        why = "QEMU is not installed: run it by `make test-host`"
    if why and os.environ.get("CI"):
        pytest.fail(why)
    if why:
        pytest.skip(why)
