"""The policy documents of what runs by the clock, plain data like `documents`.

Sources: the role of a schedule,
https://docs.aws.amazon.com/scheduler/latest/UserGuide/setting-up.html; its dead-letter queue,
https://docs.aws.amazon.com/scheduler/latest/UserGuide/configuring-schedule-dlq.html; tags given
as a task starts, https://docs.aws.amazon.com/AmazonECS/latest/developerguide/supported-iam-actions-tagging.html.
"""

from collections.abc import Sequence

from deployment.documents import Statement, document


def trust(account: str, group_arn: str) -> str:
    """Allow EventBridge Scheduler to take the role for schedules in this stack's group."""
    return document(
        {
            "Sid": "Schedules",
            "Effect": "Allow",
            "Principal": {"Service": "scheduler.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {
                "StringEquals": {"aws:SourceAccount": account, "aws:SourceArn": group_arn}
            },
        }
    )


def put_aside(queue_arn: str) -> Statement:
    """Allow the schedule's role to put failed starts into its dead-letter queue."""
    return {
        "Sid": "SayWhatWasMissed",
        "Effect": "Allow",
        "Action": ["sqs:SendMessage"],
        "Resource": [queue_arn],
    }


def run_task(
    task_family_arn: str, cluster_arn: str, role_arns: Sequence[str], missed_arn: str
) -> str:
    """Allow the schedule to run any revision of one task, in one cluster, with that task's roles.

    The task gets its definition's tags. For this, ECS requires ecs:TagResource on the task, and
    without it refuses the whole call.
    """
    tasks = cluster_arn.replace(":cluster/", ":task/") + "/*"
    return document(
        {
            "Sid": "RunTheTask",
            "Effect": "Allow",
            "Action": ["ecs:RunTask"],
            # With and without a revision: the schedule names the family, whose newest revision
            # runs.
            "Resource": [task_family_arn, f"{task_family_arn}:*"],
            "Condition": {"ArnEquals": {"ecs:cluster": cluster_arn}},
        },
        {
            "Sid": "TagItAsItStarts",
            "Effect": "Allow",
            "Action": ["ecs:TagResource"],
            "Resource": [tasks],
            "Condition": {"StringEquals": {"ecs:CreateAction": "RunTask"}},
        },
        {
            "Sid": "GiveTheTaskItsRoles",
            "Effect": "Allow",
            "Action": ["iam:PassRole"],
            "Resource": sorted(role_arns),
            "Condition": {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
        },
        put_aside(missed_arn),
    )


def start_build(project_arn: str, missed_arn: str) -> str:
    """Allow the schedule to start one project's build."""
    return document(
        {
            "Sid": "StartTheBuild",
            "Effect": "Allow",
            "Action": ["codebuild:StartBuild"],
            "Resource": [project_arn],
        },
        put_aside(missed_arn),
    )
