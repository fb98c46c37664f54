"""The agent's reconcile loop: make the running containers equal to the desired ones.

It runs after each call of ECS, and every few seconds. A changed service is stopped, then started
again (ports and sockets belong to the host); a removed service is stopped and removed.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from awsdesk.ecs import definition
from awsdesk.ecs.container_instance import LABEL_DESK, LABEL_TASK, ContainerInstance
from awsdesk.ecs.credentials import TaskCredentials
from awsdesk.ecs.definition import DefinitionError
from awsdesk.ecs.ecs_view import HOST_GONE, EcsView, TaskState
from awsdesk.ecs.engine import EngineError
from awsdesk.ecs.log_shipping import LogShipper
from awsdesk.ecs.runner import ContainerRunner, RunnerContext, quietly
from awsdesk.ministack_patches.log_events import LogEvents
from awsdesk.ministack_patches.parameters import Parameters
from awsdesk.ministack_patches.roles import Roles

if TYPE_CHECKING:
    from collections.abc import Mapping

    from awsdesk.ecs.ecs_view import WantedTask
    from awsdesk.ecs.engine import Engine
    from awsdesk.layout import DeskLayout
    from awsdesk.settings import DeskSettings

log = logging.getLogger(__name__)

LOOK_EVERY = 5.0
# After this many failed starts for the same reason, a container will not start any more.
GIVE_UP_STARTS = 3


@dataclass
class _Running:
    runner: ContainerRunner
    running: asyncio.Task[None]


class Reconciler:
    """Runs the containers of one desk's services and tasks."""

    def __init__(self, layout: DeskLayout, desk: DeskSettings, engine: Engine) -> None:
        ecs = EcsView(desk.account_id, desk.region)
        roles = Roles(desk.account_id, desk.region)
        self._ecs = ecs
        self._layout = layout
        self._engine = engine
        self.credentials = TaskCredentials(roles, desk.credential_seconds)
        log_events = LogEvents(desk.account_id, desk.region)
        self._logs = LogShipper(log_events)
        self._context = RunnerContext(
            engine=engine,
            instance=ContainerInstance(layout, desk, ecs),
            roles=roles,
            credentials=self.credentials,
            parameters=Parameters(desk.account_id, desk.region),
            logs=self._logs,
            log_events=log_events,
        )
        self._running: dict[str, _Running] = {}
        # The names of the containers that an earlier daemon left.
        self._left: set[str] = set()
        self._refused: dict[str, str] = {}
        # Tasks of clusters that have no host yet.
        self._homeless: list[str] = []
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Reconcile now."""
        self._wake.set()

    def tasks(self) -> list[Mapping[str, object]]:
        """Return the state of every container, for the status."""
        found: list[Mapping[str, object]] = [
            {
                "task": one.runner.label,
                "service": one.runner.task.name,
                "container": one.runner.name,
                "image": one.runner.spec.image,
                "running": one.runner.state.is_running,
                "health": one.runner.state.health,
                "reason": one.runner.state.reason,
                "failed_starts": one.runner.failed_starts,
                "task_definition": one.runner.task.task_definition_arn,
            }
            for one in self._running.values()
        ]
        found += [
            {
                "task": name,
                "running": False,
                "health": "UNKNOWN",
                "reason": why,
                # A definition that is refused once is refused always.
                "failed_starts": GIVE_UP_STARTS,
            }
            for name, why in self._refused.items()
        ]
        found += [
            {
                "task": name,
                "running": False,
                "health": "UNKNOWN",
                "reason": "waits for its host",
                "failed_starts": 0,
            }
            for name in self._homeless
        ]
        return found

    def terminated_hosts(self) -> list[int]:
        """Return the numbers of the hosts whose instances are terminated; nothing runs there."""
        return self._context.instance.terminated()

    async def run(self) -> None:
        """Reconcile until cancelled."""
        await self._take_over()
        shipping = asyncio.create_task(self._logs.run())
        try:
            while True:
                self._wake.clear()
                await self._look()
                try:
                    async with asyncio.timeout(LOOK_EVERY):
                        await self._wake.wait()
                except TimeoutError:
                    continue
        finally:
            shipping.cancel()

    async def stop_all(self) -> None:
        """Stop every container, all at once."""
        await asyncio.gather(*(self._drop(name) for name in list(self._running)))

    async def _look(self) -> None:
        wanted = self._wanted()
        for name, one in list(self._running.items()):
            if name not in wanted or wanted[name].version != one.runner.version:
                await self._drop(name)
        for name, runner in wanted.items():
            if name not in self._running:
                self._running[name] = _Running(runner, asyncio.create_task(runner.run()))
        self._ecs.settle({one.runner.task.task_arn for one in self._running.values()})

    def _wanted(self) -> dict[str, ContainerRunner]:
        found: dict[str, ContainerRunner] = {}
        self._refused.clear()
        self._homeless.clear()
        tasks = self._ecs.wanted()
        # Until it is written which cluster is on which host, there is a single one.
        is_unclear = len({task.cluster for task in tasks}) > 1 and not (
            self._layout.instances.exists()
        )
        for task in tasks:
            if self._context.instance.is_lost(task):
                self._end_with_host(task)
                continue
            if is_unclear or self._context.instance.of(task) is None:
                self._homeless.append(task.name)
                continue
            try:
                spec = definition.read(task.definition, task.overrides)
            except (DefinitionError, KeyError, TypeError, ValueError) as error:
                self._refused[task.name] = f"task definition refused: {error}"
                log.error("agent.definition_refused task=%s reason=%s", task.name, error)  # noqa: TRY400
                continue
            for container in spec.containers:
                runner = ContainerRunner(
                    self._context, task, container, spec, self._report, self._left
                )
                if runner.name in found:
                    self._refused[task.name] = f"there is a container {container.name} already"
                else:
                    found[runner.name] = runner
        return found

    def _end_with_host(self, task: WantedTask) -> None:
        """Report as ended a one-off task that its host's end has overtaken before it began."""
        if task.is_service or any(
            one.runner.task.task_arn == task.task_arn for one in self._running.values()
        ):
            return
        why = "Host EC2 terminated."
        self._ecs.report(
            task, TaskState(is_running=False, health="UNKNOWN", reason=why, ended=HOST_GONE)
        )

    def _report(self, runner: ContainerRunner) -> None:
        """Report a task's state to ECS: that of its worst essential container."""
        siblings = [
            one.runner
            for one in self._running.values()
            if one.runner.task.name == runner.task.name and one.runner.spec.essential
        ]
        states = [one.state for one in siblings] or [runner.state]
        healths = [state.health for state in states]
        worst = next((h for h in ("UNHEALTHY", "STARTING", "UNKNOWN") if h in healths), "HEALTHY")
        self._ecs.report(
            runner.task,
            TaskState(
                is_running=all(state.is_running for state in states),
                health="UNKNOWN" if worst == "STARTING" else worst,
                reason=runner.state.reason,
                exit_code=runner.state.exit_code,
                ended=runner.state.ended,
                out_of_memory=runner.state.out_of_memory,
            ),
        )

    async def _drop(self, name: str) -> None:
        one = self._running[name]
        await quietly(one.running)
        try:
            await one.runner.stop(at_once=self._context.instance.is_lost(one.runner.task))
        except EngineError as error:
            log.error("agent.stop_failed container=%s reason=%s", name, error)  # noqa: TRY400
            return
        self._running.pop(name, None)

    async def _take_over(self) -> None:
        """Note which containers an earlier daemon left; remove those that are not desired."""
        while True:
            try:
                found = await self._engine.labelled(f"{LABEL_DESK}={self._layout.name}")
                break
            except EngineError as error:
                log.error("agent.engine_failed reason=%s", error)  # noqa: TRY400
                await asyncio.sleep(LOOK_EVERY)
        self._left = {one.name for one in found}
        wanted = self._wanted()
        for one in found:
            if one.name in wanted:
                continue
            log.info("agent.removing_stranger task=%s", one.labels.get(LABEL_TASK))
            try:
                await self._engine.stop(one.id, 10)
                await self._engine.remove(one.id)
            except EngineError as error:
                log.error("agent.engine_failed reason=%s", error)  # noqa: TRY400
