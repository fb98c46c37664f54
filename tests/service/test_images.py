"""tools/images: an image's tag follows its content, and what is missing is named with its remedy."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Provide what the images are built from, in a copy that a test may change."""
    skip = shutil.ignore_patterns("__pycache__")
    for folder in ("containers", "src"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=skip)
    # What Debian offered when the images here were built.
    (tmp_path / ".build").mkdir()
    for known in (ROOT / ".build").glob("security-*.json"):
        shutil.copy(known, tmp_path / ".build")
    for file in ("tools/images", "tools/debian_security.py"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    return tmp_path


def run(checkout: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the tool of a checkout."""
    return subprocess.run(
        [sys.executable, str(checkout / "tools/images"), *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def tags(checkout: Path, **environment: str) -> dict[str, str]:
    """Return the images' whole names."""
    return json.loads(run(checkout, "--tags", **environment).stdout)


@pytest.mark.parametrize(
    ("file", "changed"),
    [
        ("containers/dovecot/dovecot.conf", {"dovecot"}),
        ("containers/postfix/submission-guard", {"postfix"}),
        ("containers/shared/follow-certificate", {"dovecot", "postfix", "web"}),
        ("containers/web/nginx.conf", {"web"}),
        ("containers/shared/memory-short", {"dovecot", "postfix", "web"}),
        ("src/postal_plexus/mail/envelope.py", {"deliver"}),
        ("src/postal_plexus/deliver/service.py", {"deliver"}),
        ("src/awsdesk/layout.py", set()),
        ("src/postal_plexus/desk/status.py", set()),
        ("containers/containers.conf", set()),
    ],
)
def test_tag_follows_the_content(checkout: Path, file: str, changed: set[str]) -> None:
    """A changed file changes the tag of the images that hold it, and of no other."""
    before = tags(checkout)
    with (checkout / file).open("a") as text:
        text.write("\n# changed\n")
    after = tags(checkout)
    assert {name for name in before if before[name] != after[name]} == changed


def test_tag_is_the_same_in_every_checkout(checkout: Path) -> None:
    """The place of the files and their times are not part of the tag."""
    assert tags(checkout) == tags(ROOT)


def test_architectures_never_share_a_tag(checkout: Path) -> None:
    """An image for arm64 is not taken for one for amd64."""
    amd64, arm64 = tags(checkout, ARCH="amd64"), tags(checkout, ARCH="arm64")
    assert set(amd64.values()) & set(arm64.values()) == set()


def test_unknown_architecture_is_refused(checkout: Path) -> None:
    """ARCH is checked before anything is built."""
    done = run(checkout, ARCH="sparc")
    assert (done.returncode, done.stderr) == (
        2,
        "images: ARCH must be one of amd64, arm64, not sparc\n",
    )


def test_missing_engine_is_named_with_its_remedy(checkout: Path) -> None:
    """Without Docker and podman the tool says what to install."""
    done = run(checkout, PATH="/nonexistent")
    assert done.returncode == 2
    assert "apt-get install podman" in done.stderr
