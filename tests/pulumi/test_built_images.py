"""What `pulumi up` says when Debian's security archive does not answer."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import pulumi

ROOT = Path(__file__).resolve().parents[2]


def test_an_archive_that_is_away_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The images are named all the same, and the warning reaches the operator."""
    monkeypatch.syspath_prepend(ROOT / "pulumi")
    from deployment import images

    for folder in ("containers", "src/postal_plexus", "requirements", "tools"):
        shutil.copytree(
            ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    warnings: list[str] = []
    monkeypatch.setattr(images, "ROOT", tmp_path)
    monkeypatch.setattr(pulumi, "warn", warnings.append)
    monkeypatch.setenv("PLEXUS_SECURITY_ARCHIVE", "http://127.0.0.1:9/")
    named = images.built_images("arm64")
    assert set(images.NAMES) == named.keys()
    (warning,) = warnings
    assert "does not answer" in warning
