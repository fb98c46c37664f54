"""Every policy document as the program registers it, asked by whom it is for and by whom it is not.

`QUESTIONS` has an entry for each document; a new one without fails. An entry's questions are good
enough when they notice the loss of any statement, and of any condition, of their document.
"""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from policy_questions import (
    HERE,
    OTHER,
    Question,
    ask,
    examining,
    execution,
    for_us,
    published,
    queued,
    trusted,
)
from registrations import ACCOUNT, REGION, Run

TASK = f"arn:aws:ecs:{HERE}:task/plexus-main-cluster/1"
TASKS = trusted(
    "ecs-tasks.amazonaws.com",
    for_us(TASK),
    for_us(TASK, OTHER),
    for_us(TASK.replace(ACCOUNT, OTHER)),
    for_us(TASK.replace(REGION, "eu-west-1")),
)
BUCKET = "arn:aws:s3:::plexus-main-archive-1a2b3c4"
RULE = f"arn:aws:ses:{HERE}:receipt-rule-set/plexus-main-rules:receipt-rule/recipients-0"
SETS = f"arn:aws:ses:{HERE}:configuration-set"
IDENTITY = f"arn:aws:ses:{HERE}:identity"
QUEUES = f"arn:aws:sqs:{HERE}:plexus-main"
CLUSTER = f"arn:aws:ecs:{HERE}:cluster/plexus-main-cluster"
INSTANCES = CLUSTER.replace(":cluster/", ":container-instance/")
CERTBOT = f"arn:aws:ecs:{HERE}:task-definition/plexus-main-certbot:7"
ROLES = f"arn:aws:iam::{ACCOUNT}:role/plexus-main"
GROUP = f"arn:aws:scheduler:{HERE}:ScheduleGroup/plexus-main-certbot"
RULES = f"arn:aws:events:{HERE}:rule/plexus"
NEW_TASK = TASK.rpartition("/")[0] + "/new"
OUR_SERVICE = f"arn:aws:ecs:{HERE}:service/plexus-main-cluster/plexus-main-postfix"
PROJECT = f"arn:aws:codebuild:{HERE}:project/plexus-main-patches"
IMAGE = f"arn:aws:ecr:{HERE}:repository/plexus-main-image-postfix"
OUR_TAG = {"aws:RequestTag/postal-plexus:stack": "main"}
AS_REGISTERED = {"ecs:CreateAction": "RegisterTaskDefinition"}
TO_TASKS = {"iam:PassedToService": "ecs-tasks.amazonaws.com"}
TO_EC2 = {"iam:PassedToService": "ec2.amazonaws.com"}
AS_IT_STARTS = {"ecs:CreateAction": "RunTask"}
EC2 = f"arn:aws:ec2:{HERE}"
STORE = f"arn:aws:elasticfilesystem:{HERE}:file-system/fs-0123"
DOOR = f"arn:aws:elasticfilesystem:{HERE}:access-point/fsap-0123"
HANDED = f"arn:aws:ssm:{HERE}:parameter/postal-plexus/main"
SITE = "arn:aws:s3:::plexus-main-clients-1a2b3c4"
SITES = f"arn:aws:cloudfront:{HERE}:Distribution/plexus-main-clients"
FROM_RULE = (
    for_us(RULE),
    for_us(RULE, OTHER),
    for_us(RULE.replace("plexus-main", "plexus-other")),
)
BY_DOOR = {"elasticfilesystem:AccessPointArn": DOOR}
BY_CALENDARS = {"elasticfilesystem:AccessPointArn": f"{DOOR}-calendars"}
BY_WHOLE = {"elasticfilesystem:AccessPointArn": f"{DOOR}-whole"}
RESTORING = f"{ROLES}-maintenance-restore-task-1a2b3c4"
TAGGED = {"aws:ResourceTag/postal-plexus:stack": "main"}
IN_CLUSTER = {"ecs:cluster": CLUSTER}
CHALLENGE = {
    "route53:ChangeResourceRecordSetsNormalizedRecordNames": ["_acme-challenge.mail.example.org"],
    "route53:ChangeResourceRecordSetsRecordTypes": ["TXT"],
    "route53:ChangeResourceRecordSetsActions": ["UPSERT"],
}
MX = {
    **CHALLENGE,
    "route53:ChangeResourceRecordSetsNormalizedRecordNames": ["example.org"],
    "route53:ChangeResourceRecordSetsRecordTypes": ["MX"],
}
UPPER = {"ses:FromAddress": "Ann@Example.org"}
ANN, STRANGER = {"ses:FromAddress": "ann@example.org"}, {"ses:FromAddress": "ann@example.com"}
_SES, _CDN = "ses.amazonaws.com", "cloudfront.amazonaws.com"

