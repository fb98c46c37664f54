"""Start a one-off task on the mail host, follow its log, and stop it.

Control-C stops the task; `TaskStoppedError` then says how it ended.

The task runs `postal_plexus.maintenance` in a container beside Dovecot or Postfix. Only one runs at
a time, because memory is reserved for one; a second one is refused, with who runs what and since
when. Two that start at the same moment see each other after their start, and the later one stops.

In a stack of several hosts a task begins on host 1 unless told otherwise, or on the next if host 1
is not there. If the task answers that the mailbox lives on another host, it is started there, and
so are the following ones.

Failures: `BusyError` another task runs; `TaskFailedError` it did not start, was killed, or its last
lines are missing (`NoHostError`: its host does not start it); `RefusedError` it ended with an exit
code and a message; OperationError for other failures.
"""

from __future__ import annotations

import re
import secrets
import signal
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import current_thread, main_thread
from typing import TYPE_CHECKING, Any

from postal_plexus.config.names import hand_over_prefix
from postal_plexus.maintenance.codes import AGAIN, KILLED
from postal_plexus.maintenance.output import ELSEWHERE, ERROR
from postal_plexus.operations.system import OperationError, told
from postal_plexus.operations.task_output import Line, TaskOutput

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from datetime import datetime

    from postal_plexus.operations.system import System

_LOOK_SECONDS = 0.5
_STATE_SECONDS = 1.5
# CloudWatch Logs may deliver lines after ECS reports that the task has stopped.
_LATE_SECONDS = 20.0
_STOP_SECONDS = 60.0
# A task takes some seconds to begin. An agent that is connected but hangs leaves it PENDING.
_BEGIN_SECONDS = 120.0
_NOT_BEGUN = {"PROVISIONING", "PENDING", "ACTIVATING"}

# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/api_failures_messages.html
_PLACED_NOWHERE = {
    "RESOURCE:MEMORY": "the host has no memory left for it: something else is running there for a"
    " moment (a certificate's renewal, a deployment); try again in a few minutes",
    "RESOURCE:CPU": "the host has no processor left for it; try again in a few minutes",
    "RESOURCE:PORTS": "a port that it needs is in use on the host",
    "AGENT": "the host's ECS agent is not connected: see plexus doctor",
    "EMPTY CAPACITY PROVIDER": "there is no host now: see plexus doctor",
    "INACTIVE": "the host or the cluster is inactive: see plexus doctor",
}
_WITHOUT_HOST = ("AGENT", "EMPTY CAPACITY PROVIDER", "INACTIVE")
# A mailbox that moves may be answered for by its former host.
_MOST_MOVES = 4
_NO_HOST = "there is no host in the cluster now: it is being replaced, or see plexus doctor"


class BusyError(OperationError):
    """Another task runs."""


class TaskFailedError(OperationError):
    """The task did not start, or did not complete."""


class NoHostError(TaskFailedError):
    """The host is not there, or does not start the task. Nothing was done."""


class TaskStoppedError(OperationError):
    """Control-C stopped the task."""


