"""tools/push against a registry that takes real pushes: the emulator's ECR."""

import base64
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.container_engine import ROOT, Engine, engine
from service.desk.running import RunningDesk


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDesk]:
    """Provide a desk's AWS."""
    with RunningDesk.in_directory(tmp_path_factory.mktemp("push")) as running:
        yield running


@pytest.fixture(scope="module")
def containers() -> Engine:
    """podman: docker asks for TLS, which the emulator's registry does not have."""
    found = engine()
    if found.command != "podman":
        pytest.skip("only podman pushes without TLS")
    return found


@pytest.fixture
def image(containers: Engine, tmp_path: Path) -> Iterator[str]:
    """Provide a tiny image with a name as tools/images gives."""
    tag = uuid.uuid4().hex[:16]
    name = f"localhost/postal-plexus/probe:{tag}"
    (tmp_path / "Containerfile").write_text(f"FROM scratch\nLABEL tag={tag}\n")
    containers("build", "--isolation=chroot", "--quiet", "--tag", name, str(tmp_path))
    yield name
    containers("rmi", "--force", name)


def push(desk: RunningDesk, image: str, url: str) -> subprocess.CompletedProcess[str]:
    """Run tools/push as `pulumi up` does, which names the region by AWS_REGION alone."""
    return run(desk, PLEXUS_IMAGE=image, PLEXUS_REPOSITORY=url, AWS_REGION="us-east-1")


def push_all(desk: RunningDesk, outputs: object) -> subprocess.CompletedProcess[str]:
    """Run tools/push as `make push` does, with a stack's outputs."""
    return run(desk, "--all", stdin=json.dumps(outputs))


def run(
    desk: RunningDesk, *arguments: str, stdin: str = "", **more: str
) -> subprocess.CompletedProcess[str]:
    """Run tools/push with the desk's AWS."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment = {
        **others,
        **more,
        "AWS_ACCESS_KEY_ID": desk.settings.root_key_id,
        "AWS_SECRET_ACCESS_KEY": desk.settings.root_secret,
        "AWS_ENDPOINT_URL": desk.settings.endpoint_url,
        "PLEXUS_REGISTRY_TLS": "no",
    }
    return subprocess.run(
        [sys.executable, str(ROOT / "tools" / "push"), *arguments],
        env=environment,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def repository(desk: RunningDesk) -> str:
    """Provide a repository with immutable tags, by the address where its registry answers."""
    name = f"probe-{uuid.uuid4().hex[:8]}"
    desk.client("ecr").create_repository(repositoryName=name, imageTagMutability="IMMUTABLE")
    return f"{desk.settings.endpoint_url.removeprefix('http://')}/{name}"


def test_an_image_is_pushed_and_named_by_its_digest(
    desk: RunningDesk, image: str, repository: str
) -> None:
    """The digest on standard output is the one that the registry has for the image's tag."""
    done = push(desk, image, repository)
    assert "" == done.stderr
    shown = desk.client("ecr").describe_images(
        repositoryName=repository.partition("/")[2],
        imageIds=[{"imageTag": image.rpartition(":")[2]}],
    )
    assert shown["imageDetails"][0]["imageDigest"] == done.stdout.strip()


def test_an_image_that_is_there_is_not_pushed_again(
    desk: RunningDesk, image: str, repository: str, containers: Engine
) -> None:
    """Its tag is its content: the local image is not even needed."""
    first = push(desk, image, repository)
    containers("rmi", "--force", image)
    assert (0, first.stdout) == (push(desk, image, repository).returncode, first.stdout)


def test_the_newest_image_of_the_source_is_taken(
    desk: RunningDesk, image: str, repository: str, containers: Engine
) -> None:
    """What the weekly patches pushed since stays in service, also where Debian does not answer."""
    names = {each: f"localhost/postal-plexus/probe:{each}" for each in ("abc-1", "abc-2", "def-1")}
    for name in names.values():
        containers("tag", image, name)
    first = push(desk, names["abc-1"], repository).stdout
    containers("tag", other := other_image(containers, image), names["abc-2"])
    newer = push(desk, names["abc-2"], repository).stdout
    assert newer != first
    push(desk, names["def-1"], repository)
    assert newer == push(desk, names["abc-1"], repository).stdout
    containers("rmi", "--force", other, *names.values())


def other_image(containers: Engine, image: str) -> str:
    """Return an image with another content."""
    created = containers("create", image, "nothing")
    containers("commit", "--change=LABEL other=1", created, name := f"{image}-other")
    containers("rm", created)
    return name


def test_no_password_is_on_a_command_line_or_left_behind(
    desk: RunningDesk, image: str, repository: str, tmp_path: Path
) -> None:
    """The engine that is run sees the password on standard input, and its file is gone after."""
    spy = tmp_path / "podman"
    spy.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/seen\n'
        f'echo "$REGISTRY_AUTH_FILE" >> {tmp_path}/files\nexec /usr/bin/podman "$@"\n'
    )
    spy.chmod(0o755)
    path = os.environ["PATH"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{tmp_path}:{path}")
        assert 0 == push(desk, image, repository).returncode
    token = desk.client("ecr").get_authorization_token()["authorizationData"][0]
    password = base64.b64decode(token["authorizationToken"]).decode().partition(":")[2]
    assert password not in (tmp_path / "seen").read_text()
    files = {line for line in (tmp_path / "files").read_text().splitlines() if line}
    assert files
    assert [] == [name for name in files if Path(name).exists()]


def test_a_registry_that_refuses_is_told(desk: RunningDesk, image: str) -> None:
    """The exit status and the registry's words, and no digest."""
    done = push(desk, image, "127.0.0.1:9/probe")
    assert (1, "") == (done.returncode, done.stdout)
    assert done.stderr.startswith("push: ")


def test_make_push_has_every_image_of_the_stack_there(
    desk: RunningDesk, image: str, repository: str, containers: Engine
) -> None:
    """`make push` goes by the stack's outputs: its architecture's image, by content and digest."""
    tool = [sys.executable, str(ROOT / "tools" / "images"), "--tags", "deliver"]
    named = subprocess.run(
        tool, env={**os.environ, "ARCH": "arm64"}, capture_output=True, text=True, check=True
    )
    tag = json.loads(named.stdout)["deliver"].rpartition(":")[2]
    containers("push", "--tls-verify=false", *creds(desk), image, f"{repository}:{tag}")
    outputs = {
        "repositories": {"deliver": repository},
        "region": "us-east-1",
        "architecture": "arm64",
    }
    done = push_all(desk, outputs)
    assert "" == done.stderr
    shown = desk.client("ecr").describe_images(repositoryName=repository.partition("/")[2])
    digest = shown["imageDetails"][0]["imageDigest"]
    assert f"deliver  {repository}@{digest}\n" == done.stdout


def creds(desk: RunningDesk) -> tuple[str, str]:
    """Return how podman logs in to the emulator's registry; its password is no secret."""
    token = desk.client("ecr").get_authorization_token()["authorizationData"][0]
    return "--creds", base64.b64decode(token["authorizationToken"]).decode()


def test_make_push_before_the_first_up_says_so(desk: RunningDesk) -> None:
    """Without a stack there are no repositories to push to."""
    done = push_all(desk, {})
    assert (1, "") == (done.returncode, done.stdout)
    assert "run `pulumi up` once before" in done.stderr
