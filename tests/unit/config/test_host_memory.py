"""A larger host's containers may use more of its memory."""

from typing import Any

import pytest

from postal_plexus.config import settings
from postal_plexus.config.host_memory import Memory, deliver_memory, least_type, memory_of
from postal_plexus.config.problems import StackError
from postal_plexus.config.settings import Settings, read_settings
from stack_mistakes import HASH


@pytest.mark.parametrize("instance_type", ["t4g.nano", "t3.nano", "m7g.medium", "t2.small", "t4g."])
def test_the_smallest_host_and_unknown_ones_have_the_least(instance_type: str) -> None:
    """The limits that are tested for a t4g.nano never fail to fit."""
    assert Memory() == memory_of(instance_type)


@pytest.mark.parametrize(
    ("instance_type", "megabytes"),
    [("t4g.micro", 1024), ("t4g.small", 2048), ("t3.medium", 4096), ("t4g.2xlarge", 32768)],
)
def test_a_larger_host_gives_more_and_keeps_a_third(instance_type: str, megabytes: int) -> None:
    """For the system, the web container, operators' tasks and the page cache."""
    found, least = memory_of(instance_type), Memory()
    assert found.dovecot > least.dovecot
    assert found.postfix > least.postfix
    assert found.deliver > least.deliver
    assert megabytes * 2 / 3 > found.dovecot + found.postfix + found.deliver


def stack(mailboxes: int, instance_type: str = "t4g.nano", apps: int = 0) -> Settings:
    """The settings of a stack with so many mailboxes, each with app passwords."""
    passwords = {f"app{number}": HASH for number in range(apps)}
    boxes: list[dict[str, Any]] = [
        {"address": f"u{number}@example.org", "password-hash": HASH, "app-passwords": passwords}
        for number in range(mailboxes)
    ]
    config = {"domains": ["example.org"], "mailboxes": boxes, "instance-type": instance_type}
    return read_settings("main", "us-east-1", config)


def test_a_directory_that_fits_is_no_problem() -> None:
    """Ten thousand mailboxes on the smallest host: 27 of 40 MB were in use (make bench-scale)."""
    assert 32 == deliver_memory(1_690_000, 1)
    assert 40 >= deliver_memory(1_690_000, 2)
    assert 3000 == len(stack(3000).directory.mailboxes)


def test_a_directory_that_does_not_fit_names_the_type_that_is_needed() -> None:
    """Before `deliver` is killed for memory, again and again, while mail waits."""
    wanted = r"instance-type.*t4g\.nano.*3,500 mailboxes.*Choose t4g\.micro"
    with pytest.raises(StackError, match=wanted):
        stack(3500, apps=6)
    assert "t4g.micro" == stack(3500, "t4g.micro", apps=6).instance_type


def test_a_directory_that_no_host_reads_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some 90,000 mailboxes with one password each; here the limit is lower."""
    monkeypatch.setattr(settings, "SIZE_LIMIT", 1 << 20)
    with pytest.raises(
        StackError, match=r"mailboxes: 7,000 mailboxes make a directory of 1\.. MB; 1 MB"
    ):
        stack(7000)


def test_the_type_that_is_needed_is_the_smallest() -> None:
    """There is none for more than the largest gives."""
    assert ["t4g.nano", "t4g.micro", "t4g.small", ""] == [
        least_type(megabytes) for megabytes in (40, 41, 100, 10_000)
    ]
