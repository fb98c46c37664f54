"""What `plexus local up` makes of what the daemon says, and of what an earlier run left."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import grimp
import pytest

from awsdesk import settings
from awsdesk.layout import DeskLayout
from postal_plexus.desk import desk
from postal_plexus.desk.container_state import cannot_start
from postal_plexus.desk.desk import DeskError


def task(name: str, reason: str, failed: int, *, running: bool = False) -> dict[str, object]:
    """Return a task as the daemon's health has it."""
    return {"task": name, "reason": reason, "failed_starts": failed, "running": running}


def test_a_reason_that_will_not_pass_is_said_once() -> None:
    """Three containers that lack the same thing are one line; what may pass is waited for."""
    lacking = "netavark: nftables error: unable to execute nft"
    said = cannot_start(
        [
            task("dovecot", lacking, 3),
            task("postfix", lacking, 4),
            task("deliver", "waits for the host's directories", 0),
            task("other", "exit code 1", 2),
            task("late", lacking, 3, running=True),
        ]
    )
    assert [f"dovecot, postfix cannot start: {lacking}"] == said


def remember(directory: Path, stack_file: str) -> None:
    """Record a desk that was started with a stack file."""
    layout = DeskLayout.at(directory)
    layout.prepare()
    settings.save(layout.settings, replace(settings.new(layout.name), stack_file=stack_file))


def test_a_desk_remembers_its_stack_file(tmp_path: Path) -> None:
    """The desk's own, or the one that was given; one that has gone is not replaced in silence."""
    assert desk.remembered_stack_file(tmp_path / "new") is None
    remember(tmp_path / "plain", "")
    assert desk.remembered_stack_file(tmp_path / "plain") is None
    mine = tmp_path / "mine.yaml"
    mine.touch()
    remember(tmp_path / "own", str(mine))
    assert mine == desk.remembered_stack_file(tmp_path / "own")
    mine.unlink()
    with pytest.raises(DeskError, match="--stack-file"):
        desk.remembered_stack_file(tmp_path / "own")


def imported(file: Path) -> set[str]:
    """Return the subpackages of ours that a file imports."""
    names = [
        node.module
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module
    ]
    return {name.split(".")[1] for name in names if name.startswith("postal_plexus.")}


def test_a_change_of_what_the_program_is_made_of_is_deployed() -> None:
    """`up` runs the program again if one of the packages changed that it imports, itself or by another."""
    files = [f for f in (desk.CHECKOUT / "pulumi").rglob("*.py") if "venv" not in f.parts]
    direct = set().union(*map(imported, files))
    graph = grimp.build_graph("postal_plexus")
    indirect = {
        module.split(".")[1]
        for package in direct
        for module in graph.find_upstream_modules(f"postal_plexus.{package}", as_package=True)
        if "." in module
    }
    assert direct
    assert direct | indirect <= set(desk.PROGRAM_PACKAGES)
    assert all(
        (desk.CHECKOUT / "src/postal_plexus" / name).is_dir() for name in desk.PROGRAM_PACKAGES
    )
