"""What a process has loaded once it has imported something."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[1] / "src"


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
