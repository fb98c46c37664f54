"""The weekly build on the desk: the buildspec's own lines, from "moved" to "in service".

Debian has a fix for one of Postfix's packages, in an archive of the test's own from which apt
installs it. The images are built and run by podman, under docker's name, in a store of their own;
ECR and the services are the desk's. Not here: CodeBuild's machine and role (tests/pulumi has what the
role may do), docker, and the certificate of the registry.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from loading import tool
from service.container_engine import ROOT, engine
from service.debian_archive import Archive, served
from system.desk import Desk

sys.path.insert(0, str(ROOT / "pulumi"))
from deployment import patches, source

# An image is built, pushed and pulled; a minute and a half when nothing else runs.
pytestmark = pytest.mark.timeout(1200)
NAMES = ("certbot", "deliver", "dovecot", "postfix")
# Of Postfix's image alone; its library reads the tables of the directory.
FIXED, VERSION = "libcdb1", "99:1+fixed"
_BASE_REPOSITORY = "docker/library/debian"
_DOCKER_HUB_NAME = "docker.io/library/debian:trixie-slim"


@dataclass
class Build:
    """A machine as CodeBuild gives it: the stored source, `docker`, python3."""

    directory: Path
    environment: dict[str, str]
    archive: Archive

    def run(self, *, seconds: float = 1000) -> subprocess.CompletedProcess[str]:
        """Run the commands of the project's buildspec, in one shell, until one fails."""
        phases = json.loads(patches.BUILD_SPEC)["phases"]
        commands = [each for name in ("install", "build") for each in phases[name]["commands"]]
        return subprocess.run(
            ["sh", "-e", "-c", "\n".join(commands)],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )

    def podman(self, *arguments: str) -> str:
        """Run podman as the build does."""
        done = subprocess.run(
            ["podman", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert 0 == done.returncode, done.stderr
        return done.stdout.strip()

    def tags(self) -> dict[str, str]:
        """Return the images as they would be built now."""
        tool = [sys.executable, "tools/images", "--refresh", "--tags", *NAMES]
        told = subprocess.run(
            tool,
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(told.stdout)

    def debian_has(self, versions: Mapping[str, list[str]]) -> None:
        """Have the archive offer this, and the last answer forgotten."""
        self.archive.put_all(versions)
        for known in (self.directory / ".build").glob("security-*.json"):
            known.unlink()


@dataclass
class InService:
    """Postfix of the desk as ECS and ECR know it."""

    desk: Desk
    ecs: Any
    ecr: Any
    cluster: str
    service: str

    def revision(self) -> str:
        """Return the task definition in service."""
        (found,) = self.ecs.describe_services(cluster=self.cluster, services=[self.service])[
            "services"
        ]
        return str(found["taskDefinition"])

    def image(self) -> str:
        """Return the reference of its image."""
        shown = self.ecs.describe_task_definition(taskDefinition=self.revision())
        return str(shown["taskDefinition"]["containerDefinitions"][0]["image"])

    def digests(self) -> set[str]:
        """Return what ECR has of Postfix."""
        shown = self.ecr.describe_images(repositoryName="weekly-postfix")["imageDetails"]
        return {each["imageDigest"] for each in shown}


@pytest.fixture(scope="module")
def postfix(desk: Desk) -> Iterator[InService]:
    """At the end what Pulumi deployed is in service again, and ECR is empty."""
    ecs, ecr = desk.client("ecs"), desk.client("ecr")
    cluster, services = desk.output("cluster"), desk.output("services")
    found = InService(desk, ecs, ecr, cluster, services["postfix"])
    for name in NAMES:
        ecr.create_repository(repositoryName=f"weekly-{name}", imageTagMutability="IMMUTABLE")
    ecr.create_repository(repositoryName=_BASE_REPOSITORY)
    first = found.revision()
    yield found
    ecs.update_service(cluster=cluster, service=found.service, taskDefinition=first)
    desk.await_healthy()
    for name in (*(f"weekly-{name}" for name in NAMES), _BASE_REPOSITORY):
        ecr.delete_repository(repositoryName=name, force=True)


@pytest.fixture(scope="module")
def build(
    desk: Desk, postfix: InService, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Build]:
    """Provide the machine and the build's environment; the desk's images are in ECR."""
    if engine().command != "podman":
        pytest.skip("the build's store apart is podman's")
    root = tmp_path_factory.mktemp("weekly")
    registry = desk.registry
    with contextlib.ExitStack() as stack:
        offers = stack.enter_context(served(root / "offers"))
        fixes = stack.enter_context(served(root / "fixes"))
        made = Build(root / "source", {}, offers)
        with zipfile.ZipFile(source.pack(source.IMAGES)[0]) as packed:
            packed.extractall(made.directory)
        made.environment = machine(root, registry) | {
            "PLEXUS_SECURITY_ARCHIVE": offers.url,
            "PLEXUS_PATCH": json.dumps(told(desk, registry)),
            "PLEXUS_REGISTRY_TLS": "no",
            "PLEXUS_SETTLE_SECONDS": "200",
            "AWS_ENDPOINT_URL": desk.aws["endpoint_url"],
            "AWS_CA_BUNDLE": desk.aws["ca_bundle"],
            "AWS_DEFAULT_REGION": desk.aws["region"],
            "AWS_ACCESS_KEY_ID": desk.aws["access_key_id"],
            "AWS_SECRET_ACCESS_KEY": desk.aws["secret_access_key"],
        }
        stack.callback(remove_store, root / "store")
        put_base(made, fixes, registry)
        known = json.loads((ROOT / ".build" / "security-amd64.json").read_text())["versions"]
        made.debian_has(known)
        put_in_service(made, postfix)
        put_fix(root, made, fixes)
        made.debian_has({**known, FIXED: [VERSION]})
        yield made


def machine(root: Path, registry: str) -> dict[str, str]:
    """Return the environment of a build: a fresh Python, podman as `docker`, a store apart.

    The store sees this machine's images, and this machine none of the build's.
    """
    subprocess.run([sys.executable, "-m", "venv", root / "venv"], check=True)
    (root / "bin").mkdir()
    (root / "bin" / "docker").write_text('#!/bin/sh\nexec podman "$@"\n')
    (root / "bin" / "docker").chmod(0o755)
    (root / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{root}/store"\nrunroot = "{root}/run"\n'
        '[storage.options]\nadditionalimagestores = ["/var/lib/containers/storage"]\n'
    )
    # Amazon's registry of public images is the desk's.
    (root / "registries.conf").write_text(
        f'[[registry]]\nprefix = "public.ecr.aws"\nlocation = "{registry}"\ninsecure = true\n'
    )
    return {
        "PATH": f"{root}/venv/bin:{root}/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(root),
        "CONTAINERS_CONF": str(ROOT / "containers" / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(root / "storage.conf"),
        "CONTAINERS_REGISTRIES_CONF": str(root / "registries.conf"),
        **{name: os.environ[name] for name in os.environ if name.startswith(("PIP_", "SSL_"))},
    }


def remove_store(store: Path) -> None:
    """Remove podman's store, which it has mounted on itself."""
    subprocess.run(["umount", "--quiet", str(store / "overlay")], check=False)
    subprocess.run(["rm", "-rf", "--one-file-system", str(store)], check=True)


def told(desk: Desk, registry: str) -> dict[str, Any]:
    """Return what the program tells the build, with the registry where it answers.

    Of the services only Postfix is the desk's; the others' definitions stand for them.
    """
    return {
        "architecture": "x86_64",
        "cluster": desk.output("cluster"),
        "repositories": {name: f"{registry}/weekly-{name}" for name in NAMES},
        "services": {"postfix": desk.output("services")["postfix"]},
        "tasks": {name: [f"weekly-{name}"] for name in NAMES if name != "postfix"}
        | {"postfix": [desk.output("maintenance")["postfix"]]},
    }


def put_base(build: Build, fixes: Archive, registry: str) -> None:
    """Have Debian's image in the registry, with one more source for apt."""
    folder = build.directory.parent / "base"
    folder.mkdir()
    (folder / "Containerfile").write_text(
        f"FROM {_DOCKER_HUB_NAME}\n"
        f"RUN echo 'deb [trusted=yes] {fixes.url} trixie-security main'"
        " >/etc/apt/sources.list.d/fixes.list\n"
    )
    name = f"{registry}/{_BASE_REPOSITORY}:trixie-slim"
    build.podman(
        "build", "--isolation=chroot", "--quiet", "--format=docker", "--tag", name, str(folder)
    )
    build.podman("push", "--quiet", "--tls-verify=false", name)
    build.podman("rmi", name)
    fixes.put({})


def put_in_service(build: Build, postfix: InService) -> None:
    """Have what runs in ECR, and Postfix run from there, as after `pulumi up`."""
    tags, desk = build.tags(), postfix.desk
    for name in NAMES:
        if name == "postfix":
            continue
        reference = f"{desk.registry}/weekly-{name}"
        manifest = json.dumps({"schemaVersion": 2, "of": name})
        put = postfix.ecr.put_image(
            repositoryName=f"weekly-{name}",
            imageManifest=manifest,
            imageTag=tags[name].rpartition(":")[2],
        )["image"]["imageId"]["imageDigest"]
        postfix.ecs.register_task_definition(
            family=f"weekly-{name}",
            containerDefinitions=[{"name": name, "image": f"{reference}@{put}", "memory": 16}],
        )
    pushed = subprocess.run(
        [sys.executable, build.directory / "tools/push"],
        env=build.environment
        | {
            "AWS_REGION": desk.aws["region"],
            "PLEXUS_IMAGE": tags["postfix"],
            "PLEXUS_REPOSITORY": f"{desk.registry}/weekly-postfix",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert "" == pushed.stderr
    image = f"{desk.registry}/weekly-postfix@{pushed.stdout.strip()}"
    shown = postfix.ecs.describe_task_definition(
        taskDefinition=postfix.revision(), include=["TAGS"]
    )
    ecs, cluster, service = postfix.ecs, postfix.cluster, postfix.service
    with tool("patch") as patch:
        made = ecs.register_task_definition(**patch.revision(shown, image))["taskDefinition"]
        arn = made["taskDefinitionArn"]
        ecs.update_service(cluster=cluster, service=service, taskDefinition=arn)
        assert patch.settles(ecs, cluster, service, arn, 200)


def put_fix(root: Path, build: Build, fixes: Archive) -> None:
    """Publish a newer version of a library package that Postfix's image has."""
    image = build.tags()["postfix"]
    container = build.podman("create", image)
    control = (
        f"Package: {FIXED}\nVersion: {VERSION}\nArchitecture: amd64\nMulti-Arch: same\n"
        "Maintainer: a test <test@example.org>\nDescription: constant databases, mended\n"
    )
    library = root / "package" / "usr/lib/x86_64-linux-gnu"
    library.mkdir(parents=True)
    build.podman(
        "cp", f"{container}:/usr/lib/x86_64-linux-gnu/libcdb.so.1", str(library / "libcdb.so.1")
    )
    build.podman("rm", container)
    (root / "package" / "DEBIAN").mkdir()
    (root / "package" / "DEBIAN" / "control").write_text(control)
    package = root / f"{FIXED}.deb"
    subprocess.run(
        ["dpkg-deb", "--build", "--root-owner-group", root / "package", package], check=True
    )
    fixes.put_package(package, control)


def events(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """Return what tools/patch said."""
    lines = done.stdout.splitlines()
    return [json.loads(line) for line in lines if line.startswith('{"event"')]


def test_a_fix_of_debians_comes_into_service(build: Build, postfix: InService) -> None:
    """The image is rebuilt with the fixed package, tested with mail, pushed by digest and deployed."""
    before, old = postfix.revision(), postfix.image()
    done = build.run()
    assert 0 == done.returncode, done.stderr
    said = events(done)
    assert [
        "patch.moved",
        "patch.carries_mail",
        "patch.begins",
        "patch.in_service",
        # The operators' tasks beside it.
        "patch.in_service",
    ] == [each["event"] for each in said]
    assert ["postfix"] == said[0]["images"] == said[1]["images"]
    new = postfix.image()
    assert new != old
    assert {old.partition("@")[2], new.partition("@")[2]} == postfix.digests()
    desk = postfix.desk
    desk.await_healthy()
    query = ("dpkg-query", "--show", "--showformat=${Version}", FIXED)
    assert VERSION == desk.engine("exec", desk.container("postfix"), *query)
    (task,) = postfix.ecs.describe_task_definition(
        taskDefinition=desk.output("maintenance")["postfix"]
    )["taskDefinition"]["containerDefinitions"]
    assert (new, ["/usr/local/bin/maintain", "postfix"]) == (task["image"], task["entryPoint"])
    # The revision before is there to go back to, with the image before.
    shown = postfix.ecs.describe_task_definition(taskDefinition=before)["taskDefinition"]
    assert ("ACTIVE", old) == (shown["status"], shown["containerDefinitions"][0]["image"])


def test_nothing_to_fix_is_quiet(build: Build, postfix: InService) -> None:
    """One line says so; there is no build, push or new revision."""
    before, images = postfix.revision(), postfix.digests()
    done = build.run()
    assert (0, "") == (done.returncode, done.stderr)
    assert [{"event": "patch.moved", "images": []}] == events(done)
    assert (before, images) == (postfix.revision(), postfix.digests())


def test_images_that_carry_no_mail_go_nowhere(build: Build, postfix: InService) -> None:
    """If the smoke test fails, nothing is pushed or deployed, and the error names the cause."""
    before, images = postfix.revision(), postfix.digests()
    script = build.directory / "containers" / "postfix" / "entrypoint"
    script.write_text("#!/bin/sh\necho cannot open the tables >&2\nexit 1\n")
    done = build.run()
    assert 1 == done.returncode
    assert ["patch.moved"] == [each["event"] for each in events(done)]
    assert "postfix ended as it started" in done.stderr
    assert "cannot open the tables" in done.stderr
    assert done.stderr.splitlines()[-1].startswith(
        "patch: the new images of postfix do not carry mail"
    )
    assert "nothing was pushed or deployed" in done.stderr.splitlines()[-1]
    assert (before, images) == (postfix.revision(), postfix.digests())
