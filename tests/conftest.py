"""How the tests are shared out among processes."""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A file's tests stay together, since they share a container; all system tests share one desk."""
    for item in items:
        place = item.path.relative_to(TESTS)
        group = "system" if place.parts[0] == "system" else str(place)
        item.add_marker(pytest.mark.xdist_group(group))
