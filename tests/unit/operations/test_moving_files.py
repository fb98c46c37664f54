"""Mail from files is sent to the bucket only if the mailbox has room for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import boto3
import pytest
from botocore.stub import ANY, Stubber

from postal_plexus.maintenance.codes import NO_ROOM
from postal_plexus.operations.moving_files import FileImport, Order
from postal_plexus.operations.system import System
from postal_plexus.operations.task import RefusedError, Tasks

ANN = "ann@example.org"


class Told:
    """Tasks whose lines are written down."""

    def __init__(self, **quota: int | None) -> None:
        self.ran: list[str] = []
        known: dict[str, Any] = {"kind": "known", "mails": 0, "pending": 0, "parts": 0}
        self._lines = {"import-known": [known | ({"quota": quota} if quota else {})]}

    def run(
        self, image: str, words: list[str], tell: Callable[[dict[str, Any]], None], *, memory: int
    ) -> None:
        """Give the lines of a verb."""
        assert ("dovecot", 256) == (image, memory)
        self.ran.append(words[0])
        for line in self._lines.get(words[0], ()):
            tell(line)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Stubber:
    """S3 that answers no call but those a test adds."""
    client = boto3.client(
        "s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    monkeypatch.setattr(System, "client", lambda _self, _service: client)
    stub = Stubber(client)
    stub.activate()
    return stub


def imported(tasks: Told, path: Path, **wanted: bool) -> None:
    """Import a file."""
    system = System("main")
    system.__dict__["parts"] = {"bucket": "plexus-main-archive-1"}
    path.write_bytes(b"Subject: x\r\n\r\n" + b"x" * 5_000)
    FileImport(system, cast("Tasks", tasks), Order(ANN, path, {}, **wanted), lambda _: None).run()


@pytest.mark.parametrize("look", [False, True])
def test_what_the_mailbox_has_no_room_for_is_not_sent(
    s3: Stubber, tmp_path: Path, *, look: bool
) -> None:
    """Nothing is uploaded and no task runs; counting alone reports it too."""
    tasks = Told(mails=1, octets=96_000, most=100_000)
    with pytest.raises(RefusedError, match=r"0\.1 MB of 0\.1: with 0\.0 MB more") as refused:
        imported(tasks, tmp_path / "x.eml", look=look)
    assert (NO_ROOM, ["import-known"]) == (refused.value.code, tasks.ran)
    s3.assert_no_pending_responses()


@pytest.mark.parametrize(
    ("quota", "over_quota"),
    [
        ({"mails": 1, "octets": 96_000, "most": 100_000}, True),
        ({"mails": 1, "octets": 96_000, "most": None}, False),
        ({}, False),
    ],
)
def test_what_has_room_is_sent(
    s3: Stubber, tmp_path: Path, quota: dict[str, int | None], *, over_quota: bool
) -> None:
    """Also where it was asked for, and where the host's version does not say what room there is."""
    s3.add_response("list_objects_v2", {})
    for _ in ("the part", "the list"):
        s3.add_response("put_object", {}, {"Bucket": ANY, "Key": ANY, "Body": ANY})
    s3.add_response("list_objects_v2", {})
    tasks = Told(**quota)
    imported(tasks, tmp_path / "x.eml", over_quota=over_quota)
    assert ["import-known", "import-files"] == tasks.ran
    s3.assert_no_pending_responses()
