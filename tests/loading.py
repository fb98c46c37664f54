"""What a process has loaded once it has imported something; and programs of tools/ as modules."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "src"


def loaded_by(*modules: str, options: tuple[str, ...] = ()) -> set[str]:
    """Return all modules that a new interpreter, with these options, holds after importing some."""
    code = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    return set(
        subprocess.run(
            [sys.executable, *options, "-c", code],
            env={**os.environ, "PYTHONPATH": str(SOURCES)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()
    )


@contextmanager
def tool(name: str) -> Iterator[ModuleType]:
    """Load the program tools/`name`, whose file has no suffix, for the time of the block."""
    known_as = f"tools_{name}"
    spec = spec_from_loader(known_as, SourceFileLoader(known_as, str(ROOT / "tools" / name)))
    assert spec
    module = module_from_spec(spec)
    path = list(sys.path)
    # Its dataclasses look their module up.
    sys.modules[known_as] = module
    try:
        assert spec.loader
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path[:] = path
        del sys.modules[known_as]
