"""What ECS is told of tasks."""

from __future__ import annotations

import pytest

from awsdesk.ecs.ecs_view import EXITED, HOST_GONE, EcsView, TaskState, WantedTask
from awsdesk.ministack_patches import environment, private

ACCOUNT, REGION = "111122223333", "us-east-1"
CLUSTER = f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/c"
TASK = f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/c/one"


@pytest.mark.parametrize("again", [EXITED, HOST_GONE])
def test_a_task_that_has_ended_stays_ended(again: str) -> None:
    """Also where its container is looked at once more, as it is removed."""
    with environment.scope(ACCOUNT, REGION):
        private.ECS.tasks[TASK] = {
            "taskArn": TASK,
            "clusterArn": CLUSTER,
            "lastStatus": "RUNNING",
            "desiredStatus": "RUNNING",
            "containers": [{"name": "one"}],
        }
    task = WantedTask("one", "c", TASK, "", {}, TASK, is_service=False, overrides={})
    view = EcsView(ACCOUNT, REGION)
    for code, how in ((0, EXITED), (137, again)):
        state = TaskState(is_running=False, health="UNKNOWN", reason=how, exit_code=code, ended=how)
        view.report(task, state)
    with environment.scope(ACCOUNT, REGION):
        found = private.ECS.tasks.pop(TASK)
    assert ("STOPPED", "STOPPED") == (found["desiredStatus"], found["lastStatus"])
    assert (EXITED, 0) == (found["stopCode"], found["containers"][0]["exitCode"])
