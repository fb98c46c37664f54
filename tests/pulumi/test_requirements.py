"""What a user installs for `pulumi up` is all that the program needs, and what that needs in turn."""

import ast
import re
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from registrations import PROGRAM, REPOSITORY

sys.path.insert(0, str(PROGRAM))
from deployment import source

SOURCES = REPOSITORY / "src"


def imported(file: Path) -> Iterator[str]:
    """Return the modules that a file imports, except under `if TYPE_CHECKING:`."""
    nodes: list[ast.AST] = [ast.parse(file.read_text())]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            nodes += node.orelse
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file} imports relatively, which this does not follow"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        nodes += ast.iter_child_nodes(node)


def files_of(module: str) -> Iterator[Path]:
    """Yield a module of ours, with the packages that it is in."""
    parts = module.split(".")
    for length in range(1, len(parts) + 1):
        path = SOURCES.joinpath(*parts[:length])
        for file in (path / "__init__.py", path.with_suffix(".py")):
            if file.is_file():
                yield file


def foreign(files: list[Path], seen: set[Path] | None = None) -> set[str]:
    """Return the top-level names of what these files import, and what of ours they import does.

    `seen` gets the files of ours.
    """
    seen = set(files) if seen is None else seen
    found, waiting = set[str](), list(files)
    while waiting:
        for module in imported(waiting.pop()):
            ours = set(files_of(module)) - seen
            seen.update(ours)
            waiting += ours
            found.add(module.partition(".")[0])
    return found - sys.stdlib_module_names - {"postal_plexus", "deployment", "rules"}


def locked(requirements: Path) -> set[str]:
    """Return the distributions that a requirements file names."""
    names = re.findall(r"^([A-Za-z0-9._-]+)==", requirements.read_text(), re.MULTILINE)
    return set(map(canonicalize_name, names))


def needed(distributions: set[str]) -> set[str]:
    """These, and what they need here, and so on (without their extras)."""
    found, waiting = set(), set(distributions)
    while waiting:
        name = canonicalize_name(waiting.pop())
        found.add(name)
        for text in requires(name) or []:
            requirement = Requirement(text)
            if not requirement.marker or requirement.marker.evaluate({"extra": ""}):
                waiting |= {canonicalize_name(requirement.name)} - found
    return found


def test_the_weekly_doctor_has_what_it_imports() -> None:
    """Its packed source holds every module of ours, its requirements every other."""
    begin = SOURCES / "postal_plexus" / "operations" / "weekly.py"
    seen = {begin}
    assert {"boto3", "botocore"} == foreign([begin], seen)
    assert set() == seen - set(source.files(source.DOCTOR))
    assert set() == needed({"boto3"}) - locked(REPOSITORY / "requirements" / "patch.txt")


@pytest.mark.parametrize(
    ("files", "requirements"),
    [
        (
            # tools/push runs in the program's environment.
            [PROGRAM / "__main__.py", *(PROGRAM / "deployment").glob("*.py")]
            + [REPOSITORY / "tools" / "push"],
            PROGRAM / "requirements.txt",
        ),
        ([*(PROGRAM / "policies").glob("*.py")], PROGRAM / "policies" / "requirements.txt"),
    ],
    ids=["program", "policies"],
)
def test_requirements_cover_what_is_imported(files: list[Path], requirements: Path) -> None:
    """No import fails on a user's machine, and pip finds each package's own needs among the hashes."""
    names = foreign(files)
    assert "pulumi" in {name.partition("_")[0] for name in names}
    installed = packages_distributions()
    assert set() == {name for name in names if name not in installed}
    distributions = {canonicalize_name(installed[name][0]) for name in names}
    assert set() == needed(distributions) - locked(requirements)


def test_a_missing_package_would_be_found() -> None:
    """Names are followed through our own modules, and the needs of packages through theirs."""
    program = PROGRAM / "deployment" / "program.py"
    assert "idna" not in set(imported(program))
    assert "idna" in foreign([program])
    assert "grpcio" in needed({"pulumi-aws"})
