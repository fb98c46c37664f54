"""The whole of a stack file: each mistake told with place and remedy, names kept in one form."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from postal_plexus.cli.main import main
from postal_plexus.config.file import read_stack_file
from postal_plexus.config.model import ALL_KEYS, LISTS
from postal_plexus.config.problems import StackError
from postal_plexus.config.settings import Settings, read_settings
from stack_mistakes import MISTAKES, TEMPLATE, Mistake

_PREFIX = "postal-plexus:"
CONFIG = {
    key.removeprefix(_PREFIX): value
    for key, value in read_stack_file(TEMPLATE.read_text()).settings.items()
    if key.startswith(_PREFIX)
}


def read(stack: str = "main", **changes: Any) -> Settings:
    """Return the template's settings, with some of them changed; `_` stands for `-`."""
    changed = {key.replace("_", "-"): value for key, value in changes.items()}
    return read_settings(stack, "us-east-1", {**CONFIG, **changed})


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_check_tells_each_mistake_and_no_other(
    mistake: Mistake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line: the file, the key, the entry, what is wrong and what to do."""
    path = tmp_path / "Pulumi.main.yaml"
    path.write_text(yaml.safe_dump({"config": mistake.config()}, allow_unicode=True))
    assert 78 == main(["check", "--stack-file", str(path)])
    (line,) = capsys.readouterr().err.splitlines()
    assert mistake.is_told_by(line.removeprefix(f"{path}: ")), line


def test_mistakes_of_all_parts_are_told_at_once() -> None:
    """A broken list does not hide what is wrong elsewhere, and makes up no mistakes there."""
    with pytest.raises(StackError) as raised:
        read(
            domains=["example.org", "example.org"],
            archive_days=1,
            dmarc_policies={"example.net": "none"},
        )
    keys = [problem.key for problem in raised.value.problems]
    assert {f"{_PREFIX}domains", f"{_PREFIX}archive-days"} < set(keys)
    assert f"{_PREFIX}dmarc-policies" not in keys


@pytest.mark.parametrize("key", sorted({*ALL_KEYS} - {*LISTS}))
def test_every_key_is_looked_at(key: str) -> None:
    """A key that is known to be ours is read: a value that fits nothing is a problem."""
    with pytest.raises(StackError, match=f"^{_PREFIX}{key}: "):
        read(**{key: [None]})


@pytest.mark.parametrize("stack", ["main", "a", "prod-2", "a2345678901234567890"])
def test_names_of_stacks(stack: str) -> None:
    """Small letters and digits, single hyphens between them, up to 20."""
    assert stack == read(stack).stack


@pytest.mark.parametrize("stack", ["Main", "2", "a-", "a--b", "a_b", "", "a23456789012345678901"])
def test_a_name_that_aws_would_not_take(stack: str) -> None:
    """ECR takes no two hyphens and none at the end; what a name may be is said before AWS does."""
    with pytest.raises(StackError, match=f"^stack {re.escape(repr(stack))}: .*20 small letters"):
        read(stack)


def test_domains_are_the_same_in_any_case_and_script() -> None:
    """What is said of a domain may be written as people write it."""
    settings = read(
        domains=["example.org", "example.net", "Bücher.example"],
        mail_host="Mail.BÜCHER.example",
        dmarc_policies={"bücher.example": "reject"},
        existing_zones={"Example.NET": "Z0123456789"},
        txt_records={"BÜCHER.example": ["one"]},
    )
    assert (
        "mail.xn--bcher-kva.example",
        "reject",
        {"example.net": "Z0123456789"},
        {"xn--bcher-kva.example": ["one"]},
    ) == (
        settings.mail_host,
        settings.dmarc("xn--bcher-kva.example"),
        settings.existing_zones,
        settings.txt_records,
    )


def test_values_are_read_as_pulumi_hands_them_over() -> None:
    """Every value is a text to Pulumi: JSON, but where a text is meant."""
    settings = read(archive_days="40", spot="false", zones=3, mail_host="mail.example.org")
    assert (40, False, 3) == (settings.archive_days, settings.spot, settings.zones)


def test_certificates_may_come_from_elsewhere() -> None:
    """`certbot: none` is the one image that may be missing, and it is nowhere after that."""
    given = {name: f"registry.example/{name}:1" for name in ("dovecot", "postfix", "deliver")}
    config = yaml.safe_load(TEMPLATE.read_text())["config"]
    keys = {key.removeprefix("postal-plexus:"): value for key, value in config.items()}
    keys.pop("aws:region")
    settings = read_settings("main", "us-east-1", {**keys, "images": {**given, "certbot": "none"}})
    assert given == settings.images
