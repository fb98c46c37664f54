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


# What every Debian has, and the script itself calls.
BASIC = (
    "cat",
    "cmp",
    "dirname",
    "grep",
    "id",
    "mkdir",
    "sh",
    "sha256sum",
    "tail",
    "timeout",
    "uname",
)


@pytest.mark.skipif(not Path("/etc/debian_version").exists(), reason="Debian's packages")
@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_what_the_tests_call_is_asked_for_at_once() -> None:
    """In a minimal installation, one command brings all that `make test` needs."""
    with tempfile.TemporaryDirectory() as name:
        checkout = Path(name)
        (checkout / "tools").mkdir()
        (checkout / "bin").mkdir()
        shutil.copy(ROOT / "tools/bootstrap", checkout / "tools")
        for command in BASIC:
            (checkout / "bin" / command).symlink_to(shutil.which(command) or command)
        (checkout / "bin/apt-get").write_text("#!/bin/sh\nexit 1\n")
        (checkout / "bin/apt-get").chmod(0o755)
        for folder in (checkout, checkout / "tools", checkout / "bin"):
            folder.chmod(0o777)
        done = subprocess.run(
            [checkout / "tools/bootstrap", "test"],
            env={"PATH": str(checkout / "bin")},
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
    assert 69 == done.returncode
    _, found, packages = done.stderr.partition("--no-install-recommends ")
    assert found, done.stderr
    assert {"podman", "iproute2", "e2fsprogs", "chromium-headless-shell", "python3-venv"} <= set(
        packages.split()
    )


DOCKER = "#!/bin/sh\necho Docker version 28\n"
# Makes a directory as Python does: what is there stays, unless --clear is said.
PYTHON = """#!/bin/sh
[ "$2" = venv ] || exit 0
[ "$3" != --clear ] || { shift; rm -rf "$3"; }
mkdir -p "$3/bin"
[ -e "$3/half" ] || { printf '#!/bin/sh\\n' >"$3/bin/pip"; chmod 755 "$3/bin/pip"; }
"""


@pytest.mark.parametrize("interrupted", ["while pip was unpacked", "while packages were"])
def test_control_c_in_the_middle_leaves_nothing_half_installed(
    tmp_path: Path, interrupted: str
) -> None:
    """The next `make run` begins the directory of packages anew."""
    for folder in ("tools", "bin", "requirements", ".venv/bin"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(ROOT / "tools/bootstrap", tmp_path / "tools")
    for name in ("requirements/desk.txt", "requirements/dev.txt", "pyproject.toml"):
        (tmp_path / name).touch()
    programs = {"bin/docker": DOCKER, "bin/python3": PYTHON}
    (tmp_path / ".venv/half").touch()
    if interrupted == "while packages were":
        programs[".venv/bin/pip"] = "#!/bin/sh\n"
        (tmp_path / ".venv/.unfinished").touch()
    for name, text in programs.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)

    def run() -> str:
        done = subprocess.run(
            [tmp_path / "tools/bootstrap", "run"],
            env={"PATH": f"{tmp_path}/bin:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert (0, "") == (done.returncode, done.stderr)
        return done.stdout

    assert "Installing Python packages" in run()
    assert not (tmp_path / ".venv/half").exists()
    assert "" == run()
