"""`plexus up`: the order of its steps, and what it does if one of them fails.

Pulumi's engine is not there: a program `pulumi` of the test's own answers the Automation API's calls, so
that these are real; what the engine itself does is not shown.
"""

import os
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest
from plexus_runs import Plexus
from stack_texts import SOUND

from postal_plexus.cli import up
from postal_plexus.cli.exits import CommandError, Exit


class Deployment:
    """Notes what is done; `runs` are the domains that each run leaves pending."""

    def __init__(self, plan: Mapping[str, int], *runs: Collection[str]) -> None:
        self.plan = plan
        self.runs = list(runs)
        self.done: list[str] = []

    def preview(self) -> Mapping[str, int]:
        self.done.append("preview")
        return self.plan

    def up(self) -> Collection[str]:
        self.done.append("up")
        return self.runs.pop(0)


PLAN = {"create": 3, "same": 7, "delete": 1, "update": 0}


def test_once_where_nothing_waits() -> None:
    """The question names the changes; one deployment is enough."""
    asked: list[str] = []
    made = Deployment(PLAN, [])
    up.deploy(made, lambda text: not asked.append(text), list)
    assert (["preview", "up"], ["3 to create, 1 to delete. Do it?"]) == (made.done, asked)


def test_no_is_no() -> None:
    """After a no, nothing is deployed."""
    made = Deployment(PLAN)
    with pytest.raises(CommandError, match="nothing was deployed"):
        up.deploy(made, lambda _: False, list)
    assert ["preview"] == made.done


def test_again_when_a_certificate_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    """It deploys again for issued certificates; the pending ones are named."""
    made = Deployment({}, ["a.example", "b.example"], ["b.example"])
    up.deploy(made, None, lambda: ["a.example"])
    assert ["preview", "up", "up"] == made.done
    assert "Sites for clients of b.example wait" in capsys.readouterr().out


def test_waiting() -> None:
    """It checks every five minutes until all certificates are issued."""
    looks = [[], [], ["a.example"]]
    slept: list[float] = []
    made = Deployment({}, ["a.example"], [])
    up.deploy(made, None, lambda: looks.pop(0), slept.append)
    assert (["preview", "up", "up"], [300, 300]) == (made.done, slept)


def test_a_certificate_that_changes_nothing_ends_it() -> None:
    """A run after which the site is still pending is not repeated endlessly."""
    made = Deployment({}, ["a.example"], ["a.example"])
    up.deploy(made, None, lambda: ["a.example"], lambda _: pytest.fail("waited"))
    assert ["preview", "up", "up"] == made.done


VERSIONS = ("3.205.0", "3.272.0")
"""The last one that writes its events into a file; and one that calls the API back by gRPC."""

