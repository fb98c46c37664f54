"""Keep one container of a task running: start it, watch it, check its health, restart it.

As in ECS, a container that ends or becomes unhealthy is replaced, with growing delays if that keeps
happening. A container that an earlier daemon started is kept if it is still the desired one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from awsdesk import files
from awsdesk.ecs import ownership
from awsdesk.ecs.container_instance import LABEL_VERSION, PlacementError
from awsdesk.ecs.definition import DefinitionError
from awsdesk.ecs.ecs_view import EXITED, HOST_GONE, NO_START, TaskState
from awsdesk.ecs.engine import EngineError
from awsdesk.ecs.run_command import Kind
from awsdesk.ministack_patches.parameters import SecretError
from awsdesk.ministack_patches.roles import RoleRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from awsdesk.ecs.container_instance import ContainerInstance
    from awsdesk.ecs.credentials import TaskCredentials
    from awsdesk.ecs.definition import ContainerSpec, TaskSpec
    from awsdesk.ecs.ecs_view import WantedTask
    from awsdesk.ecs.engine import Container, Engine
    from awsdesk.ecs.log_shipping import LogShipper
    from awsdesk.ministack_patches.log_events import LogEvents
    from awsdesk.ministack_patches.parameters import Parameters
    from awsdesk.ministack_patches.roles import Roles

log = logging.getLogger(__name__)

FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
# After this long, a container counts as stable: its next restart waits as little as the first.
SETTLED_AFTER = 60.0
# After this many failed starts for the same reason, a one-off task has failed.
START_TRIES = 3
# How often a new container is checked until it is healthy for the first time. Docker has
# `start-interval` for this; ECS does not pass it on, but here somebody waits.
STARTING_INTERVAL = 0.5
# How long the engine takes to note that a container's first process has ended.
NOTING = 0.1

_START_FAILURES = (
    DefinitionError,
    EngineError,
    OSError,
    RoleRefusedError,
    SecretError,
)


@dataclass(frozen=True)
class RunnerContext:
    """What a runner uses."""

    engine: Engine
    instance: ContainerInstance
    roles: Roles
    credentials: TaskCredentials
    parameters: Parameters
    logs: LogShipper
    log_events: LogEvents


class ContainerRunner:
    """One container of a wanted task."""

    def __init__(
        self,
        context: RunnerContext,
        task: WantedTask,
        spec: ContainerSpec,
        definition: TaskSpec,
        changed: Callable[[ContainerRunner], None],
        left: Collection[str],
    ) -> None:
        """Name the container and its version; do nothing yet.

        `left`: the names of the containers that an earlier daemon left.
        """
        self._context = context
        self.task = task
        self.spec = spec
        self._definition = definition
        self._changed = changed
        self.name = context.instance.container_name(task, spec)
        self.label = context.instance.label(task, spec)
        self.version = context.instance.version(task, spec)
        self.state = TaskState(is_running=False, health="UNKNOWN", reason="starting")
        # Starts in a row that failed for the same reason.
        self.failed_starts = 0
        # Only for an engine that does not write the log file itself.
        self._copying: asyncio.Task[None] | None = None
        # Whether the engine may have a container of this name. Only this daemon makes any, so it
        # is asked only then: each question is a process of 0.1 s.
        self._may_exist = self.name in left

    async def run(self) -> None:
        """Keep it running until cancelled; a one-off task runs once."""
        if not self.task.is_service:
            await self._run_once()
            return
        wait, failed_for = FIRST_WAIT, ""
        while True:
            started = time.monotonic()
            try:
                container = await self._start()
                self.failed_starts = 0
                state = await self._watch(container)
            except PlacementError as error:
                await self._wait_for_host(error)
                continue
            except _START_FAILURES as error:
                state = self._failed(error, failed_for)
                failed_for = state.reason
            self._end_log()
            ran = time.monotonic() - started
            self._set(state)
            wait = FIRST_WAIT if ran > SETTLED_AFTER else wait
            log.warning(
                "agent.restart_in container=%s seconds=%s reason=%s", self.name, wait, state.reason
            )
            await asyncio.sleep(wait)
            wait = min(wait * 2, LONGEST_WAIT)

    async def _run_once(self) -> None:
        """Run to the end and report it; never twice, even if an earlier daemon started it."""
        failed_for = ""
        while True:
            try:
                state = await self._end_of_earlier()
                if state is None:
                    state = await self._watch(await self._start())
                break
            except PlacementError as error:
                await self._wait_for_host(error)
            except _START_FAILURES as error:
                self._begun.unlink(missing_ok=True)
                state = self._failed(error, failed_for)
                failed_for = state.reason
                if self.failed_starts >= START_TRIES:
                    state = replace(state, ended=NO_START)
                    break
                await asyncio.sleep(FIRST_WAIT)
        self._end_log()
        self._set(state)

    async def _end_of_earlier(self) -> TaskState | None:
        """Return how this one-off container ended if an earlier daemon started it; else None."""
        if not self._begun.exists():
            return None
        found = await self._find()
        return None if found is not None and found.is_running else _end_of(found)

    async def _find(self) -> Container | None:
        """Return the container as the engine knows it."""
        return await self._context.engine.inspect(self.name) if self._may_exist else None

    async def _remove(self) -> None:
        await self._context.engine.remove(self.name)
        self._may_exist = False

    @property
    def _begun(self) -> Path:
        """A file that exists once a one-off container was started, by this or an earlier daemon."""
        return self._context.instance.layout.tasks / f"{self.name}.begun"

    async def _wait_for_host(self, error: PlacementError) -> None:
        # The host is being prepared and will be ready soon.
        log.info("agent.not_yet container=%s reason=%s", self.name, error)
        self._set(TaskState(is_running=False, health="UNKNOWN", reason=str(error)))
        await asyncio.sleep(STARTING_INTERVAL)

    def _failed(self, error: Exception, failed_for: str) -> TaskState:
        reason = str(error) or type(error).__name__
        self.failed_starts = self.failed_starts + 1 if reason == failed_for else 1
        log.warning("agent.start_failed container=%s reason=%s", self.name, reason)
        return TaskState(is_running=False, health="UNKNOWN", reason=reason)

    async def stop(self, *, at_once: bool = False) -> None:
        """Stop the container with SIGTERM, or by SIGKILL at once, and remove it."""
        state = TaskState(is_running=False, health="UNKNOWN", reason="stopped")
        if not self.task.is_service and self.state.ended:
            state = self.state
        elif self._may_exist:
            log.info("agent.stopping container=%s", self.name)
            await self._context.engine.stop(self.name, 0 if at_once else self.spec.stop_timeout)
            if not self.task.is_service:
                state = _end_of(await self._find())
        elif not self.task.is_service:
            state = _end_of(None)
        if self._may_exist:
            if self._copying is not None:
                await asyncio.wait({self._copying}, timeout=5)
            self._end_log()
            await self._remove()
        self._context.credentials.revoke(self.name)
        self._set(state)
        self._begun.unlink(missing_ok=True)
        if not self.task.is_service and self.spec.log is not None:
            # CloudWatch Logs has its output.
            self._context.instance.log_file(self.task, self.spec).unlink(missing_ok=True)

    def _begin_log(self) -> None:
        """Ship its output to its log group, with the permissions of the execution role.

        Raises:
            EngineError: the role may not write there; ECS would not start the container either.
        """
        target, context = self.spec.log, self._context
        if target is None:
            return
        role = self._definition.execution_role_arn
        if role is None:
            raise EngineError(f"{self.name}: a log group, but no execution role to write to it")
        credentials = context.roles.for_task(role, self.task.task_arn, 900)
        task_id = self.task.task_arn.rpartition("/")[2].replace(":", "-")
        stream = f"{target.prefix}/{self.spec.name}/{task_id}"
        arn = f"{context.log_events.arn(target.group)}:log-stream:{stream}"
        for action in ("logs:CreateLogStream", "logs:PutLogEvents"):
            if not context.roles.may(credentials, action, arn):
                raise EngineError(
                    f"failed to initialize logging driver: {role} is not authorized to perform:"
                    f" {action} on {arn}"
                )
        context.log_events.provide(target.group)
        path = context.instance.log_file(self.task, self.spec)
        context.logs.begin(self.name, path, target.group, stream)

    def _end_log(self) -> None:
        self._context.logs.end(self.name)

    def _set(self, state: TaskState) -> None:
        if state != self.state:
            self.state = state
            self._changed(self)

    async def _start(self) -> Container:
        engine, instance = self._context.engine, self._context.instance
        instance.await_host(self.task, self.spec)
        found = await self._find()
        if found is not None and found.is_running:
            if found.labels.get(LABEL_VERSION) == self.version:
                self._grant(self._token_of_earlier())
                self._begin_log()
                self._copy_log(found.id)
                log.info("agent.kept container=%s id=%s", self.name, found.id[:12])
                return found
            await engine.stop(self.name, self.spec.stop_timeout)
        if found is not None:
            await self._remove()
        self._set(TaskState(is_running=False, health="UNKNOWN", reason="starting"))
        if not await engine.has_image(self.spec.image):
            if "@" not in self.spec.image:
                raise EngineError(f"no image {self.spec.image} here; run `make images`")
            await engine.pull(self.spec.image)
        token = self._grant(None)
        environment = instance.environment(self.spec, self.name, token)
        environment |= await self._secrets()
        await ownership.apply(
            instance.owned(self.spec), instance.layout.root, engine, self.spec.image
        )
        self._begin_log()
        env_file = instance.write_environment(self.name, environment)
        if not self.task.is_service:
            files.replace(self._begun, b"")
        self._may_exist = True
        try:
            container_id = await engine.run(
                self.spec, instance.placement(self.task, self.spec, env_file)
            )
        finally:
            env_file.unlink(missing_ok=True)
        started = await engine.inspect(container_id)
        if started is None:
            raise EngineError(f"{self.name} vanished as it was started")
        self._copy_log(started.id)
        log.info("agent.started container=%s id=%s", self.name, started.id[:12])
        return started

    def _copy_log(self, container_id: str) -> None:
        if self._context.engine.kind is not Kind.PODMAN:
            path = self._context.instance.log_file(self.task, self.spec)
            copying = self._context.engine.copy_log(container_id, path)
            self._copying = asyncio.create_task(copying)

    def _grant(self, token: str | None) -> str | None:
        role = self._definition.task_role_arn
        if role is None:
            return None
        token = self._context.credentials.grant(self.name, role, self.task.task_arn, token)
        files.replace(self._token_file, json.dumps({"token": token}).encode(), durable=False)
        return token

    @property
    def _token_file(self) -> Path:
        return self._context.instance.layout.tasks / f"{self.name}.json"

    def _token_of_earlier(self) -> str | None:
        try:
            return str(json.loads(self._token_file.read_text(encoding="ascii"))["token"])
        except (OSError, ValueError, KeyError):
            return None

    async def _secrets(self) -> dict[str, str]:
        if not self.spec.secrets:
            return {}
        role = self._definition.execution_role_arn
        if role is None:
            raise SecretError(f"{self.task.name} has secrets but no execution role")
        credentials = self._context.roles.for_task(role, self.task.task_arn, 900)
        return await self._context.parameters.fetch(self.spec.secrets, credentials)

    async def _watch(self, container: Container) -> TaskState:
        """Wait until the container ends or has to be replaced; return the reason."""
        health = "UNKNOWN" if self.spec.health is None else "STARTING"
        self._set(TaskState(is_running=True, health=health))
        ended = asyncio.create_task(self._ended(container))
        checking = asyncio.create_task(self._until_unhealthy(container))
        try:
            await asyncio.wait({ended, checking}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in (ended, checking):
                one.cancel()
            await asyncio.gather(ended, checking, return_exceptions=True)
        if not ended.cancelled() and ended.exception() is None:
            if self._copying is not None:
                await asyncio.wait({self._copying}, timeout=5)
            return _end_of(ended.result())
        log.warning("agent.unhealthy container=%s", self.name)
        await self._context.engine.stop(container.id, self.spec.stop_timeout)
        why = "Task failed container health checks"
        return TaskState(is_running=False, health="UNKNOWN", reason=why, ended=EXITED)

    async def _ended(self, container: Container) -> Container | None:
        """Wait for the end of the container's first process; return what the engine noted of it."""
        try:
            descriptor = os.pidfd_open(container.pid)
        except (OSError, AttributeError):
            # The process is not on this machine (an engine in a virtual machine), or has just
            # ended.
            while (  # noqa: ASYNC110 - there is nothing to wait for but the engine's word
                found := await self._context.engine.inspect(container.id)
            ) and found.is_running:
                await asyncio.sleep(2)
            return found
        await _readable(descriptor)
        found = None
        for _ in range(50):
            await asyncio.sleep(NOTING)
            found = await self._context.engine.inspect(container.id)
            if found is None or not found.is_running:
                break
        return found

    async def _until_unhealthy(self, container: Container) -> None:
        check = self.spec.health
        if check is None:
            await asyncio.Event().wait()
            return
        started = time.monotonic()
        failures = 0
        was_healthy = False
        while True:
            well = await self._context.engine.ask(container.id, check.command, check.timeout)
            if well:
                failures, was_healthy = 0, True
                self._set(TaskState(is_running=True, health="HEALTHY"))
            elif was_healthy or time.monotonic() - started > check.start_period:
                failures += 1
                if failures >= check.retries:
                    self._set(TaskState(is_running=True, health="UNHEALTHY"))
                    return
            starting = not was_healthy and time.monotonic() - started <= check.start_period
            await asyncio.sleep(STARTING_INTERVAL if starting else check.interval)


def _end_of(container: Container | None) -> TaskState:
    """Return how a container ended; None if it no longer exists."""
    if container is None:
        why = "the container was removed"
        return TaskState(is_running=False, health="UNKNOWN", reason=why, ended=HOST_GONE)
    code = container.exit_code
    return TaskState(
        is_running=False,
        health="UNKNOWN",
        reason="Essential container in task exited"
        + (": out of memory" if container.out_of_memory else f": exit code {code}"),
        exit_code=code,
        ended=EXITED,
        out_of_memory=container.out_of_memory,
    )


async def _readable(descriptor: int) -> None:
    """Wait until a file descriptor is readable, and close it."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(descriptor, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


async def quietly(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for its end; cancel again if the first time had no effect."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=5)
    with contextlib.suppress(asyncio.CancelledError):
        task.result()
