"""Each image has every module of ours that its programs import, as tools/images chooses them."""

import ast
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import loading
from loading import ROOT, SOURCES
from postal_plexus.maintenance import task

IMAGES = ("certbot", "deliver", "dovecot", "postfix", "web")
# What is started by its name, and not by a program in the image's directory.
STARTED = {
    "certbot": ("postal_plexus.certificates.__main__",),
    "deliver": ("postal_plexus.deliver.__main__",),
    "dovecot": (*task.MODULES["dovecot"], *task.MODULES["restore"]),
    "postfix": task.MODULES["postfix"],
    "web": task.MODULES["calendars"],
}


@pytest.fixture(scope="module")
def tool() -> Iterator[ModuleType]:
    """Provide the program tools/images, loaded."""
    with loading.tool("images") as module:
        yield module


def module_files(name: str) -> list[Path]:
    """Return the files that a name of ours, perhaps of something in a module, may mean."""
    whole, above = (SOURCES / each.replace(".", "/") for each in (name, name.rpartition(".")[0]))
    for path in (whole, above):
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.exists():
                return [file]
    return []


def imported(file: Path) -> Iterator[str]:
    """Yield names of ours that a file imports, without those for type checkers alone."""
    tree = ast.parse(file.read_text())
    for_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names if each.name.startswith("postal_plexus"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("postal_plexus"):
            yield from (f"{node.module}.{each.name}" for each in node.names)


def is_program(file: Path) -> bool:
    """Return whether Python runs a file of an image."""
    return file.suffix == ".py" or b"python3" in file.read_bytes().partition(b"\n")[0]


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_has_what_its_modules_import(tool: ModuleType, image: str) -> None:
    """Otherwise an operator's task or a service ends at its start, in the container alone."""
    files = set(tool.inputs(image).values())
    left = {path for path in files - set(SOURCES.rglob("*")) if is_program(path)}
    left |= {file for name in STARTED.get(image, ()) for file in module_files(name)}
    assert left
    seen: set[Path] = set()
    missing: set[str] = set()
    while left:
        file = left.pop()
        seen.add(file)
        for name in imported(file):
            wanted = set(module_files(name))
            missing |= {f"{file.relative_to(ROOT)} imports {name}" for _ in wanted - files}
            left |= wanted & files - seen
    assert missing == set()
