"""One daemon for the desk's service tests, and an account in it for each test module."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from service.desk.account import MailAccount
from service.desk.running import RunningDesk

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDesk]:
    """Provide a running daemon without containers."""
    with RunningDesk.in_directory(tmp_path_factory.mktemp("desk")) as running:
        yield running


@pytest.fixture(scope="module")
def account(desk: RunningDesk, request: pytest.FixtureRequest) -> MailAccount:
    """Bucket, topic and queue of this module, and example.org verified."""
    made = MailAccount(desk, request.module.__name__.rpartition("test_")[2].replace("_", "-"))
    made.make()
    made.domain("example.org")
    return made