QUESTIONS: dict[str, list[Question]] = {
    "BucketPolicy plexus-main-archive": [
        Question(True, "s3:PutObject", f"{BUCKET}/inbound/1", _SES, FROM_RULE[0]),
        *(
            Question(False, "s3:PutObject", f"{BUCKET}/inbound/1", _SES, other)
            for other in FROM_RULE[1:]
        ),
        Question(False, "s3:PutObject", f"{BUCKET}/directory/directory.json", _SES, FROM_RULE[0]),
        Question(False, "s3:GetObject", f"{BUCKET}/inbound/1", _SES, FROM_RULE[0]),
        Question(True, "s3:GetObject", f"{BUCKET}/inbound/1"),
        Question(False, "s3:GetObject", f"{BUCKET}/inbound/1", tls=False),
    ],
    "BucketPolicy plexus-main-clients": [
        Question(True, "s3:GetObject", f"{SITE}/x", _CDN, for_us(f"{SITES}-example.org")),
        Question(False, "s3:GetObject", f"{SITE}/x", _CDN, for_us(f"{SITES}-example.com")),
        Question(True, "s3:ListBucket", SITE, _CDN, for_us(f"{SITES}-example.net")),
        Question(False, "s3:ListBucket", SITE, _CDN, for_us(f"{SITES}-example.com")),
        Question(False, "s3:PutObject", f"{SITE}/x", _CDN, for_us(f"{SITES}-example.org")),
        Question(True, "s3:GetObject", f"{SITE}/x"),
        Question(False, "s3:GetObject", f"{SITE}/x", tls=False),
    ],
    "FileSystemPolicy plexus-main-mailboxes": [
        Question(True, "elasticfilesystem:ClientWrite", STORE, keys=BY_DOOR),
        Question(True, "elasticfilesystem:ClientWrite", STORE, keys=BY_CALENDARS),
        Question(False, "elasticfilesystem:ClientWrite", STORE),
        Question(False, "elasticfilesystem:ClientWrite", STORE, keys=BY_DOOR, tls=False),
        Question(False, "elasticfilesystem:ClientWrite", STORE, keys=BY_DOOR, account=OTHER),
        Question(False, "elasticfilesystem:ClientWrite", STORE, keys=BY_WHOLE),
        Question(True, "elasticfilesystem:ClientWrite", STORE, keys=BY_WHOLE, role=RESTORING),
        Question(False, "elasticfilesystem:ClientWrite", STORE, role=RESTORING),
    ],
    "QueuePolicy plexus-main-dead-letters": queued("dead-letters", "events", "received"),
    "QueuePolicy plexus-main-events": queued("events", "events"),
    "QueuePolicy plexus-main-mail": queued("mail", "received"),
    "TopicPolicy plexus-main-events": published(
        "events",
        _SES,
        for_us(f"{SETS}/plexus-main-sending"),
        for_us(f"{SETS}/plexus-main-sending", OTHER),
        for_us(f"{SETS}/plexus-other-sending"),
    ),
    "TopicPolicy plexus-main-received": published("received", _SES, *FROM_RULE),
    "TopicPolicy plexus-main-watch-alarms": [
        *published("watch-alarms", "cloudwatch.amazonaws.com", for_us(), for_us("", OTHER)),
        *published(
            "watch-alarms",
            "events.amazonaws.com",
            for_us(f"{RULES}-main-watch-deployment-1a2b3c4"),
            for_us(f"{RULES}-other-watch-deployment-1a2b3c4"),
            for_us(f"{RULES}-main-watch-deployment-1a2b3c4".replace(ACCOUNT, OTHER)),
        ),
    ],
    "Role plexus-main-certbot-execution": TASKS,
    "Role plexus-main-certbot-task": TASKS,
    "Role plexus-main-deliver-execution": TASKS,
    "Role plexus-main-deliver-task": TASKS,
    "Role plexus-main-dovecot-execution": TASKS,
    "Role plexus-main-dovecot-task": TASKS,
    "Role plexus-main-maintenance-calendars-execution": TASKS,
    "Role plexus-main-maintenance-calendars-task": TASKS,
    "Role plexus-main-maintenance-dovecot-execution": TASKS,
    "Role plexus-main-maintenance-dovecot-task": TASKS,
    "Role plexus-main-maintenance-postfix-execution": TASKS,
    "Role plexus-main-maintenance-postfix-task": TASKS,
    "Role plexus-main-maintenance-restore-execution": TASKS,
    "Role plexus-main-maintenance-restore-task": TASKS,
    "Role plexus-main-postfix-execution": TASKS,
    "Role plexus-main-postfix-task": TASKS,
    "Role plexus-main-web-execution": TASKS,
    "Role plexus-main-web-task": TASKS,
    "Role plexus-main-certbot-schedule": trusted(
        "scheduler.amazonaws.com",
        for_us(GROUP),
        for_us(GROUP, OTHER),
        for_us(GROUP.replace("plexus-main", "plexus-other")),
    ),
    "Role plexus-main-patches": trusted(
        "codebuild.amazonaws.com",
        for_us(PROJECT),
        for_us(PROJECT, OTHER),
        for_us(PROJECT.replace("plexus-main", "plexus-other")),
    ),
    "Role plexus-main-patches-schedule": trusted(
        "scheduler.amazonaws.com",
        for_us(GROUP.replace("certbot", "patches")),
        for_us(GROUP.replace("certbot", "patches"), OTHER),
        for_us(GROUP),
    ),
    "Role plexus-main-doctor": trusted(
        "codebuild.amazonaws.com",
        for_us(PROJECT.replace("patches", "doctor")),
        for_us(PROJECT.replace("patches", "doctor"), OTHER),
        for_us(PROJECT),
    ),
    "Role plexus-main-doctor-schedule": trusted(
        "scheduler.amazonaws.com",
        for_us(GROUP.replace("certbot", "doctor")),
        for_us(GROUP.replace("certbot", "doctor"), OTHER),
        for_us(GROUP),
    ),
    # EC2 gives a role to instances of its own account only, and sets no source.
    "Role plexus-main-host": trusted("ec2.amazonaws.com", {}),
    "Role plexus-main-mailboxes-backup": trusted(
        "backup.amazonaws.com", for_us(), for_us("", OTHER), {}
    ),
    "RolePolicy plexus-main-certbot-execution": execution("certbot"),
    "RolePolicy plexus-main-deliver-execution": execution("deliver"),
    "RolePolicy plexus-main-dovecot-execution": execution("dovecot"),
    "RolePolicy plexus-main-maintenance-calendars-execution": execution("web", log="maintenance"),
    "RolePolicy plexus-main-maintenance-dovecot-execution": execution("dovecot", log="maintenance"),
    "RolePolicy plexus-main-maintenance-postfix-execution": execution("postfix", log="maintenance"),
    "RolePolicy plexus-main-maintenance-restore-execution": execution("dovecot", log="maintenance"),
    "RolePolicy plexus-main-postfix-execution": execution(
        "postfix", "ses-smtp-password", "ses-smtp-username"
    ),
    "RolePolicy plexus-main-web-execution": execution("web"),
    "RolePolicy plexus-main-certbot-schedule": [
        Question(True, "ecs:RunTask", CERTBOT, keys=IN_CLUSTER),
        Question(True, "ecs:RunTask", CERTBOT.removesuffix(":7"), keys=IN_CLUSTER),
        Question(False, "ecs:RunTask", CERTBOT, keys={"ecs:cluster": CLUSTER + "2"}),
        Question(False, "ecs:RunTask", CERTBOT.replace("certbot", "deliver"), keys=IN_CLUSTER),
        Question(True, "ecs:TagResource", NEW_TASK, keys=AS_IT_STARTS),
        Question(False, "ecs:TagResource", NEW_TASK),
        Question(False, "ecs:TagResource", NEW_TASK.replace("-main", "-two"), keys=AS_IT_STARTS),
        Question(True, "sqs:SendMessage", f"{QUEUES}-certbot-missed"),
        Question(False, "sqs:SendMessage", f"{QUEUES}-dead-letters"),
        Question(
            True,
            "iam:PassRole",
            f"{ROLES}-certbot-task",
            keys={"iam:PassedToService": "ecs-tasks.amazonaws.com"},
        ),
        Question(
            False,
            "iam:PassRole",
            f"{ROLES}-certbot-task",
            keys={"iam:PassedToService": "ec2.amazonaws.com"},
        ),
        Question(
            False,
            "iam:PassRole",
            f"{ROLES}-deliver-task",
            keys={"iam:PassedToService": "ecs-tasks.amazonaws.com"},
        ),
    ],
    "RolePolicy plexus-main-certbot-task": [
        Question(
            True,
            "route53:ChangeResourceRecordSets",
            "arn:aws:route53:::hostedzone/ZEXAMPLE.ORG",
            keys=CHALLENGE,
        ),
        Question(
            False,
            "route53:ChangeResourceRecordSets",
            "arn:aws:route53:::hostedzone/ZEXAMPLE.ORG",
            keys=MX,
        ),
        Question(
            False,
            "route53:ChangeResourceRecordSets",
            "arn:aws:route53:::hostedzone/ZEXAMPLE.COM",
            keys=CHALLENGE,
        ),
        Question(True, "route53:ListHostedZones", "*"),
        Question(True, "route53:GetChange", "arn:aws:route53:::change/C1"),
        Question(False, "route53:DeleteHostedZone", "arn:aws:route53:::hostedzone/ZEXAMPLE.ORG"),
    ],
    "RolePolicy plexus-main-patches-schedule": [
        Question(True, "codebuild:StartBuild", PROJECT),
        Question(False, "codebuild:StartBuild", PROJECT.replace("main", "other")),
        Question(False, "codebuild:UpdateProject", PROJECT),
        Question(True, "sqs:SendMessage", f"{QUEUES}-patches-missed"),
        Question(False, "sqs:SendMessage", f"{QUEUES}-certbot-missed"),
    ],
    "RolePolicy plexus-main-doctor-schedule": [
        Question(True, "codebuild:StartBuild", PROJECT.replace("patches", "doctor")),
        Question(False, "codebuild:StartBuild", PROJECT),
        Question(True, "sqs:SendMessage", f"{QUEUES}-doctor-missed"),
        Question(False, "sqs:SendMessage", f"{QUEUES}-patches-missed"),
    ],
    "RolePolicy plexus-main-doctor": examining(
        BUCKET, "plexus-main-cluster", STORE.replace("fs-0123", "filesystem-plexus-main-mailboxes")
    ),
    "RolePolicy plexus-main-patches": [
        Question(
            True,
            "logs:PutLogEvents",
            f"arn:aws:logs:{HERE}:log-group:plexus-main-patches:log-stream:1",
        ),
        Question(
            False,
            "logs:PutLogEvents",
            f"arn:aws:logs:{HERE}:log-group:plexus-main-deliver:log-stream:1",
        ),
        Question(True, "s3:GetObject", f"{BUCKET}/source/source.zip"),
        Question(False, "s3:PutObject", f"{BUCKET}/source/source.zip"),
        Question(False, "s3:GetObject", f"{BUCKET}/inbound/1"),
        Question(False, "s3:GetObject", f"{BUCKET}/directory/directory.json"),
        Question(True, "ecr:GetAuthorizationToken", "*"),
        Question(True, "ecr:PutImage", f"arn:aws:ecr:{HERE}:repository/plexus-main-image-postfix"),
        Question(False, "ecr:PutImage", f"arn:aws:ecr:{HERE}:repository/another"),
        Question(False, "ecr:BatchDeleteImage", IMAGE),
        Question(True, "ecs:DescribeTaskDefinition", "*"),
        Question(True, "ecs:RegisterTaskDefinition", CERTBOT, keys=OUR_TAG),
        Question(False, "ecs:RegisterTaskDefinition", CERTBOT),
        Question(
            False, "ecs:RegisterTaskDefinition", CERTBOT.replace("main", "other"), keys=OUR_TAG
        ),
        Question(True, "ecs:TagResource", CERTBOT, keys=AS_REGISTERED),
        Question(False, "ecs:TagResource", CERTBOT, keys=AS_IT_STARTS),
        Question(False, "ecs:TagResource", CERTBOT.replace("main", "other"), keys=AS_REGISTERED),
        *(
            Question(True, "iam:PassRole", f"{ROLES}-{name}-{kind}", keys=TO_TASKS)
            for name in ("certbot", "deliver", "dovecot", "postfix", "web")
            for kind in ("task", "execution")
        ),
        Question(False, "iam:PassRole", f"{ROLES}-deliver-task", keys=TO_EC2),
        Question(False, "iam:PassRole", f"{ROLES}-host", keys=TO_TASKS),
        Question(True, "ecs:UpdateService", OUR_SERVICE, keys=IN_CLUSTER),
        Question(False, "ecs:UpdateService", OUR_SERVICE, keys={"ecs:cluster": CLUSTER + "2"}),
        Question(False, "ecs:DeleteService", OUR_SERVICE, keys=IN_CLUSTER),
        Question(True, "ecs:ListTasks", f"{INSTANCES.rpartition('/')[0]}/x/1", keys=IN_CLUSTER),
        Question(False, "ecs:ListTasks", f"{INSTANCES.rpartition('/')[0]}/x/1"),
        Question(True, "ecs:DescribeTasks", TASK, keys=IN_CLUSTER),
        Question(False, "ecs:DescribeTasks", TASK),
        Question(False, "ecs:RunTask", CERTBOT, keys=IN_CLUSTER),
    ],
    "RolePolicy plexus-main-deliver-task": [
        Question(True, "s3:GetObject", f"{BUCKET}/inbound/1"),
        Question(True, "s3:GetObject", f"{BUCKET}/directory/directory.json"),
        Question(False, "s3:PutObject", f"{BUCKET}/inbound/1"),
        Question(True, "s3:PutObject", f"{BUCKET}/deliveries/2026-11-28/1.jsonl"),
        Question(False, "s3:GetObject", f"{BUCKET}/deliveries/2026-11-28/1.jsonl"),
        Question(False, "s3:GetObject", f"{SITE}/x"),
        Question(True, "s3:ListBucket", BUCKET),
        Question(True, "sqs:ReceiveMessage", f"{QUEUES}-mail"),
        Question(True, "sqs:DeleteMessage", f"{QUEUES}-events"),
        Question(False, "sqs:SendMessage", f"{QUEUES}-mail"),
        Question(True, "sqs:SendMessage", f"{QUEUES}-dead-letters"),
        Question(False, "sqs:ReceiveMessage", f"{QUEUES}-dead-letters"),
        Question(True, "ses:SendBounce", f"{IDENTITY}/example.org"),
        Question(False, "ses:SendBounce", f"{IDENTITY}/example.com"),
        Question(False, "ses:SendRawEmail", f"{IDENTITY}/example.org"),
    ],
    "RolePolicy plexus-main-web-task": [
        Question(True, "elasticfilesystem:ClientWrite", STORE, keys=BY_CALENDARS),
        Question(False, "elasticfilesystem:ClientMount", STORE),
        Question(False, "elasticfilesystem:ClientMount", STORE, keys=BY_DOOR),
        Question(False, "elasticfilesystem:ClientMount", STORE, keys=BY_WHOLE),
        Question(False, "elasticfilesystem:ClientRootAccess", STORE, keys=BY_CALENDARS),
    ],
    "RolePolicy plexus-main-dovecot-task": [
        Question(True, "elasticfilesystem:ClientMount", STORE, keys=BY_DOOR),
        Question(False, "elasticfilesystem:ClientMount", STORE, keys=BY_CALENDARS),
        Question(False, "elasticfilesystem:ClientMount", STORE),
        Question(False, "elasticfilesystem:ClientRootAccess", STORE, keys=BY_DOOR),
        Question(False, "elasticfilesystem:ClientMount", STORE + "4", keys=BY_DOOR),
    ],
    "RolePolicy plexus-main-maintenance-calendars-task": [
        Question(True, "elasticfilesystem:ClientMount", STORE, keys=BY_CALENDARS),
        Question(True, "elasticfilesystem:ClientWrite", STORE, keys=BY_CALENDARS),
        Question(False, "elasticfilesystem:ClientMount", STORE, keys=BY_DOOR),
        Question(False, "elasticfilesystem:ClientMount", STORE, keys=BY_WHOLE),
        Question(False, "elasticfilesystem:ClientRootAccess", STORE, keys=BY_CALENDARS),
        Question(True, "s3:PutObject", f"{BUCKET}/moving/0123/000000"),
        Question(True, "s3:GetObject", f"{BUCKET}/moving/0123/000000"),
        Question(False, "s3:GetObject", f"{BUCKET}/inbound/0123"),
        Question(False, "ssm:GetParameter", f"{HANDED}/hand-over/0123"),
    ],
    "RolePolicy plexus-main-maintenance-dovecot-task": [
        Question(True, "elasticfilesystem:ClientMount", STORE, keys=BY_DOOR),
        Question(False, "elasticfilesystem:ClientMount", STORE),
        Question(False, "elasticfilesystem:ClientRootAccess", STORE, keys=BY_DOOR),
        Question(True, "ssm:GetParameter", f"{HANDED}/hand-over/0123"),
        Question(True, "ssm:DeleteParameter", f"{HANDED}/hand-over/0123"),
        Question(False, "ssm:PutParameter", f"{HANDED}/hand-over/0123"),
        Question(False, "ssm:GetParameter", f"{HANDED}/ses-smtp-password"),
        Question(True, "s3:PutObject", f"{BUCKET}/moving/0123/000000"),
        Question(True, "s3:GetObject", f"{BUCKET}/moving/0123/000000"),
        Question(False, "s3:GetObject", f"{BUCKET}/inbound/0123"),
        Question(False, "s3:PutObject", f"{BUCKET}/inbound/0123"),
    ],
    "RolePolicy plexus-main-maintenance-restore-task": [
        Question(True, "elasticfilesystem:ClientMount", STORE, keys=BY_DOOR),
        Question(False, "elasticfilesystem:ClientRootAccess", STORE, keys=BY_DOOR),
        Question(True, "elasticfilesystem:ClientWrite", STORE, keys=BY_WHOLE),
        Question(True, "elasticfilesystem:ClientRootAccess", STORE, keys=BY_WHOLE),
        Question(False, "elasticfilesystem:ClientMount", STORE),
        Question(False, "ssm:GetParameter", f"{HANDED}/hand-over/0123"),
    ],
    "RolePolicy plexus-main-host": [
        Question(True, "ec2:DescribeVolumes", "*"),
        *(
            Question(True, f"ec2:{verb}{what}", f"{EC2}:{arn}", keys=TAGGED)
            for verb in ("Attach", "Detach")
            for what, arn in (
                ("NetworkInterface", "network-interface/networkinterface-plexus-main-network"),
                ("Volume", "volume/volume-plexus-main-host"),
                ("Volume", "instance/i-1"),
            )
        ),
        Question(False, "ec2:AttachVolume", f"{EC2}:instance/i-1"),
        Question(False, "ec2:DetachVolume", f"{EC2}:volume/another", keys=TAGGED),
        Question(False, "ec2:DeleteVolume", f"{EC2}:volume/volume-plexus-main-host", keys=TAGGED),
        Question(True, "ecs:DiscoverPollEndpoint", "*"),
        Question(True, "ecs:RegisterContainerInstance", CLUSTER),
        Question(False, "ecs:RegisterContainerInstance", CLUSTER + "2"),
        Question(True, "ecs:Poll", f"{INSTANCES}/1", keys=IN_CLUSTER),
        Question(False, "ecs:Poll", f"{INSTANCES}/1", keys={"ecs:cluster": CLUSTER + "2"}),
        Question(True, "ecr:GetAuthorizationToken", "*"),
        *(
            Question(
                True, "ecr:BatchGetImage", f"arn:aws:ecr:{HERE}:repository/plexus-main-image-{name}"
            )
            for name in ("certbot", "deliver", "dovecot", "postfix", "web")
        ),
        Question(False, "ecr:BatchGetImage", f"arn:aws:ecr:{HERE}:repository/another"),
        Question(False, "s3:GetObject", f"{BUCKET}/inbound/1"),
    ],
    "RolePolicy plexus-main-host-ssm": [
        Question(True, "ssm:UpdateInstanceInformation", f"{EC2}:instance/i-1"),
        Question(True, "ssmmessages:OpenDataChannel", "*"),
        Question(False, "ssm:GetParameters", f"arn:aws:ssm:{HERE}:parameter/postal-plexus/main/x"),
        Question(False, "ssm:SendCommand", f"{EC2}:instance/i-1"),
    ],
    "UserPolicy plexus-main-smtp": [
        Question(True, "ses:SendRawEmail", f"{IDENTITY}/example.org", keys=ANN),
        Question(True, "ses:SendRawEmail", f"{SETS}/plexus-main-sending", keys=ANN),
        Question(True, "ses:SendRawEmail", f"{IDENTITY}/example.org", keys=UPPER),
        Question(False, "ses:SendRawEmail", f"{IDENTITY}/example.com", keys=STRANGER),
        Question(False, "ses:SendRawEmail", f"{SETS}/plexus-other-sending", keys=ANN),
        Question(False, "ses:SendEmail", f"{IDENTITY}/example.org", keys=ANN),
    ],
}


