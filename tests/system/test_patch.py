"""tools/patch on the desk deploys a new image, and rolls back a broken one.

What it does with ECR and with Debian's archive is in tests/service.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import boto3
import pytest

from loading import tool
from service.container_engine import Engine, engine
from system.desk import Desk


@dataclass
class Running:
    """`deliver` of the desk, as ECS knows it."""

    patch: ModuleType
    ecs: Any
    cluster: str
    service: str

    @property
    def revision(self) -> str:
        """The task definition in service."""
        return str(self.patch.described(self.ecs, self.cluster, self.service)["taskDefinition"])

    @property
    def image(self) -> str:
        """The image of the task definition in service."""
        return str(self.patch.image_of(self.ecs, self.revision))

    def is_well(self) -> bool:
        """Return whether it is in service, healthy."""
        return bool(self.patch.is_settled(self.ecs, self.cluster, self.service, self.revision))


@pytest.fixture(scope="module")
def patch() -> Iterator[ModuleType]:
    """Provide tools/patch as a module."""
    with tool("patch") as module:
        yield module


@pytest.fixture(scope="module")
def running(desk: Desk, patch: ModuleType) -> Iterator[Running]:
    """Provide the service; at the end the revision that Pulumi made is in service again."""
    settings = json.loads((desk.directory / "desk.json").read_text())
    ecs = boto3.client(
        "ecs",
        endpoint_url=f"http://127.0.0.1:{settings['ports']['aws']}",
        region_name=settings["region"],
        aws_access_key_id=settings["root_key_id"],
        aws_secret_access_key=settings["root_secret"],
    )
    (cluster,) = ecs.list_clusters()["clusterArns"]
    services = [arn.rpartition("/")[2] for arn in ecs.list_services(cluster=cluster)["serviceArns"]]
    (service,) = [name for name in services if "deliver" in name]
    found = Running(patch, ecs, cluster, service)
    first = found.revision
    yield found
    ecs.update_service(cluster=cluster, service=service, taskDefinition=first)
    assert patch.settles(ecs, cluster, service, first, 90)


@pytest.fixture(scope="module")
def images(running: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Provide the image in service under another name, and one that ends as it starts."""
    run: Engine = engine()
    tmp_path = tmp_path_factory.mktemp("broken")
    mark = uuid.uuid4().hex[:8]
    made = {kind: f"localhost/postal-plexus/deliver:{kind}-{mark}" for kind in ("good", "bad")}
    run("tag", running.image, made["good"])
    (tmp_path / "Containerfile").write_text(f'FROM {running.image}\nENTRYPOINT ["/bin/false"]\n')
    run("build", "--isolation=chroot", "--quiet", "--tag", made["bad"], str(tmp_path))
    yield made
    run("untag", made["good"], made["good"])
    run("untag", made["bad"], made["bad"])


def test_a_new_image_comes_into_service(running: Running, images: dict[str, str]) -> None:
    """The new revision differs only in the image, and its task is healthy."""
    before = running.ecs.describe_task_definition(taskDefinition=running.revision)
    running.patch.SETTLE_SECONDS = 60
    running.patch.bring(running.ecs, running.cluster, running.service, images["good"])
    assert images["good"] == running.image
    assert running.is_well()
    after = running.ecs.describe_task_definition(taskDefinition=running.revision)
    assert running.patch.revision(before, "") == running.patch.revision(after, "")


def test_a_broken_image_goes_back(
    running: Running, images: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """An image that never becomes healthy is rolled back to the previous revision, with a message."""
    before = running.revision
    running.patch.SETTLE_SECONDS = 20
    with pytest.raises(running.patch.FailedError, match=f"{before} is in service again"):
        running.patch.bring(running.ecs, running.cluster, running.service, images["bad"])
    assert before == running.revision
    assert running.is_well()
    said = [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()]
    assert ["patch.begins", "patch.goes_back"] == said
