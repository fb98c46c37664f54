"""The operators' policy, asked as IAM would be: what it is for, and what it must not give."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import parliament
import pytest
from policy_questions import OTHER, Question, ask
from registrations import ACCOUNT, REGION
from test_every_document import weakened

from postal_plexus.config.operator_policy import document

HERE = f"{REGION}:{ACCOUNT}"
URL = f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/plexus-main"
PARTS: dict[str, Any] = {
    "region": REGION,
    "bucket": "plexus-main-archive-1",
    "cluster": "plexus-main-cluster-1",
    "file_system": "fs-1",
    "directory_object": "s3://plexus-main-archive-1/directory/directory.json",
    "services": {"deliver": "plexus-main-deliver-1", "dovecot": "plexus-main-dovecot-1"},
    "backup_vault": "plexus-main-vault-1",
    "backup_role": f"arn:aws:iam::{ACCOUNT}:role/plexus-main-backup-1",
    "queue_url": f"{URL}-mail-1",
    "events_queue_url": f"{URL}-events-1",
    "dead_letter_queue_url": f"{URL}-dead-letters-1",
    "log_groups": {name: f"plexus-main-{name}-1" for name in ("deliver", "maintenance")},
    "maintenance": {
        "dovecot": "plexus-main-maintenance-dovecot",
        "postfix": "plexus-main-maintenance-postfix",
    },
}
SECOND: dict[str, Any] = {
    "cluster": "plexus-main-cluster-2-5a32223",
    "host_group": "plexus-main-host-2-5a32223",
    "services": {
        "deliver": "plexus-main-deliver-2-5a32223",
        "dovecot": "plexus-main-dovecot-2-5a32223",
    },
    "queue_url": f"{URL}-mail-2-5a32223",
    "events_queue_url": f"{URL}-events-2-5a32223",
    "dead_letter_queue_url": f"{URL}-dead-letters-2-5a32223",
    "log_groups": {"deliver": "plexus-main-deliver-2-5a32223"},
}


def as_made(text: str) -> str:
    """Return a text with the first host's names as Pulumi makes them, which no number could be."""
    return re.sub(r"(plexus-main-[a-z-]+)-1\b", r"\1-1a2b3c4", text)


OF_TWO = {
    **json.loads(as_made(json.dumps(PARTS))),
    "host_group": "plexus-main-host-1a2b3c4",
    "other_hosts": [SECOND],
}
QUEUES = f"arn:aws:sqs:{HERE}:plexus-main"
ECS, LOGS = f"arn:aws:ecs:{HERE}", f"arn:aws:logs:{HERE}:log-group:plexus-main"
PARAMETER = f"arn:aws:ssm:{HERE}:parameter/postal-plexus/main"
CLUSTER = {"ecs:cluster": f"{ECS}:cluster/plexus-main-cluster-1"}
TO_TASKS = {"iam:PassedToService": "ecs-tasks.amazonaws.com"}
ROLE = f"arn:aws:iam::{ACCOUNT}:role/plexus-main"
MAIL = "arn:aws:s3:::plexus-main-archive-1"

