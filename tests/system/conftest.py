"""One desk for all system tests: started once, in a directory of its own, on free ports."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from system.desk import Desk


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """The running system. It is stopped, with its containers, when the session ends."""
    running = Desk(tmp_path_factory.mktemp("desk") / "desk")
    try:
        running.up()
        yield running
    finally:
        running.down()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first system test starts the desk, which takes longer than a test may."""
    for item in items:
        if "system" in item.path.parts and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(300))
