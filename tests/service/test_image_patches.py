"""An image's tag moves when Debian's security archive has something newer for its packages.

The archive is a small one of the test's own, with the files that apt's archives have.
"""

from __future__ import annotations

import json
import lzma
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.container_engine import Engine, engine
from service.debian_archive import Archive, served
from service.desk.running import RunningDesk

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import debian_security  # noqa: E402

ALL = ("certbot", "deliver", "dovecot", "postfix")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """Provide the archive."""
    with served(tmp_path_factory.mktemp("archive")) as made:
        yield made


@dataclass
class Checkout:
    """A copy of what the images are built from, that knows nothing of the archive yet."""

    root: Path
    url: str

    def run(self, *arguments: str, url: str = "") -> subprocess.CompletedProcess[str]:
        """Run tools/images."""
        return subprocess.run(
            [sys.executable, str(self.root / "tools/images"), *arguments],
            env={**os.environ, "ARCH": "amd64", "PLEXUS_SECURITY_ARCHIVE": url or self.url},
            capture_output=True,
            text=True,
            check=True,
        )

    def tags(self, *more: str) -> dict[str, str]:
        """Return each image's tag."""
        found = json.loads(self.run("--tags", *more, *ALL).stdout)
        return {name: image.rpartition(":")[2] for name, image in found.items()}

    def an_hour_passes(self) -> None:
        """Make the last answer an hour older."""
        known = self.root / ".build" / "security-amd64.json"
        kept = json.loads(known.read_text())
        known.write_text(json.dumps({**kept, "asked": kept["asked"] - 3601}))


