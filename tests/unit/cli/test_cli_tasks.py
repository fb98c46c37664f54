"""A command for all hosts shows what some answer when another one does not."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from postal_plexus.cli import tasks
from postal_plexus.cli.exits import CommandError, Exit
from postal_plexus.operations.task import TaskFailedError, Tasks

Line = dict[str, Any]


class OneHost:
    """The tasks of one host, which answers one line or nothing."""

    def __init__(self, number: int, count: int, answers: bool) -> None:
        self.host = SimpleNamespace(host=number, count=count, of_host=f" (host {number})")
        self.answers = answers

    def run(self, _image: str, _words: list[str], tell: Callable[[Line], None]) -> None:
        """Tell the line, or fail."""
        if not self.answers:
            raise TaskFailedError("the task was not started")
        tell({"kind": "mailbox", "address": f"user-{self.host.host}"})


def shown(*answers: bool) -> tuple[list[list[str]], CommandError | None]:
    """Return each call of `show` for hosts that answer or do not, and what was raised."""
    hosts = [OneHost(number, len(answers), each) for number, each in enumerate(answers, 1)]
    all_hosts = cast("Tasks", SimpleNamespace(on_each_host=lambda: hosts))
    calls: list[list[str]] = []

    def show(lines: list[Line]) -> None:
        calls.append([f"{line['address']} of {line.get('host')}" for line in lines])

    try:
        tasks.show_all(all_hosts, "dovecot", ["mailbox-list"], show)
    except CommandError as error:
        return calls, error
    return calls, None


def test_all_hosts_answer() -> None:
    """Each line has its host's number if there are several, and there is one output."""
    assert shown(True) == ([["user-1 of None"]], None)
    assert shown(True, True) == ([["user-1 of 1", "user-2 of 2"]], None)


@pytest.mark.parametrize("dead", [1, 2])
def test_a_host_that_does_not_answer_does_not_hide_the_other(dead: int) -> None:
    """The command shows the others' lines, and ends with that host's failure."""
    calls, error = shown(dead != 1, dead != 2)
    alive = 3 - dead
    assert calls == [[f"user-{alive} of {alive}"]]
    assert error is not None
    assert error.code is Exit.UNAVAILABLE
    assert f"host {dead}" in error.lines[0]


def test_no_host_answers() -> None:
    """Nothing is shown, so that nobody takes it for an empty list."""
    calls, error = shown(False, False)
    assert calls == []
    assert error is not None
