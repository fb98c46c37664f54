"""What `deliver` loads, which decides about its start-up and its memory."""

import os
import subprocess
import sys
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[3] / "src"
# Each with what it brings along costs milliseconds of 80 and hundreds of kilobytes of 24 MB.
DEAR = {
    "argparse",
    "asyncio",
    "dataclasses",
    "decimal",
    "email",
    "http",
    "inspect",
    "logging",
    "random",
    "ssl",
    "subprocess",
    "tempfile",
    "traceback",
    "urllib.request",
}


def test_the_service_loads_nothing_dear() -> None:
    """What all of `deliver` needs is loaded at its start, and nothing that is big or slow is."""
    modules = ("service", "echoing", "forwarding")
    imports = ", ".join(f"postal_plexus.deliver.{name}" for name in modules)
    loaded = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys, {imports}; print(*sys.modules)"],
        env={**os.environ, "PYTHONPATH": str(SOURCES)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert "postal_plexus.deliver.service" in loaded
    assert set() == DEAR & set(loaded)
