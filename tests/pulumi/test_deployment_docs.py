"""What docs/ tells an operator to type or to expect is what the program and AWS have."""

import ast
import json
import re
import shlex
from importlib import resources

import botocore.session
import pytest
from botocore import xform_name
from registrations import PROGRAM, REPOSITORY, Run

from postal_plexus.cli import estimate

DOCS = REPOSITORY / "docs"
DEPLOY = (DOCS / "deploy.md").read_text()
CHECKLIST = (DOCS / "first-deploy-checklist.md").read_text()

# Of the AWS command line itself; the others are parameters of the API's operations.
_GLOBAL = {"endpoint-url", "max-items", "output", "profile", "query", "region"}
_NO_API = {("s3", "mb"), ("s3", "ls"), ("s3", "rb"), ("logs", "tail")}


def test_the_urns_are_those_of_the_program(run: Run) -> None:
    """Every URN that is to be typed is one that Pulumi knows."""
    told = set(re.findall(r"urn:pulumi:[^'\s]+", DEPLOY))
    assert told
    assert set() == told - {entry.urn for entry in run.registrations}


def test_the_outputs_are_those_of_the_stack(run: Run) -> None:
    """`out NAME` and `pulumi stack output NAME`, and the services and logs inside them."""
    text = DEPLOY + CHECKLIST
    told = set(re.findall(r"(?:\$\(out|pulumi stack output) ([a-z_]+)", text))
    assert len(told) > 5
    assert set() == told - run.outputs.keys()
    inside = set(re.findall(r"\$\(out (\w+) \.(\w+)\)", text))
    assert inside
    assert all(name in run.outputs[output] for output, name in inside)


def commands(text: str) -> list[list[str]]:
    """Return the words of each call of the AWS command line, up to what the shell does with it."""
    text = text.replace("\\\n", " ").replace("\\|", "|")
    text = re.sub(r"\$\((?:out|pulumi|date) [^)]*\)", "value", text)
    found = []
    for start in re.finditer(r"\baws ((?:[a-z0-9]+) (?:[a-z0-9-]+))(?=[ `)\n])", text):
        rest = re.split(r"[\n`|<#]|\)\"? ", text[start.end() :], maxsplit=1)[0]
        options = re.findall(r"(?<=\s)--([a-z0-9-]+)", " " + rest)
        found.append([*shlex.split(start[1]), *options])
    return found


@pytest.mark.parametrize("name", ["certificates.md", "deploy.md", "first-deploy-checklist.md"])
def test_the_aws_commands_are_ones_that_aws_has(name: str) -> None:
    """Each names an operation of the service, and parameters of it (botocore's models)."""
    session = botocore.session.get_session()
    wrong, seen = [], 0
    for service, command, *options in commands((DOCS / name).read_text()):
        if (service, command) in _NO_API:
            continue
        seen += 1
        model = session.get_service_model("s3" if service == "s3api" else service)
        operations = {xform_name(each, "-"): each for each in model.operation_names}
        if command not in operations:
            wrong.append(f"aws {service} {command}")
            continue
        shape = model.operation_model(operations[command]).input_shape
        known = {xform_name(member, "-") for member in (shape.members if shape else {})} | _GLOBAL
        wrong += [f"aws {service} {command} --{each}" for each in options if each not in known]
    assert seen
    assert [] == wrong


def test_a_wrong_command_would_be_found() -> None:
    """The reader of commands sees operation and options, also on a second line."""
    text = '$(aws ses set-it --a-b "$(out x .y)" \\\n    --c d --query Q) x --e'
    assert [["ses", "set-it", "a-b", "c", "query"]] == commands(text)


@pytest.mark.parametrize(
    ("told", "source"),
    [
        (
            "SES has no SMTP endpoint there, which Postfix sends through",
            "../../src/postal_plexus/config/regions.py",
        ),
        ("is offered in", "network.py"),
        ("set postal-plexus:activate-rule-set to yes to take its place", "receiving.py"),
        ("whole domains are accepted, and unknown recipients bounced", "receiving.py"),
        ("set postal-plexus:client-hosts to shared", "client_documents.py"),
        ("push: boto3 is missing: pip install -r requirements.txt", "../../tools/push"),
        ("no container engine: start Docker, or on Debian", "../../tools/images"),
        ("run `pulumi up` once before", "../../tools/push"),
        ("is neither a mailbox nor an alias", "../../src/postal_plexus/config/lists.py"),
    ],
)
def test_the_errors_are_those_that_are_printed(told: str, source: str) -> None:
    """The table of errors has the program's own words, and what it shows as options exists."""
    assert told in DEPLOY
    program = ast.parse((PROGRAM / "deployment" / source).read_text())
    texts = [node.value for node in ast.walk(program) if isinstance(node, ast.Constant)]
    assert any(told in text for text in texts if isinstance(text, str))


def test_the_cost_is_what_the_estimate_says() -> None:
    """The sum that the guide promises, and what cheaper storage makes of it."""
    prices = json.loads(
        resources.files("postal_plexus.cli").joinpath("prices.json").read_text("utf-8")
    )
    lines = estimate.estimate(estimate.Stack(1, 5, 5), estimate.traffic_of(5), prices)
    told = re.findall(r"\$(\d+\.\d\d) (?:a month,|for one domain)", DEPLOY)
    assert [f"{estimate.total(lines):.2f}"] * 2 == told
    stored = sum(line.usd for line in lines if line.what.startswith("mailboxes"))
    assert f"(${stored:.2f} for 5 GB" in DEPLOY
