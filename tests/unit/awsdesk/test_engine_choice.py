"""Which container engine a desk takes, and which it refuses before anything is started."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from awsdesk.ecs import engine
from awsdesk.ecs.engine import NoEngineError
from awsdesk.ecs.run_command import Kind


@pytest.fixture
def podman_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Provide a PATH with podman, and a docker whose daemon does not answer."""
    for name, status in (("podman", 0), ("docker", 1)):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\nexit {status}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")


@pytest.mark.usefixtures("podman_only")
def test_podman_of_root_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker without its daemon is none."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert Kind.PODMAN == engine.find().kind


@pytest.mark.usefixtures("podman_only")
def test_podman_without_root_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """At once: its containers could not reach the emulated AWS."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NoEngineError, match="sudo"):
        engine.find()
