"""tools/patch with several hosts: one after the other, and a failure ends it."""
# ruff: noqa: ARG002, N803  AWS's names

import json
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from loading import tool

SERVICES = ("deliver", "dovecot", "postfix")


@pytest.fixture(scope="module")
def patch() -> Iterator[ModuleType]:
    """Provide tools/patch as a module."""
    with tool("patch") as module:
        yield module


class Ecs:
    """The ECS of a stack: services and families with their images; each new revision has one."""

    def __init__(self, told: dict[str, Any], *, fails: str = "") -> None:
        """Put the image `IMAGE@old` into service everywhere; the service `fails` never gets well."""
        others = told["other_hosts"]
        self.images = {f"{image}:1": f"url/{image}@old" for image in told["tasks"]}
        self.services = dict.fromkeys(told["services"].values(), "")
        for image, name in told["services"].items():
            self.services[name] = f"{name}:1"
            self.images[f"{name}:1"] = f"url/{image}@old"
        for _, certbot, *names in others:
            self.images[f"{certbot}:1"] = "url/certbot@old"
            for image, name in zip(SERVICES, names, strict=True):
                self.services[name] = f"{name}:1"
                self.images[f"{name}:1"] = f"url/{image}@old"
        self.families = {reference.rpartition(":")[0]: reference for reference in self.images}
        self.fails = fails
        self.updated: list[tuple[str, str]] = []

    def describe_services(self, cluster: str, services: list[str]) -> dict[str, Any]:
        (name,) = services
        running = self.services[name]
        deployment = {"taskDefinition": running, "rolloutState": "COMPLETED"}
        found = {"taskDefinition": running, "deployments": [deployment], "runningCount": 1}
        return {"services": [found]}

    def describe_task_definition(self, taskDefinition: str, **_: Any) -> dict[str, Any]:
        reference = self.families.get(taskDefinition, taskDefinition)
        container = {"image": self.images[reference]}
        family = reference.rpartition(":")[0]
        return {"taskDefinition": {"family": family, "containerDefinitions": [container]}}

    def register_task_definition(
        self, family: str, containerDefinitions: list[dict[str, str]]
    ) -> dict[str, Any]:
        made = f"{family}:2"
        self.images[made] = containerDefinitions[0]["image"]
        self.families[family] = made
        return {"taskDefinition": {"taskDefinitionArn": made}}

    def update_service(self, cluster: str, service: str, taskDefinition: str) -> None:
        self.updated.append((cluster, service))
        self.services[service] = taskDefinition

    def list_tasks(self, cluster: str, serviceName: str) -> dict[str, Any]:
        return {"taskArns": [serviceName]}

    def describe_tasks(self, cluster: str, tasks: list[str]) -> dict[str, Any]:
        (name,) = tasks
        is_new = self.services[name].endswith(":2")
        health = "UNHEALTHY" if is_new and name == self.fails else "HEALTHY"
        return {"tasks": [{"taskDefinitionArn": self.services[name], "healthStatus": health}]}


def told(hosts: int) -> dict[str, Any]:
    """Return PLEXUS_PATCH of a stack with so many hosts."""
    return {
        "architecture": "arm64",
        "cluster": "c1",
        "repositories": {name: f"url/{name}" for name in (*SERVICES, "certbot")},
        "services": {name: f"{name}1" for name in SERVICES},
        "tasks": {"certbot": ["certbot"]},
        "other_hosts": [
            [f"c{number}", f"certbot-{number}", *(f"{name}{number}" for name in SERVICES)]
            for number in range(2, hosts + 1)
        ],
    }


def run(patch: ModuleType, monkeypatch: pytest.MonkeyPatch, ecs: Ecs, stack: Any) -> None:
    """Run it as if every image had a new version `@new`, that is built, tested and pushed."""

    class Push:
        FailedError = RuntimeError

        @staticmethod
        def push(_ecr: Any, _image: str, _url: str) -> str:
            return "new"

        @staticmethod
        def digest_in(_ecr: Any, _name: str, _tag: str) -> str:
            return "new"

    monkeypatch.setattr(patch, "SETTLE_SECONDS", 0.05)
    monkeypatch.setattr(patch, "BACK_SECONDS", 0.05)
    monkeypatch.setattr(patch, "load", lambda _name: Push)
    monkeypatch.setattr(patch, "tool", lambda *_words: "")
    monkeypatch.setattr(
        patch, "newest", lambda its: {name: f"{name}:t" for name in its.repositories}
    )
    patch.patch(ecs, None, stack)


def test_hosts_are_patched_one_after_the_other(
    patch: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every service of a host, then the next host's; the first host is the last."""
    stack, _ = patch.told(json.dumps({"patch": {**told(3), "region": "us-east-1"}}), {})
    ecs = Ecs(told(3))
    run(patch, monkeypatch, ecs, stack)
    order = ("deliver", "postfix", "dovecot")
    assert [(f"c{n}", f"{name}{n}") for n in (3, 2, 1) for name in order] == ecs.updated
    certbots = [ecs.families[name] for name in ("certbot", "certbot-2", "certbot-3")]
    assert ["certbot:2", "certbot-2:2", "certbot-3:2"] == certbots
    assert {"url/certbot@new"} == {ecs.images[each] for each in certbots}
    ecs.updated.clear()
    capsys.readouterr()
    run(patch, monkeypatch, ecs, stack)
    assert [] == ecs.updated
    assert [] == json.loads(capsys.readouterr().out)["images"]


def test_a_failure_on_one_host_leaves_the_others_alone(
    patch: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What failed is as before, the hosts after it are not touched, and the next run goes on."""
    stack, _ = patch.told(None, {"PLEXUS_PATCH": json.dumps(told(3))})
    ecs = Ecs(told(3), fails="postfix2")
    with pytest.raises(patch.FailedError, match="postfix2 did not become healthy"):
        run(patch, monkeypatch, ecs, stack)
    assert "postfix2:1" == ecs.services["postfix2"]
    assert [("c2", "postfix2")] * 2 == ecs.updated[-2:]
    assert {"deliver1:1", "postfix1:1", "dovecot1:1"} <= set(ecs.services.values())
    ecs.fails = ""
    ecs.updated.clear()
    run(patch, monkeypatch, ecs, stack)
    left = [("c2", "postfix2"), ("c2", "dovecot2")]
    assert [
        *left,
        *(("c1", f"{name}1") for name in ("deliver", "postfix", "dovecot")),
    ] == ecs.updated


def test_one_host_is_read_as_before(patch: ModuleType) -> None:
    """Outputs of a stack without other hosts."""
    given = told(1)
    del given["other_hosts"]
    stack, region = patch.told(None, {"PLEXUS_PATCH": json.dumps(given)})
    assert (None, ["c1"]) == (region, [host.cluster for host in stack.hosts])
    with pytest.raises(patch.MissingError, match="pulumi up"):
        patch.told(None, {"PLEXUS_PATCH": json.dumps({**told(2), "other_hosts": [["c2"]]})})