READING = [
    Question(True, "ssm:GetParameter", f"{PARAMETER}/system"),
    Question(False, "ssm:GetParameter", f"{PARAMETER}/ses-smtp-password"),
    Question(True, "ses:GetAccount", "*"),
    Question(True, "ses:GetEmailIdentity", f"arn:aws:ses:{HERE}:identity/example.org"),
    Question(True, "cloudwatch:DescribeAlarms", f"arn:aws:cloudwatch:{HERE}:alarm:*"),
    Question(True, "budgets:ViewBudget", f"arn:aws:budgets::{ACCOUNT}:budget/*"),
    Question(False, "budgets:ModifyBudget", f"arn:aws:budgets::{ACCOUNT}:budget/*"),
    Question(False, "ses:SendRawEmail", f"arn:aws:ses:{HERE}:identity/example.org"),
    Question(True, "ecs:DescribeServices", f"{ECS}:service/plexus-main-cluster-1/x"),
    Question(
        True, "ecr:DescribeImages", f"arn:aws:ecr:{HERE}:repository/plexus-main-image-dovecot"
    ),
    Question(True, "ce:GetCostAndUsage", "*"),
    Question(False, "ce:UpdatePreferences", "*"),
    Question(False, "ecr:PutImage", f"arn:aws:ecr:{HERE}:repository/plexus-main-image-dovecot"),
    Question(
        True,
        "elasticfilesystem:DescribeFileSystems",
        f"arn:aws:elasticfilesystem:{HERE}:file-system/fs-1",
    ),
    Question(True, "s3:ListBucket", MAIL, keys={"s3:prefix": "directory/directory.json"}),
    Question(True, "sqs:GetQueueAttributes", f"{QUEUES}-mail-1"),
    Question(False, "sqs:ReceiveMessage", f"{QUEUES}-mail-1"),
    Question(True, "sqs:ReceiveMessage", f"{QUEUES}-dead-letters-1"),
    Question(True, "logs:FilterLogEvents", f"{LOGS}-deliver-1:log-stream:x"),
    Question(False, "logs:FilterLogEvents", f"{LOGS}-maintenance-1:log-stream:x"),
    Question(False, "s3:GetObject", f"{MAIL}/elsewhere"),
    Question(False, "s3:PutObject", f"{MAIL}/inbound/1"),
    Question(False, "ecs:RegisterTaskDefinition", f"{ECS}:task-definition/x:1"),
    Question(False, "iam:PassRole", f"{ROLE}-host", keys=TO_TASKS),
    Question(
        False, "elasticfilesystem:ClientMount", f"arn:aws:elasticfilesystem:{HERE}:file-system/fs-1"
    ),
]
FAMILY = f"{ECS}:task-definition/plexus-main-maintenance-postfix"
ACTING = [
    Question(True, "sqs:DeleteMessage", f"{QUEUES}-dead-letters-1"),
    Question(False, "sqs:DeleteMessage", f"{QUEUES}-mail-1"),
    Question(True, "sqs:SendMessage", f"{QUEUES}-mail-1"),
    Question(True, "sns:ListTopics", "*"),
    Question(True, "sns:Publish", f"arn:aws:sns:{HERE}:plexus-main-watch-alarms-1"),
    Question(False, "sns:Publish", f"arn:aws:sns:{HERE}:plexus-main-received-1"),
    Question(True, "ecs:RunTask", f"{FAMILY}:3", keys=CLUSTER),
    Question(True, "ecs:RunTask", FAMILY, keys=CLUSTER),
    Question(False, "ecs:RunTask", f"{FAMILY}:3"),
    Question(False, "ecs:RunTask", f"{ECS}:task-definition/plexus-main-deliver:3", keys=CLUSTER),
    Question(True, "ecs:ListTasks", "*", keys=CLUSTER),
    Question(False, "ecs:ListTasks", "*"),
    Question(True, "ecs:StopTask", f"{ECS}:task/plexus-main-cluster-1/1"),
    Question(False, "ecs:StopTask", f"{ECS}:task/another/1"),
    Question(True, "iam:PassRole", f"{ROLE}-maintenance-postfix-task-1", keys=TO_TASKS),
    Question(False, "iam:PassRole", f"{ROLE}-maintenance-postfix-task-1"),
    Question(False, "iam:PassRole", f"{ROLE}-deliver-task-1", keys=TO_TASKS),
    Question(True, "logs:GetLogEvents", f"{LOGS}-maintenance-1:log-stream:x"),
    Question(True, "ssm:PutParameter", f"{PARAMETER}/hand-over/1"),
    Question(False, "ssm:PutParameter", f"{PARAMETER}/system"),
    Question(False, "ssm:GetParameter", f"{PARAMETER}/hand-over/1"),
]
READING_MAIL = [
    Question(True, "s3:GetObject", f"{MAIL}/directory/directory.json"),
    Question(True, "s3:GetObject", f"{MAIL}/deliveries/2026/1"),
    Question(True, "s3:GetObject", f"{MAIL}/inbound/1"),
    Question(True, "s3:GetObject", f"{MAIL}/moving/1/000000"),
    Question(True, "s3:DeleteObject", f"{MAIL}/moving/1/000000"),
    Question(False, "s3:PutObject", f"{MAIL}/inbound/1"),
    Question(False, "s3:DeleteObject", f"{MAIL}/inbound/1"),
    Question(True, "s3:ListBucket", MAIL),
]