PROGRAM = """#!{python}
import json, os, sys
place = os.path.dirname(os.path.abspath(__file__))
words = [word for word in sys.argv[1:] if not word.startswith("--non-")]
with open(place + "/calls", "a") as calls:
    calls.write(" ".join(words) + "\\n")
failing = os.environ.get("FAKE_FAILS", "-").split("|")
if words[0] == failing[0]:
    print(failing[1], file=sys.stderr)
    sys.exit(255)
if words[0] == "version":
    print(os.environ.get("FAKE_VERSION", "{version}"))
elif words[0] == "preview":
    event = {{"sequence": 1, "timestamp": 1, "summaryEvent": {{"maybeCorrupt": False,
        "durationSeconds": 1, "resourceChanges": {{"create": 2, "same": 1}}, "PolicyPacks": {{}}}}}}
    log = words[words.index("--event-log") + 1]
    if log.startswith("tcp://"):
        import grpc
        from pulumi.runtime.proto import events_pb2, events_pb2_grpc
        with grpc.insecure_channel(log.removeprefix("tcp://")) as channel:
            sent = iter([events_pb2.EventRequest(event=json.dumps(event))])
            events_pb2_grpc.EventsStub(channel).StreamEvents(sent)
    else:
        with open(log, "a") as file:
            file.write(json.dumps(event) + "\\n")
    print("would create 2")
elif words[0] == "up":
    print("created 2")
elif words[:2] == ["stack", "output"]:
    print(json.dumps({{"client_setup_pending": []}}))
elif words[:2] == ["stack", "history"]:
    print(json.dumps([{{"kind": "update", "startTime": "2026-11-28T10:00:00.000Z", "message": "",
        "environment": {{}}, "config": {{}}, "result": "succeeded",
        "endTime": "2026-11-28T10:00:00.000Z", "version": 1, "resourceChanges": {{}}}}]))
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create a directory with Pulumi.yaml and a stack file, and put the test's `pulumi` on PATH."""
    place = tmp_path / "bin"
    place.mkdir()
    (place / "pulumi").write_text(PROGRAM.format(python=sys.executable, version=VERSIONS[-1]))
    (place / "pulumi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}{os.pathsep}{os.environ['PATH']}")
    directory = tmp_path / "repository" / "pulumi"
    directory.mkdir(parents=True)
    (directory / "Pulumi.yaml").write_text("name: postal-plexus\nruntime: python\n")
    (directory / "Pulumi.main.yaml").write_text(SOUND, encoding="utf-8")
    return directory


@pytest.mark.parametrize("version", VERSIONS)
def test_pulumi_is_run(
    plexus: Plexus, program: Path, tmp_path: Path, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Preview, then up, without Pulumi's own question; the files stay unchanged."""
    monkeypatch.setenv("FAKE_VERSION", version)
    told = plexus("up", "--yes", "--stack-file", program / "Pulumi.main.yaml")
    assert 0 == told.code, told.err
    assert "in order: 2 mailboxes; about " in told.out
    assert told.out.index("would create 2") < told.out.index("created 2")
    calls = (tmp_path / "bin/calls").read_text().splitlines()
    kinds = [call.split()[0] for call in calls]
    assert kinds.index("preview") < kinds.index("up")
    assert any(call.startswith("up --yes --skip-preview") for call in calls)
    assert SOUND == (program / "Pulumi.main.yaml").read_text("utf-8")


@pytest.mark.parametrize(
    ("failure", "what"),
    [
        ("stack|error: no stack named 'main' found", "pulumi stack init main"),
        ("up|error: the stack is currently locked by 1 lock(s)", "pulumi cancel"),
        ("up|error: AccessDenied: no", "AccessDenied: no"),
        ("preview|error: incorrect passphrase", "export PULUMI_CONFIG_PASSPHRASE"),
        ("version|no", "program pulumi"),
    ],
)
def test_what_pulumi_refuses(
    plexus: Plexus, program: Path, failure: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each failure is one line with the remedy and the documented exit code."""
    monkeypatch.delenv("PULUMI_CONFIG_PASSPHRASE", raising=False)
    monkeypatch.setenv("FAKE_FAILS", failure)
    told = plexus("up", "--yes", "--stack-file", program / "Pulumi.main.yaml")
    assert (Exit.UNAVAILABLE, True) == (told.code, what in told.err), told.err


def test_without_pulumi(
    plexus: Plexus, program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    told = plexus("up", "--yes", "--stack-file", program / "Pulumi.main.yaml")
    assert (Exit.UNAVAILABLE, True) == (told.code, "install it" in told.err)


def test_a_file_that_is_no_stack(plexus: Plexus, sound: Path, wrong: Path) -> None:
    """All mistakes of a file are reported; one without a program beside it is refused."""
    told = plexus("up", "--yes", "--stack-file", wrong)
    assert (Exit.CONFIG, True) == (told.code, "mailbox" in told.err)
    told = plexus("up", "--yes", "--stack-file", sound)
    assert (Exit.UNAVAILABLE, True) == (told.code, "there is no Pulumi.yaml" in told.err)