class RefusedError(OperationError):
    """The task ended with an exit code and a message.

    Attributes:
        code: one of those that `postal_plexus.maintenance.task` lists.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class Running:
    """A task that runs now."""

    arn: str
    verb: str
    who: str
    since: datetime

    @property
    def order(self) -> tuple[datetime, str]:
        """A key that sorts tasks by their start."""
        return self.since, self.arn

    def __str__(self) -> str:
        """Return who runs what, and since when."""
        return f"{self.who} runs {self.verb} since {self.since:%Y-%m-%d %H:%M:%S %Z}"


@dataclass(frozen=True)
class Ended:
    """How a task ended, according to ECS; `code` is None if the container never ran."""

    code: int | None
    why: str


def explain_placement(reason: str) -> str:
    """Return why ECS could not place a task, and the remedy."""
    known = next((text for key, text in _PLACED_NOWHERE.items() if reason.startswith(key)), None)
    return f"the task was not started: {known or reason}"


def explain_end(ended: Ended, noise: Sequence[str]) -> str:
    """Return why a task did not complete."""
    said = f" ({noise[-1][:300]})" if noise else ""
    if ended.code == KILLED:
        return (
            "the task was killed (exit code 137): it exceeded its memory limit, or the host ran out"
            f" of memory{said}"
        )
    if ended.code is None:
        return f"the task did not run: {ended.why or 'ECS does not say why'}"
    return f"the task ended with exit code {ended.code}: {ended.why}{said}"


class _Elsewhere(Exception):  # noqa: N818  no error: the task goes on there
    """The mailbox lives on another host, whose number this is."""

    def __init__(self, host: int) -> None:
        super().__init__(host)
        self.host = host


class _Said:
    """What a task has said: the first error, and where mailboxes live that it has not."""

    def __init__(self, tell: Callable[[Line], None]) -> None:
        self._tell = tell
        self._failure: Line | None = None
        self._elsewhere: list[Line] = []

    def take(self, line: Line) -> None:
        """Take a line; tell it if it is a result."""
        if line["kind"] == ERROR:
            self._failure = self._failure or line
        elif line["kind"] == ELSEWHERE:
            self._elsewhere.append(line)
        else:
            self._tell(line)

    def end(self, code: int, why: str) -> None:
        """Raise what the task's exit code means; `why` is the text if it said none.

        Raises:
            _Elsewhere: its mailbox lives on another host.
            RefusedError: it has failed.
        """
        if code == AGAIN and self._elsewhere:
            raise _Elsewhere(int(self._elsewhere[-1]["host"]))
        for line in self._elsewhere:
            self._tell(line)
        if code:
            raise RefusedError(code, str(self._failure["text"] if self._failure else why))


class Tasks:
    """The tasks of a stack, or of one host of it.

    Args:
        system: the host on which the next task starts.
        elsewhere: whether a task may start on another host if this one is not there.
    """

    def __init__(self, system: System, *, elsewhere: bool = True) -> None:
        self._system = system
        self._elsewhere = elsewhere
        self._ecs: Any = system.client("ecs")
        self._logs: Any = system.client("logs")
        if "maintenance" not in system.parts:
            raise OperationError(
                f"the stack {system.stack!r} has no tasks yet: it was deployed by an earlier"
                " version; run `pulumi up` once"
            )
        self._families: dict[str, str] = system.parts["maintenance"]
        self._group: str = system.parts["log_groups"]["maintenance"]

    @property
    def host(self) -> System:
        """The host on which the next task starts."""
        return self._system

    @property
    def _cluster(self) -> str:
        return self._system.parts["cluster"]

    def on_each_host(self) -> list[Tasks]:
        """Return the tasks of each host, by its number."""
        return [Tasks(host, elsewhere=False) for host in self._system.hosts]

    def on_host(self, number: int) -> Tasks:
        """Return the tasks of one host."""
        return Tasks(self._system.hosts[number - 1], elsewhere=False)

    def running(self) -> list[Running]:
        """Return the running tasks, the oldest first."""
        found: list[Running] = []
        for family in self._families.values():
            with told("ECS"):
                arns = self._ecs.list_tasks(cluster=self._cluster, family=family)["taskArns"]
            # ECS lists a task for a moment after its end.
            found += [
                _running(each) for each in self._describe(arns) if each["lastStatus"] != "STOPPED"
            ]
        return sorted(found, key=lambda each: each.order)

    def run(
        self,
        image: str,
        words: Sequence[str],
        tell: Callable[[Line], None],
        *,
        memory: int | None = None,
    ) -> None:
        """Run one verb of an image's table to its end; `tell` gets each line once, in order.

        Args:
            image: `dovecot` or `postfix`.
            words: the verb, its options (`--name=value`) and its arguments; at most 8 KB.
            tell: gets all lines except those of the kind "error".
            memory: the memory limit in MiB, if larger than the task definition's.
        """
        # Any host can say where a mailbox lives.
        others = [each for each in self._system.hosts if each.host != self._system.host]
        moves = 0
        while moves < _MOST_MOVES:
            try:
                self._run(image, words, tell, memory)
            except _Elsewhere as elsewhere:
                moves += 1
                self._system = self._system.hosts[elsewhere.host - 1]
            except NoHostError as error:
                if not self._elsewhere:
                    raise
                if self._system.count == 1:
                    raise
                if moves or not others:
                    raise NoHostError(f"host {self._system.host}: {error}") from error
                self._system = others.pop(0)
            else:
                return
        raise RefusedError(AGAIN, "the mailbox moves between hosts: try again in a minute")

    def _run(
        self, image: str, words: Sequence[str], tell: Callable[[Line], None], memory: int | None
    ) -> None:
        """Run it on the present host. Raise _Elsewhere if the mailbox lives on another one."""
        if others := self.running():
            raise BusyError(f"one task at a time: {others[0]}")
        arn = ""
        try:
            with _interrupted_later():
                started = self._start(image, words, memory)
                arn = started.arn
            # It may have ended by itself already.
            if others := [each for each in self.running() if each.order < started.order]:
                self._stop(arn, "another task began earlier")
                raise BusyError(f"one task at a time: {others[0]}")
            self._follow(arn, f"maintenance-{image}", tell)
        except KeyboardInterrupt:
            if not arn:
                raise TaskStoppedError("interrupted before a task was started") from None
            self._stop(arn, "interrupted by the operator")
            raise TaskStoppedError(
                f"the task {arn.rpartition('/')[2]} is stopped; its work is left unfinished"
            ) from None

    @contextmanager
    def handed_over(self, secret: str) -> Generator[str]:
        """Hand a secret to the task that is run within; yield its name for the task's arguments."""
        ssm = self._system.client("ssm")
        name = secrets.token_hex(16)
        parameter = f"{hand_over_prefix(self._system.stack)}{name}"
        with told("SSM"):
            ssm.put_parameter(Name=parameter, Value=secret, Type="SecureString")
        try:
            yield name
        finally:
            # The task has removed it, unless it never started.
            with told("SSM"), suppress(ssm.exceptions.ParameterNotFound):
                ssm.delete_parameter(Name=parameter)

    def _start(self, image: str, words: Sequence[str], memory: int | None) -> Running:
        override: dict[str, Any] = {"name": f"maintenance-{image}", "command": list(words)}
        if memory is not None:
            override["memory"] = memory
        if self._system.count > 1:
            # One definition is for all hosts; it has the number and name of host 1.
            override["environment"] = [
                {"name": "PLEXUS_SHARD", "value": str(self._system.host)},
                {"name": "PLEXUS_HOSTNAME", "value": str(self._system.parts["mail_host"])},
            ]
        with told("ECS"):
            try:
                answer = self._ecs.run_task(
                    cluster=self._cluster,
                    taskDefinition=self._families[image],
                    launchType="EC2",
                    count=1,
                    startedBy=self._who(),
                    overrides={"containerOverrides": [override]},
                )
            except self._ecs.exceptions.InvalidParameterException as error:
                if "No Container Instances" in str(error):
                    raise NoHostError(f"the task was not started: {_NO_HOST}") from error
                raise
        if not answer["tasks"]:
            reason = next((each.get("reason", "") for each in answer["failures"]), "")
            failure = NoHostError if reason.startswith(_WITHOUT_HOST) else TaskFailedError
            raise failure(explain_placement(reason))
        return _running(answer["tasks"][0])

    def _who(self) -> str:
        with told("STS"):
            arn = self._system.client("sts").get_caller_identity()["Arn"]
        # ECS accepts letters, digits, hyphens, slashes and underscores here.
        return re.sub(r"[^A-Za-z0-9_-]", "-", str(arn).rpartition("/")[2].rpartition(":")[2])[:36]

    def _follow(self, arn: str, container: str, tell: Callable[[Line], None]) -> None:
        stream = f"{container}/{container}/{arn.rpartition('/')[2]}"
        output, token = TaskOutput(), ""
        said = _Said(tell)
        ended: Ended | None = None
        look_again = late_until = 0.0
        to_begin_until: float | None = time.monotonic() + _BEGIN_SECONDS
        while True:
            messages, token = self._read(stream, token)
            for line in output.take(messages):
                said.take(line)
            now = time.monotonic()
            if ended is None and now >= look_again:
                look_again = now + _STATE_SECONDS
                state = self._state(arn)
                if (ended := _ended(state)) is not None:
                    late_until = time.monotonic() + (_LATE_SECONDS if ended.code is not None else 0)
                elif to_begin_until is not None:
                    to_begin_until = self._awaited(arn, state, to_begin_until)
            if ended is not None and (output.is_whole or now >= late_until or ended.code is None):
                break
            if not messages:
                time.sleep(_LOOK_SECONDS)
        if not output.is_whole:
            if ended.code == 0:
                raise TaskFailedError(
                    f"the task has succeeded, but its last lines are missing: read {stream} in"
                    f" the log group {self._group}"
                )
            raise TaskFailedError(explain_end(ended, output.noise))
        said.end(output.code or 0, explain_end(ended, output.noise))

    def _read(self, stream: str, token: str) -> tuple[list[str], str]:
        """Return a stream's new events and the next token; nothing while there is no stream."""
        with told("CloudWatch Logs"):
            try:
                answer = self._logs.get_log_events(
                    logGroupName=self._group,
                    logStreamName=stream,
                    startFromHead=True,
                    **({"nextToken": token} if token else {}),
                )
            except self._logs.exceptions.ResourceNotFoundException:
                return [], token
        return [each["message"] for each in answer["events"]], answer["nextForwardToken"]

    def _awaited(self, arn: str, state: dict[str, Any] | None, until: float) -> float | None:
        """Return until when a task's begin is awaited, or None if it has begun.

        Raises:
            NoHostError: it has not begun in time; ECS will stop it.
        """
        if state is None or state["lastStatus"] not in _NOT_BEGUN:
            return None
        if time.monotonic() < until:
            return until
        self._request_stop(arn, "the host did not start it")
        raise NoHostError(
            f"the host has not started the task in {_BEGIN_SECONDS:.0f} s: see plexus doctor"
        )

    def _state(self, arn: str) -> dict[str, Any] | None:
        (task,) = self._describe([arn]) or (None,)
        return task

    def _describe(self, arns: Sequence[str]) -> list[dict[str, Any]]:
        if not arns:
            return []
        with told("ECS"):
            return self._ecs.describe_tasks(cluster=self._cluster, tasks=list(arns))["tasks"]

    def _stop(self, arn: str, why: str) -> None:
        """Stop a task, and wait a limited time for its end."""
        self._request_stop(arn, why)
        until = time.monotonic() + _STOP_SECONDS
        while time.monotonic() < until and _ended(self._state(arn)) is None:
            time.sleep(_LOOK_SECONDS)

    def _request_stop(self, arn: str, why: str) -> None:
        with told("ECS"):
            self._ecs.stop_task(cluster=self._cluster, task=arn, reason=f"plexus: {why}")


@contextmanager
def _interrupted_later() -> Generator[None]:
    """Delay Control-C until the end of the block, which is short: then the task is known."""
    usual = signal.getsignal(signal.SIGINT)
    if usual is not signal.default_int_handler or current_thread() is not main_thread():
        yield
        return
    came: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
        if came:
            raise KeyboardInterrupt


def _ended(task: dict[str, Any] | None) -> Ended | None:
    """Return how a task ended, as ECS describes it; None while it has not."""
    if task is None:
        return Ended(None, "ECS no longer knows it")
    if task["lastStatus"] != "STOPPED":
        return None
    container = task["containers"][0]
    why = container.get("reason") or task.get("stoppedReason") or ""
    return Ended(container.get("exitCode"), why)


def _running(task: dict[str, Any]) -> Running:
    overrides: list[dict[str, Any]] = task["overrides"].get("containerOverrides") or [{}]
    command: list[str] = overrides[0].get("command") or ["something"]
    return Running(
        str(task["taskArn"]),
        str(command[0]),
        str(task.get("startedBy") or "somebody"),
        task["createdAt"],
    )