BACKUP = f"arn:aws:backup:{HERE}"
TO_BACKUP = {"iam:PassedToService": "backup.amazonaws.com"}
SERVICES = f"{ECS}:service/plexus-main-cluster-1/plexus-main"
RESTORING = [
    Question(True, "s3:PutObject", f"{MAIL}/moving/1/000000"),
    Question(
        True, "backup:ListRecoveryPointsByBackupVault", f"{BACKUP}:backup-vault:plexus-main-vault-1"
    ),
    Question(True, "backup:StartRestoreJob", f"{BACKUP}:recovery-point:1"),
    Question(False, "backup:DeleteRecoveryPoint", f"{BACKUP}:recovery-point:1"),
    Question(True, "backup:DescribeRestoreJob", "*"),
    Question(True, "iam:PassRole", f"{ROLE}-backup-1", keys=TO_BACKUP),
    Question(False, "iam:PassRole", f"{ROLE}-backup-1"),
    Question(True, "ecs:UpdateService", f"{SERVICES}-dovecot-1"),
    Question(False, "ecs:UpdateService", f"{SERVICES}-deliver-1"),
]

# WorkMail is in few regions; the stack's may be another.
IN_WORKMAIL = f"arn:aws:workmail:eu-west-1:{ACCOUNT}:organization/m-1"
READING_WORKMAIL = [
    Question(True, "workmail:ListOrganizations", "*"),
    *(
        Question(True, f"workmail:{action}", IN_WORKMAIL)
        for action in (
            "GetMailboxDetails",
            "ListAliases",
            "ListGroupMembers",
            "ListGroups",
            "ListMailDomains",
            "ListMailboxPermissions",
            "ListResources",
            "ListUsers",
        )
    ),
    Question(False, "workmail:CreateUser", IN_WORKMAIL),
    Question(False, "workmail:ListUsers", IN_WORKMAIL.replace(ACCOUNT, OTHER)),
]

# What there is of a second host; and of its namesake in a stack of another name.
SECOND_CLUSTER = {"ecs:cluster": f"{ECS}:cluster/plexus-main-cluster-2-5a32223"}
OTHER_CLUSTER = {"ecs:cluster": f"{ECS}:cluster/plexus-main-2-cluster-5a32223"}
GROUPS = f"arn:aws:autoscaling:{HERE}:autoScalingGroup:1b2c:autoScalingGroupName/plexus-main"
READING_SECOND = [
    Question(True, "ssm:GetParameter", f"{PARAMETER}/system-2"),
    Question(True, "ecs:DescribeServices", f"{ECS}:service/plexus-main-cluster-2-5a32223/x"),
    Question(True, "sqs:GetQueueAttributes", f"{QUEUES}-mail-2-5a32223"),
    Question(False, "sqs:ReceiveMessage", f"{QUEUES}-mail-2-5a32223"),
    Question(True, "sqs:ReceiveMessage", f"{QUEUES}-dead-letters-2-5a32223"),
    Question(False, "sqs:ReceiveMessage", f"{QUEUES}-2-dead-letters-5a32223"),
    Question(True, "logs:FilterLogEvents", f"{LOGS}-deliver-2-5a32223:log-stream:x"),
]
ACTING_ON_SECOND = [
    Question(True, "sqs:DeleteMessage", f"{QUEUES}-dead-letters-2-5a32223"),
    Question(True, "sqs:SendMessage", f"{QUEUES}-mail-2-5a32223"),
    Question(True, "ecs:RunTask", f"{FAMILY}:3", keys=SECOND_CLUSTER),
    Question(False, "ecs:RunTask", f"{FAMILY}:3", keys=OTHER_CLUSTER),
    Question(True, "ecs:ListTasks", "*", keys=SECOND_CLUSTER),
    Question(False, "ecs:ListTasks", "*", keys=OTHER_CLUSTER),
    Question(True, "ecs:StopTask", f"{ECS}:task/plexus-main-cluster-2-5a32223/1"),
    Question(True, "ec2:DescribeInstances", "*"),
    Question(False, "ec2:TerminateInstances", f"arn:aws:ec2:{HERE}:instance/i-1"),
    *(
        Question(allowed, f"autoscaling:{action}", f"{GROUPS}{group}")
        for action in ("SuspendProcesses", "ResumeProcesses")
        for group, allowed in (
            ("-host-1a2b3c4", True),
            ("-host-2-5a32223", True),
            ("-2-host-5a32223", False),
            ("-fleet-5a32223", False),
        )
    ),
    Question(False, "autoscaling:UpdateAutoScalingGroup", f"{GROUPS}-host-2-5a32223"),
    Question(False, "autoscaling:SetDesiredCapacity", f"{GROUPS}-host-2-5a32223"),
]
OF_SECOND = f"{ECS}:service/plexus-main-cluster-2-5a32223/plexus-main"
RESTORING_SECOND = [
    Question(True, "ecs:UpdateService", f"{OF_SECOND}-dovecot-2-5a32223"),
    Question(False, "ecs:UpdateService", f"{OF_SECOND}-deliver-2-5a32223"),
]