@pytest.fixture(scope="module")
def documents(everything: Run) -> dict[str, dict[str, Any]]:
    """Return every policy document of the complete template, by type and name."""
    return {
        f"{entry.type.rpartition(':')[2]} {entry.name}": json.loads(entry.inputs[key])
        for entry in everything.registrations
        for key in ("policy", "assumeRolePolicy")
        if "Statement" in entry.inputs.get(key, "")
    }


def test_every_document_is_asked(documents: dict[str, dict[str, Any]]) -> None:
    """A new document needs questions here; one that is gone needs none."""
    assert QUESTIONS.keys() == documents.keys()


@pytest.mark.parametrize("name", QUESTIONS)
def test_it_lets_through_whom_it_is_for_and_no_other(
    documents: dict[str, dict[str, Any]], name: str
) -> None:
    """Each question is answered as it says, and there are some of both kinds."""
    wrong = [each for each in QUESTIONS[name] if each.allowed != ask(documents[name], each)]
    assert [] == wrong
    assert {True, False} == {each.allowed for each in QUESTIONS[name]}


def weakened(policy: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the document without one of its statements, or without one condition."""
    for index, statement in enumerate(policy["Statement"]):
        less = copy.deepcopy(policy)
        del less["Statement"][index]
        yield statement["Sid"], less
        for operator in statement.get("Condition", {}):
            loose = copy.deepcopy(policy)
            del loose["Statement"][index]["Condition"][operator]
            yield f"{statement['Sid']} {operator}", loose


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_questions_notice_any_loss(documents: dict[str, dict[str, Any]], name: str) -> None:
    """Without any one of its statements or conditions some question has another answer."""
    unnoticed = [
        what
        for what, policy in weakened(documents[name])
        if all(each.allowed == ask(policy, each) for each in QUESTIONS[name])
    ]
    assert [] == unnoticed
