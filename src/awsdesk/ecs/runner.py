"""Keeping one container of a task running: start it, watch it, check its health, start it again.

As ECS: a container that ends, or is unhealthy, is replaced, with growing waits if that keeps
happening. A container that an earlier daemon started and that is still the wanted one is kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from awsdesk import files
from awsdesk.ecs import ownership
from awsdesk.ecs.container_instance import LABEL_VERSION, PlacementError
from awsdesk.ecs.definition import DefinitionError
from awsdesk.ecs.ecs_view import TaskState
from awsdesk.ecs.engine import EngineError
from awsdesk.ministack_patches.parameters import SecretError
from awsdesk.ministack_patches.roles import RoleRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from awsdesk.ecs.container_instance import ContainerInstance
    from awsdesk.ecs.credentials import TaskCredentials
    from awsdesk.ecs.definition import ContainerSpec, TaskSpec
    from awsdesk.ecs.ecs_view import WantedTask
    from awsdesk.ecs.engine import Container, Engine
    from awsdesk.ministack_patches.parameters import Parameters
    from awsdesk.ministack_patches.roles import Roles

log = logging.getLogger(__name__)

FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
# A container that ran this long was well: the next restart waits as little as the first.
SETTLED_AFTER = 60.0
# How often a new container is asked until it is healthy for the first time. Docker has
# `start-interval` for this; ECS does not pass it on, but a person waits here.
STARTING_INTERVAL = 0.5

_START_FAILURES = (
    DefinitionError,
    EngineError,
    OSError,
    RoleRefusedError,
    SecretError,
)


@dataclass(frozen=True)
class RunnerContext:
    """What a runner works with."""

    engine: Engine
    instance: ContainerInstance
    roles: Roles
    credentials: TaskCredentials
    parameters: Parameters


class ContainerRunner:
    """One container of a wanted task."""

    def __init__(
        self,
        context: RunnerContext,
        task: WantedTask,
        spec: ContainerSpec,
        definition: TaskSpec,
        changed: Callable[[ContainerRunner], None],
    ) -> None:
        self._context = context
        self.task = task
        self.spec = spec
        self._definition = definition
        self._changed = changed
        self.name = context.instance.container_name(task, spec)
        self.version = context.instance.version(task, spec)
        self.state = TaskState(is_running=False, health="UNKNOWN", reason="starting")
        # Starts in a row that failed for the same reason.
        self.failed_starts = 0

    async def run(self) -> None:
        """Keep it running until cancelled; a task that is no service runs once."""
        wait, failed_for = FIRST_WAIT, ""
        while True:
            started = time.monotonic()
            try:
                container = await self._start()
                self.failed_starts = 0
                reason, code = await self._watch(container)
            except PlacementError as error:
                # The host is being prepared: soon there.
                log.info("agent.not_yet container=%s reason=%s", self.name, error)
                self._set(TaskState(is_running=False, health="UNKNOWN", reason=str(error)))
                await asyncio.sleep(STARTING_INTERVAL)
                continue
            except _START_FAILURES as error:
                reason, code = str(error) or type(error).__name__, None
                self.failed_starts = self.failed_starts + 1 if reason == failed_for else 1
                failed_for = reason
                log.warning("agent.start_failed container=%s reason=%s", self.name, reason)
            ran = time.monotonic() - started
            self._set(TaskState(is_running=False, health="UNKNOWN", reason=reason, exit_code=code))
            if not self.task.is_service and code is not None:
                return
            wait = FIRST_WAIT if ran > SETTLED_AFTER else wait
            log.warning(
                "agent.restart_in container=%s seconds=%s reason=%s", self.name, wait, reason
            )
            await asyncio.sleep(wait)
            wait = min(wait * 2, LONGEST_WAIT)

    async def stop(self) -> None:
        """Stop the container with SIGTERM and remove it."""
        engine = self._context.engine
        if await engine.inspect(self.name) is not None:
            log.info("agent.stopping container=%s", self.name)
            await engine.stop(self.name, self.spec.stop_timeout)
            await engine.remove(self.name)
        self._context.credentials.revoke(self.name)
        self._set(TaskState(is_running=False, health="UNKNOWN", reason="stopped"))

    def _set(self, state: TaskState) -> None:
        if state != self.state:
            self.state = state
            self._changed(self)

    async def _start(self) -> Container:
        engine = self._context.engine
        found = await engine.inspect(self.name)
        if found is not None and found.is_running:
            if found.labels.get(LABEL_VERSION) == self.version:
                self._grant(self._token_of_earlier())
                log.info("agent.kept container=%s id=%s", self.name, found.id[:12])
                return found
            await engine.stop(self.name, self.spec.stop_timeout)
        if found is not None:
            await engine.remove(self.name)
        self._set(TaskState(is_running=False, health="UNKNOWN", reason="starting"))
        instance = self._context.instance
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
        env_file = instance.write_environment(self.name, environment)
        try:
            container_id = await engine.run(
                self.spec, instance.placement(self.task, self.spec, env_file)
            )
        finally:
            env_file.unlink(missing_ok=True)
        started = await engine.inspect(container_id)
        if started is None:
            raise EngineError(f"{self.name} vanished as it was started")
        log.info("agent.started container=%s id=%s", self.name, started.id[:12])
        return started

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

    async def _watch(self, container: Container) -> tuple[str, int | None]:
        """Wait until the container ends or has to be replaced; say why."""
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
            last = await self._context.engine.inspect(container.id)
            if last is None:
                return "the container was removed", 137
            why = "out of memory" if last.out_of_memory else f"exit code {last.exit_code}"
            return f"Essential container in task exited: {why}", last.exit_code
        log.warning("agent.unhealthy container=%s", self.name)
        await self._context.engine.stop(container.id, self.spec.stop_timeout)
        return "Task failed container health checks", None

    async def _ended(self, container: Container) -> None:
        """Wait for the end of the container's first process."""
        try:
            descriptor = os.pidfd_open(container.pid)
        except (OSError, AttributeError):
            # The process is not on this machine (an engine in a virtual machine), or just ended.
            while (  # noqa: ASYNC110 - there is nothing to wait for but the engine's word
                found := await self._context.engine.inspect(container.id)
            ) and found.is_running:
                await asyncio.sleep(2)
            return
        loop = asyncio.get_running_loop()
        over = asyncio.Event()
        loop.add_reader(descriptor, over.set)
        try:
            await over.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
        # The engine takes a moment to note it.
        for _ in range(50):
            found = await self._context.engine.inspect(container.id)
            if found is None or not found.is_running:
                return
            await asyncio.sleep(0.1)

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


async def quietly(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for its end; again if it did not take the first word."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=5)
    with contextlib.suppress(asyncio.CancelledError):
        task.result()