@pytest.fixture
def checkout(tmp_path: Path, archive: Archive) -> Checkout:
    """Provide a fresh copy."""
    for folder in ("containers", "src/postal_plexus", "requirements", "tools"):
        shutil.copytree(
            ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    archive.put({"openssl": "3.5.1-1+deb13u1", "dovecot-core": "1:2.4.1+dfsg1-6+deb13u6"})
    return Checkout(tmp_path, archive.url)


def moved(before: Mapping[str, str], after: Mapping[str, str]) -> set[str]:
    """Whose tags differ; the part for the source never does."""
    assert {name: tag.partition("-")[0] for name, tag in before.items()} == {
        name: tag.partition("-")[0] for name, tag in after.items()
    }
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize(
    ("newer", "images"),
    [
        ({"dovecot-core": "1:2.4.1+dfsg1-6+deb13u7"}, {"dovecot"}),
        ({"openssl": "3.5.1-1+deb13u2"}, {"dovecot", "deliver", "certbot", "postfix"}),
        ({"postfix": "3.10.5-1+deb13u1"}, {"postfix"}),
        ({"apache2": "2.4.65-1"}, set()),
    ],
)
def test_the_tag_follows_what_the_archive_offers(
    checkout: Checkout, archive: Archive, newer: Mapping[str, str], images: set[str]
) -> None:
    """Only packages of the image count, and the archive is queried at most once an hour."""
    before = checkout.tags("--refresh")
    archive.put({"openssl": "3.5.1-1+deb13u1", "dovecot-core": "1:2.4.1+dfsg1-6+deb13u6", **newer})
    assert before == checkout.tags()
    assert before == checkout.tags("--refresh")
    checkout.an_hour_passes()
    assert before == checkout.tags()
    assert images == moved(before, checkout.tags("--refresh"))


def test_an_archive_that_is_away_changes_nothing(checkout: Checkout) -> None:
    """The last answer is used, with a warning; without any answer no patches are assumed."""
    before = checkout.tags("--refresh")
    checkout.an_hour_passes()
    away = checkout.run("--refresh", "--tags", "dovecot", url="http://127.0.0.1:9/")
    assert before["dovecot"] == json.loads(away.stdout)["dovecot"].rpartition(":")[2]
    assert "does not answer" in away.stderr
    shutil.rmtree(checkout.root / ".build")
    first = checkout.run("--tags", "dovecot", url="http://127.0.0.1:9/")
    assert "none are assumed" in first.stderr
    # Not asked again by each command.
    again = checkout.run("--tags", "dovecot", url="http://127.0.0.1:9/")
    assert ("", first.stdout) == (again.stderr, again.stdout)


def test_it_is_known_whether_the_archive_answered(checkout: Checkout) -> None:
    """tools/patch builds only after a current answer of the archive."""
    build = checkout.root / ".build"
    assert not debian_security.is_known("amd64", build)
    checkout.tags("--refresh")
    assert debian_security.is_known("amd64", build)
    checkout.an_hour_passes()
    checkout.run("--refresh", "--tags", url="http://127.0.0.1:9/")
    assert not debian_security.is_known("amd64", build)


@pytest.mark.parametrize(
    ("sources", "archive"),
    [
        (
            (
                "deb http://a.example/debian trixie main\n"
                "deb http://a.example/debian trixie-updates main\n"
                "deb http://s.example/debian-security trixie-security main\n"
            ),
            "http://s.example/debian-security",
        ),
        (
            (
                "#deb http://old.example trixie-security main\n"
                "deb-src http://old.example trixie-security main\n"
                "deb [ arch=amd64 signed-by=/usr/share/keyrings/x.gpg ]  https://s.example/d/  trixie-security main\n"
            ),
            "https://s.example/d/",
        ),
        (
            (
                "Types: deb\nURIs: http://a.example/debian\nSuites: trixie trixie-updates\nComponents: main\n\n"
                "Enabled: no\nTypes: deb\nURIs: http://off.example/\nSuites: trixie-security\n\n"
                "Types: deb deb-src\n# of last year\nURIs:\n http://s.example/debian-security\n"
                "Suites: trixie-security\nComponents: main\n"
            ),
            "http://s.example/debian-security",
        ),
    ],
)
def test_the_archive_is_the_one_of_the_base_images_apt(sources: str, archive: str) -> None:
    """Sources of either format (sources.list(5)); what is switched off does not count."""
    assert archive == debian_security.archive_of(sources)


@pytest.mark.parametrize(
    "sources", ["", "deb http://a.example/debian trixie main\n", "Types: deb\n"]
)
def test_sources_without_an_archive_of_fixes_are_told(sources: str) -> None:
    """Without a known security archive there is a warning, and nothing is built."""
    with pytest.raises(LookupError, match="trixie-security"):
        debian_security.archive_of(sources)


def test_the_base_image_is_asked(checkout: Checkout) -> None:
    """The real one, of which the images here are made: it names an archive, or a mirror of it."""
    tool = f"{checkout.root}/tools/images"
    program = f"import runpy; print(runpy.run_path({tool!r})['apt_sources']())"
    engine()
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert debian_security.archive_of(done.stdout).startswith("http")


# tools/patch by hand ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDesk]:
    """Provide a desk's AWS."""
    with RunningDesk.in_directory(tmp_path_factory.mktemp("patch")) as running:
        yield running


def patch(
    checkout: Checkout, stdin: str, *arguments: str, desk: RunningDesk | None = None, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run tools/patch."""
    endpoint = desk.settings.endpoint_url if desk else "http://127.0.0.1:9"
    environment = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": desk.settings.root_key_id if desk else "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": desk.settings.root_secret if desk else "secret",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_MAX_ATTEMPTS": "1",
        "PLEXUS_REGISTRY_TLS": "no",
        "PLEXUS_SECURITY_ARCHIVE": checkout.url,
        **more,
    }
    environment.pop("AWS_REGION", None)
    environment.pop("AWS_DEFAULT_REGION", None)
    return subprocess.run(
        [sys.executable, str(checkout.root / "tools/patch"), *arguments],
        env=environment,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_stack_with_the_newest_images_is_left_alone(
    checkout: Checkout, archive: Archive, desk: RunningDesk, tmp_path: Path
) -> None:
    """`make patch` with a stack's outputs, and only their region, changes nothing."""
    containers: Engine = engine()
    if containers.command != "podman":
        pytest.skip("only podman pushes without TLS")
    (tmp_path / "Containerfile").write_text("FROM scratch\nLABEL patch=1\n")
    ecs, ecr = desk.client("ecs"), desk.client("ecr")
    ecs.create_cluster(clusterName="patched")
    repositories: dict[str, str] = {}
    mine: list[str] = []
    for name, tag in checkout.tags("--refresh").items():
        ecr.create_repository(repositoryName=f"patched-{name}")
        registry = desk.settings.endpoint_url.removeprefix("http://")
        repositories[name] = f"{registry}/patched-{name}"
        mine.append(f"localhost/postal-plexus/probe:{tag}")
        containers("build", "--isolation=chroot", "--quiet", "--tag", mine[-1], str(tmp_path))
        pushed = subprocess.run(
            [sys.executable, str(checkout.root / "tools/push")],
            env={
                **os.environ,
                "AWS_ACCESS_KEY_ID": desk.settings.root_key_id,
                "AWS_SECRET_ACCESS_KEY": desk.settings.root_secret,
                "AWS_ENDPOINT_URL": desk.settings.endpoint_url,
                "AWS_REGION": desk.settings.region,
                "PLEXUS_REGISTRY_TLS": "no",
                "PLEXUS_IMAGE": mine[-1],
                "PLEXUS_REPOSITORY": repositories[name],
            },
            capture_output=True,
            text=True,
            check=True,
        )
        ecs.register_task_definition(
            family=f"patched-{name}",
            containerDefinitions=[
                {
                    "name": name,
                    "image": f"{repositories[name]}@{pushed.stdout.strip()}",
                    "memory": 16,
                }
            ],
        )
        if name != "certbot":
            ecs.create_service(
                cluster="patched",
                serviceName=f"patched-{name}",
                taskDefinition=f"patched-{name}",
                desiredCount=0,
            )
    told = {
        "architecture": "x86_64",
        "cluster": "patched",
        "region": desk.settings.region,
        "repositories": repositories,
        "services": {name: f"patched-{name}" for name in ALL if name != "certbot"},
        "tasks": {"certbot": ["patched-certbot"]},
    }
    done = patch(
        checkout, json.dumps({"patch": told, "cluster": "patched"}), "--outputs", desk=desk
    )
    assert (0, "") == (done.returncode, done.stderr)
    assert {"event": "patch.moved", "images": []} == json.loads(done.stdout)
    looked = patch(checkout, json.dumps({"patch": told}), "--look", desk=desk)
    assert (0, dict.fromkeys(ALL, (0, False))) == (looked.returncode, ages(looked))
    # Debian has a fix for one of them.
    archive.put({"openssl": "3.5.1-1+deb13u1", "dovecot-core": "1:2.4.1+dfsg1-6+deb13u7"})
    checkout.an_hour_passes()
    looked = patch(checkout, json.dumps({"patch": told}), "--look", desk=desk)
    assert (4, {name: (0, name == "dovecot") for name in ALL}) == (looked.returncode, ages(looked))
    checkout.an_hour_passes()
    away = {"PLEXUS_SECURITY_ARCHIVE": "http://127.0.0.1:9/"}
    looked = patch(checkout, json.dumps({"patch": told}), "--look", desk=desk, **away)
    assert (1, "") == (looked.returncode, looked.stdout)
    assert "Debian" in looked.stderr
    containers("rmi", "--force", *mine)


def ages(done: subprocess.CompletedProcess[str]) -> dict[str, tuple[int, bool]]:
    """Return what --look says: by image its days, and whether it lacks fixes."""
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line["image"]: (line["days"], line["lacks_fixes"]) for line in lines}


COMPLETE = {
    "architecture": "arm64",
    "cluster": "c",
    "region": "us-east-1",
    "repositories": {},
    "services": {"deliver": "d"},
    "tasks": {},
}


@pytest.mark.parametrize(
    ("stdin", "code", "said"),
    [
        (json.dumps({"patch": COMPLETE}), 1, "Could not connect to the endpoint"),
        (json.dumps({"patch": None}), 2, "`patches: none`"),
        (json.dumps({"cluster": "c"}), 2, "run `pulumi up` once before"),
        (json.dumps({"patch": {**COMPLETE, "newer": 1}}), 2, "'newer'"),
        (json.dumps({"patch": {**COMPLETE, "architecture": "riscv"}}), 2, "riscv"),
        (json.dumps({"patch": [1]}), 2, "this version"),
        ("[]", 2, "this version"),
        ("", 2, "this version"),
    ],
)
def test_outputs_that_cannot_be_used_are_told(
    checkout: Checkout, stdin: str, code: int, said: str
) -> None:
    """One line, never a traceback."""
    done = patch(checkout, stdin, "--outputs")
    assert (code, 1) == (done.returncode, done.stderr.count("\n")), done.stderr
    assert done.stderr.startswith("patch: ")
    assert said in done.stderr


def test_what_is_told_otherwise_is_refused(checkout: Checkout) -> None:
    """Without the environment or --outputs it is refused."""
    assert "PLEXUS_PATCH is not set" in patch(checkout, "").stderr
    assert "it takes --outputs" in patch(checkout, "", "--output").stderr


def test_an_index_that_is_not_the_releases_is_not_taken(
    checkout: Checkout, archive: Archive
) -> None:
    """An incomplete mirror update, or a changed file, is not accepted."""
    before = checkout.tags("--refresh")
    index = archive.directory / "dists/trixie-security/main/binary-amd64/Packages.xz"
    index.write_bytes(lzma.compress(b"Package: dovecot-core\nVersion: 9\n"))
    checkout.an_hour_passes()
    assert before == checkout.tags("--refresh")


@pytest.mark.parametrize("name", ["dovecot", "postfix", "deliver"])
def test_the_list_of_packages_is_what_the_image_has(name: str) -> None:
    """A package that the list lacks would never be patched in time: `tools/packages` writes it."""
    containers: Engine = engine()
    tool = [sys.executable, str(ROOT / "tools/images"), "--tags", name]
    image = json.loads(subprocess.run(tool, capture_output=True, text=True, check=True).stdout)
    has = containers(
        *("run", "--rm", "--network=none", "--entrypoint=dpkg-query", image[name]),
        *("--show", "--showformat=${Package}\\n"),
    )
    assert set(has.split()) == set((ROOT / "containers" / name / "packages").read_text().split())
