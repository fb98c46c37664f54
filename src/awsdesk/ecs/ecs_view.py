"""Read from the emulated ECS what should run, and report to it what does run.

ministack records clusters, services, task definitions and tasks, and declares a task RUNNING as
soon as it is requested. The agent reads the desired tasks here and writes back their real state.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, cast

from awsdesk.ministack_patches import environment, instances, private

# How a task ended, in ECS's words.
EXITED, NO_START = "EssentialContainerExited", "TaskFailedToStart"
BY_USER, HOST_GONE = "UserInitiated", "TerminationNotice"
_ENDS = "_ends"
_OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"


@dataclass(frozen=True)
class WantedTask:
    """One copy of a task definition that should run."""

    # The service's name, or the id of a one-off task.
    name: str
    cluster: str
    task_arn: str
    task_definition_arn: str
    definition: dict[str, Any]
    # Changes whenever ECS would replace the running copy (new definition or forced deployment).
    deployment: str
    is_service: bool
    overrides: dict[str, Any]


@dataclass(frozen=True)
class TaskState:
    """What the agent knows about a task."""

    is_running: bool
    health: str
    reason: str = ""
    exit_code: int | None = None
    # Only for a one-off task: how it ended, in ECS's words.
    ended: str = ""
    out_of_memory: bool = False


@dataclass(frozen=True)
class EcsView:
    """ECS in one account and region."""

    account_id: str
    region: str

    def wanted(self) -> list[WantedTask]:
        """Return every task that should run, by cluster and name."""
        with environment.scope(self.account_id, self.region):
            services = [
                copy.deepcopy(dict(private.ECS.services[key])) for key in list(private.ECS.services)
            ]
            tasks = [dict(private.ECS.tasks[key]) for key in list(private.ECS.tasks)]
            found = [self._of_service(s, tasks) for s in services if s["status"] == "ACTIVE"]
            found += [self._alone(task) for task in tasks]
        return sorted((t for t in found if t is not None), key=lambda t: (t.cluster, t.name))

    def report(self, task: WantedTask, state: TaskState) -> None:
        """Write a task's real state into ECS's answers."""
        with environment.scope(self.account_id, self.region):
            stored = private.ECS.tasks.get(task.task_arn)
            if stored is not None:
                if not task.is_service and state.ended:
                    _mark_stopped(stored, state)
                    return
                status = "RUNNING" if state.is_running else "PENDING"
                stored["lastStatus"] = status
                stored["healthStatus"] = state.health
                # A service that is updated while its task is pending keeps that task here.
                stored["taskDefinitionArn"] = task.task_definition_arn
                for container in stored.get("containers", []):
                    container["lastStatus"] = status
                    container["healthStatus"] = state.health
            service = (
                private.ECS.services.get(f"{task.cluster}/{task.name}") if task.is_service else None
            )
            if service is not None:
                running = int(state.is_running)
                service["runningCount"] = running
                service["pendingCount"] = 1 - running
                for deployment in service["deployments"][:1]:
                    deployment["runningCount"] = running
                    deployment["pendingCount"] = 1 - running
                    steady = state.is_running and state.health in {"HEALTHY", "UNKNOWN"}
                    deployment["rolloutState"] = "COMPLETED" if steady else "IN_PROGRESS"
                    if steady:
                        # One task per service: nothing remains of an older deployment.
                        del service["deployments"][1:]

    def settle(self, kept: set[str]) -> None:
        """Report to ECS as stopped the tasks that should stop before they were started here.

        `kept`: the ARNs of the tasks that have a container.
        """
        with environment.scope(self.account_id, self.region):
            for key in list(private.ECS.tasks):
                task = private.ECS.tasks[key]
                is_to_stop = task.get("desiredStatus") == "STOPPED"
                if is_to_stop and task.get("lastStatus") != "STOPPED" and key not in kept:
                    _mark_stopped(
                        task, TaskState(is_running=False, health="UNKNOWN", ended=NO_START)
                    )

    def is_lost(self, group: str) -> bool:
        """Return whether the host of an Auto Scaling group is terminated."""
        return instances.is_lost(self.account_id, self.region, group)

    def access_point(self, access_point_id: str) -> dict[str, Any] | None:
        """Return an EFS access point as EFS describes it."""
        with environment.scope(self.account_id, self.region):
            found = private.EFS.access_points.get(access_point_id)
            return None if found is None else copy.deepcopy(dict(found))

    def _of_service(
        self, service: dict[str, Any], tasks: list[dict[str, Any]]
    ) -> WantedTask | None:
        if service.get("desiredCount", 0) < 1:
            return None
        group = f"service:{service['serviceName']}"
        current = [
            task
            for task in tasks
            if task.get("group") == group
            and task.get("clusterArn") == service["clusterArn"]
            and task.get("desiredStatus") == "RUNNING"
        ]
        definition = self._definition(service["taskDefinition"])
        if definition is None:
            return None
        deployments = cast("list[dict[str, Any]]", service.get("deployments") or [{}])
        arn = current[-1]["taskArn"] if current else f"{service['serviceArn']}/{group}"
        return WantedTask(
            name=service["serviceName"],
            cluster=service["clusterArn"].rpartition("/")[2],
            task_arn=str(arn),
            task_definition_arn=str(definition["taskDefinitionArn"]),
            definition=definition,
            deployment=str(deployments[0].get("id", "")),
            is_service=True,
            overrides={},
        )

    def _alone(self, task: dict[str, Any]) -> WantedTask | None:
        if str(task.get("group", "")).startswith("service:"):
            return None
        if task.get("desiredStatus") != "RUNNING" or task.get("lastStatus") == "STOPPED":
            return None
        definition = self._definition(task["taskDefinitionArn"])
        if definition is None:
            return None
        return WantedTask(
            name=str(task["taskArn"]).rpartition("/")[2],
            cluster=str(task["clusterArn"]).rpartition("/")[2],
            task_arn=str(task["taskArn"]),
            task_definition_arn=str(definition["taskDefinitionArn"]),
            definition=definition,
            deployment=str(task["taskArn"]),
            is_service=False,
            overrides=copy.deepcopy(task.get("overrides") or {}),
        )

    def _definition(self, reference: str) -> dict[str, Any] | None:
        key = private.ECS.resolve_td_key(reference)
        found = private.ECS.task_defs.get(key)
        return None if found is None else copy.deepcopy(dict(found))


def _mark_stopped(stored: dict[str, Any], state: TaskState) -> None:
    """Note once how a task ended; who requested the end is noted already."""
    if stored.get("lastStatus") == "STOPPED":
        return
    if state.out_of_memory:
        for container in stored.get("containers", []):
            container["reason"] = _OUT_OF_MEMORY
    # If its end was requested, ministack would regard it as ended.
    stored.update({"desiredStatus": "RUNNING", _ENDS: True})
    private.ECS.mark_task_stopped(
        stored["taskArn"],
        stored,
        stored.get("stoppedReason") or state.reason or "Essential container in task exited",
        stored.get("stopCode") or state.ended,
        state.exit_code,
    )


def install() -> None:
    """Make StopTask request the end, and a task STOPPED only when its container has ended.

    ministack reports it stopped at once, with exit code 0; then a second task could run beside it.
    """
    mark = private.ECS.mark_task_stopped

    def noted(arn: str, task: dict[str, Any], reason: str, code: str, exit_code: Any = None) -> Any:
        is_alone = not str(task.get("group", "")).startswith("service:")
        if not task.pop(_ENDS, False) and code == BY_USER and is_alone:
            task.update(desiredStatus="STOPPED", stoppedReason=reason, stopCode=code)
            return True
        return mark(arn, task, reason, code, exit_code)

    private.ECS.replace("mark_task_stopped", noted)
