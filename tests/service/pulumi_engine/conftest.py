"""A desk's AWS for the engine's tests, and a program that a test writes itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.desk.running import RunningDesk
from service.pulumi_engine.deployer import Deployer


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDesk]:
    """Provide a running daemon without containers."""
    with RunningDesk.in_directory(tmp_path_factory.mktemp("pulumi")) as running:
        yield running


@pytest.fixture
def deployer(desk: RunningDesk, tmp_path: Path) -> Deployer:
    """Provide a deployer for programs of the test's own."""
    return Deployer(desk, tmp_path)