def never(questions: list[Question]) -> list[Question]:
    """Return these questions with the expected answer no."""
    return [replace(each, allowed=False) for each in questions]


CASES = [
    ({"acts": True}, READING + ACTING + never(READING_MAIL + RESTORING + READING_WORKMAIL)),
    ({"acts": True, "mail": True}, READING + ACTING + READING_MAIL + RESTORING),
    ({"acts": False}, READING + never(ACTING + READING_MAIL + RESTORING)),
    ({"acts": False, "mail": True}, READING + never(ACTING + RESTORING) + READING_MAIL),
    ({"workmail": True}, READING + ACTING + never(READING_MAIL + RESTORING) + READING_WORKMAIL),
]


@pytest.mark.parametrize(("size", "questions"), CASES)
def test_it_gives_what_it_is_for_and_nothing_else(
    size: dict[str, bool], questions: list[Question]
) -> None:
    """In each size; and the questions notice the loss of any statement or condition."""
    policy = json.loads(document("main", ACCOUNT, PARTS, **size))
    assert [] == [each for each in questions if each.allowed != ask(policy, each)]
    unnoticed = [
        what
        for what, less in weakened(policy)
        if all(each.allowed == ask(less, each) for each in questions)
    ]
    assert [] == unnoticed


CASES_OF_TWO = [
    (
        {"acts": True},
        READING + ACTING + READING_SECOND + ACTING_ON_SECOND,
        READING_MAIL + RESTORING + RESTORING_SECOND + READING_WORKMAIL,
    ),
    (
        {"acts": True, "mail": True},
        READING
        + ACTING
        + READING_SECOND
        + ACTING_ON_SECOND
        + READING_MAIL
        + RESTORING
        + RESTORING_SECOND,
        [],
    ),
    (
        {"acts": False},
        READING + READING_SECOND,
        ACTING + ACTING_ON_SECOND + READING_MAIL + RESTORING + RESTORING_SECOND,
    ),
]


@pytest.mark.parametrize(("size", "given", "beyond"), CASES_OF_TWO)
def test_with_two_hosts_it_reaches_both_and_no_namesake(
    size: dict[str, bool], given: list[Question], beyond: list[Question]
) -> None:
    """A failover needs to see instances and to suspend the groups' launches, and no more."""
    policy = json.loads(document("main", ACCOUNT, OF_TWO, **size))
    questions = [
        replace(
            each,
            resource=as_made(each.resource),
            keys={key: as_made(value) for key, value in each.keys.items()},
        )
        for each in given + never(beyond)
    ]
    assert [] == [each for each in questions if each.allowed != ask(policy, each)]
    unnoticed = [
        what
        for what, less in weakened(policy)
        if all(each.allowed == ask(less, each) for each in questions)
    ]
    assert [] == unnoticed


@pytest.mark.parametrize("parts", [PARTS, OF_TWO])
def test_it_is_sound_and_fits(parts: dict[str, Any]) -> None:
    """parliament finds no fault; a managed policy holds 6,144 characters without blanks."""
    text = document("main", ACCOUNT, parts, mail=True, workmail=True)
    findings = parliament.analyze_policy_string(text).findings
    assert [] == [each.issue for each in findings if each.issue != "RESOURCE_STAR"]
    assert 6144 >= len(json.dumps(json.loads(text), separators=(",", ":")))
