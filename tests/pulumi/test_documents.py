"""Every policy document: linted, and asked about who may and who may not.

The documents are evaluated by ministack's IAM evaluator, the one that enforces them on the desk.
"""

import json
import sys
from typing import Any

import parliament
import pytest
from ministack.core.iam_evaluator import (
    EvalContext,
    evaluate,
    evaluate_resource_policy,
    evaluate_trust_policy,
    parse_policy_document,
)
from registrations import ACCOUNT, PROGRAM, REGION, Run

sys.path.insert(0, str(PROGRAM))
from deployment import host_documents, mail_documents, storage_documents, task_documents

OTHER_ACCOUNT = "999999999999"
BUCKET = "arn:aws:s3:::archive"
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:received"
QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:mail"
EVENTS = f"arn:aws:sqs:{REGION}:{ACCOUNT}:events"
DEAD_LETTERS = f"arn:aws:sqs:{REGION}:{ACCOUNT}:dead"
RULE_SET = f"arn:aws:ses:{REGION}:{ACCOUNT}:receipt-rule-set/plexus-main-rules"
RULE = f"{RULE_SET}:receipt-rule/recipients"
CONFIGURATION_SET = f"arn:aws:ses:{REGION}:{ACCOUNT}:configuration-set/plexus-main-sending"
IDENTITY = f"arn:aws:ses:{REGION}:{ACCOUNT}:identity/example.org"
FILE_SYSTEM = f"arn:aws:elasticfilesystem:{REGION}:{ACCOUNT}:file-system/fs-1"
ACCESS_POINT = f"arn:aws:elasticfilesystem:{REGION}:{ACCOUNT}:access-point/fsap-1"
WHOLE = f"arn:aws:elasticfilesystem:{REGION}:{ACCOUNT}:access-point/fsap-2"
RESTORING = f"arn:aws:iam::{ACCOUNT}:role/plexus-main-maintenance-restore-task-1a2b3c4"
CLUSTER = f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/mail"
LOG_GROUP = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:dovecot"
PARAMETER = f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/postal-plexus/main/ses-smtp-password"
REPOSITORY = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/dovecot"
ROLE = f"arn:aws:sts::{ACCOUNT}:assumed-role/deliver/task"


def asked(action: str, resource: str, **keys: Any) -> EvalContext:
    """Return a request of a role of ours; `keys` are condition keys, `__` for `:`."""
    conditions = {key.replace("__", ":").lower(): value for key, value in keys.items()}
    return EvalContext(
        principal_arn=conditions.pop("caller", ROLE),
        principal_type="AssumedRole",
        principal_account=conditions.pop("account", ACCOUNT),
        action=action,
        resource_arn=resource,
        region=REGION,
        secure_transport=conditions.pop("tls", True),
        service_context=conditions,
    )


def identity_allows(document: str, action: str, resource: str, **keys: Any) -> bool:
    """Return whether a role with `document` may make the request."""
    return (
        "Allow"
        == evaluate(asked(action, resource, **keys), [parse_policy_document(document)]).decision
    )


def service_decision(document: str, service: str, action: str, resource: str, **keys: Any) -> str:
    """Return whether a resource's policy allows an AWS service."""
    context = asked(action, resource, caller=f"arn:aws:iam::{OTHER_ACCOUNT}:role/service", **keys)
    return evaluate_resource_policy(document, context, service=service).decision


# --- who may write and publish ------------------------------------------------------------------

ARCHIVE = mail_documents.archive_bucket(BUCKET, ACCOUNT, RULE_SET, "inbound/")
RECEIPTS = mail_documents.receipt_topic(TOPIC, ACCOUNT, RULE_SET)
FROM_OUR_RULE = {"aws__SourceAccount": ACCOUNT, "aws__SourceArn": RULE}


@pytest.mark.parametrize(
    ("expected", "key", "changes"),
    [
        ("Allow", "inbound/0123", {}),
        # Outside the prefix is the directory, with its password hashes.
        ("ImplicitDeny", "directory/directory.json", {}),
        ("ImplicitDeny", "inbound/0123", {"aws__SourceAccount": OTHER_ACCOUNT}),
        ("ImplicitDeny", "inbound/0123", {"aws__SourceArn": RULE.replace("main", "other")}),
        ("ImplicitDeny", "inbound/0123", {"aws__SourceArn": RULE.replace(ACCOUNT, OTHER_ACCOUNT)}),
        ("Deny", "inbound/0123", {"tls": False}),
    ],
)
def test_only_our_rules_write_received_mail(
    expected: str, key: str, changes: dict[str, Any]
) -> None:
    """SES writes for this stack's rules, under the prefix, by TLS: for nobody else's."""
    given = {**FROM_OUR_RULE, **changes}
    said = service_decision(
        ARCHIVE, "ses.amazonaws.com", "s3:PutObject", f"{BUCKET}/{key}", **given
    )
    assert expected == said


@pytest.mark.parametrize("action", ["s3:GetObject", "s3:DeleteObject", "s3:ListBucket"])
def test_ses_may_only_write(action: str) -> None:
    """The bucket's policy gives SES no way to read or remove."""
    said = service_decision(
        ARCHIVE, "ses.amazonaws.com", action, f"{BUCKET}/inbound/1", **FROM_OUR_RULE
    )
    assert "ImplicitDeny" == said


def test_nobody_reaches_the_archive_without_tls() -> None:
    """Not even a role that may: a Deny stands above every Allow."""
    context = asked("s3:GetObject", f"{BUCKET}/inbound/1", tls=False)
    assert "Deny" == evaluate_resource_policy(ARCHIVE, context).decision


@pytest.mark.parametrize(
    ("expected", "changes"),
    [
        ("Allow", {}),
        ("ImplicitDeny", {"aws__SourceAccount": OTHER_ACCOUNT}),
        ("ImplicitDeny", {"aws__SourceArn": RULE.replace("main", "other")}),
    ],
)
def test_only_our_rules_announce_mail(expected: str, changes: dict[str, Any]) -> None:
    """The topic takes announcements of this stack's rules."""
    given = {**FROM_OUR_RULE, **changes}
    assert expected == service_decision(
        RECEIPTS, "ses.amazonaws.com", "sns:Publish", TOPIC, **given
    )


@pytest.mark.parametrize(
    ("expected", "arn"),
    [("Allow", CONFIGURATION_SET), ("ImplicitDeny", CONFIGURATION_SET.replace("main", "other"))],
)
def test_only_our_configuration_set_reports(expected: str, arn: str) -> None:
    """The events topic takes reports of this stack's configuration set."""
    document = mail_documents.events_topic(TOPIC, ACCOUNT, CONFIGURATION_SET)
    keys = {"aws__SourceAccount": ACCOUNT, "aws__SourceArn": arn}
    assert expected == service_decision(document, "ses.amazonaws.com", "sns:Publish", TOPIC, **keys)


@pytest.mark.parametrize(
    ("expected", "source", "action"),
    [
        ("Allow", TOPIC, "sqs:SendMessage"),
        ("ImplicitDeny", TOPIC + "-other", "sqs:SendMessage"),
        ("ImplicitDeny", TOPIC, "sqs:ReceiveMessage"),
    ],
)
def test_only_our_topics_send_to_the_queue(expected: str, source: str, action: str) -> None:
    """SNS sends for our topics; it cannot receive."""
    document = mail_documents.queue_from_topics(QUEUE, [TOPIC])
    assert expected == service_decision(
        document, "sns.amazonaws.com", action, QUEUE, aws__SourceArn=source
    )


def test_alarms_of_another_account_are_not_ours() -> None:
    """The alarm topic takes alarms of this account only."""
    document = mail_documents.alarm_topic(
        TOPIC, ACCOUNT, f"arn:aws:events:{REGION}:{ACCOUNT}:rule/x-*"
    )
    said = [
        service_decision(
            document, "cloudwatch.amazonaws.com", "sns:Publish", TOPIC, aws__SourceAccount=account
        )
        for account in (ACCOUNT, OTHER_ACCOUNT)
    ]
    assert ["Allow", "ImplicitDeny"] == said


# --- what each role may -------------------------------------------------------------------------

DELIVER = task_documents.deliver_task(
    BUCKET,
    "inbound/",
    "deliveries/",
    "directory/directory.json",
    [QUEUE, EVENTS],
    DEAD_LETTERS,
    [IDENTITY],
)
DOVECOT = task_documents.dovecot_task(FILE_SYSTEM, ACCESS_POINT)
RESTORE = task_documents.restoring_task(FILE_SYSTEM, ACCESS_POINT, WHOLE)
EXECUTION = task_documents.execution(LOG_GROUP, [PARAMETER], [REPOSITORY])
SMTP = mail_documents.smtp_user(ACCOUNT, REGION, ["example.org"], "plexus-main-sending")
INSTANCE = host_documents.instance(ACCOUNT, REGION, "main", CLUSTER, "eni-1", "vol-1", [REPOSITORY])
EC2 = f"arn:aws:ec2:{REGION}:{ACCOUNT}"

_THROUGH = "elasticfilesystem__AccessPointArn"
OURS = {"aws__ResourceTag/postal-plexus:stack": "main"}

MAY = [
    (DELIVER, "s3:GetObject", f"{BUCKET}/inbound/1", {}),
    (DELIVER, "s3:GetObject", f"{BUCKET}/directory/directory.json", {}),
    (DELIVER, "s3:ListBucket", BUCKET, {}),
    (DELIVER, "s3:PutObject", f"{BUCKET}/deliveries/2026-11-28/1.jsonl", {}),
    (DELIVER, "sqs:ReceiveMessage", QUEUE, {}),
    (DELIVER, "sqs:DeleteMessage", EVENTS, {}),
    (DELIVER, "sqs:ChangeMessageVisibility", QUEUE, {}),
    (DELIVER, "sqs:SendMessage", DEAD_LETTERS, {}),
    (DELIVER, "ses:SendBounce", IDENTITY, {}),
    (
        DOVECOT,
        "elasticfilesystem:ClientWrite",
        FILE_SYSTEM,
        {"elasticfilesystem__AccessPointArn": ACCESS_POINT},
    ),
    *(
        (RESTORE, f"elasticfilesystem:{action}", FILE_SYSTEM, {_THROUGH: access_point})
        for action, access_point in (
            *(("ClientMount", ACCESS_POINT), ("ClientWrite", ACCESS_POINT)),
            *(("ClientWrite", WHOLE), ("ClientRootAccess", WHOLE)),
        )
    ),
    (EXECUTION, "ssm:GetParameters", PARAMETER, {}),
    (EXECUTION, "logs:PutLogEvents", f"{LOG_GROUP}:log-stream:dovecot/1", {}),
    (EXECUTION, "ecr:BatchGetImage", REPOSITORY, {}),
    (SMTP, "ses:SendRawEmail", IDENTITY, {"ses__FromAddress": "ann@example.org"}),
    (SMTP, "ses:SendRawEmail", IDENTITY, {"ses__FromAddress": "Ann@Example.ORG"}),
    (
        SMTP,
        "ses:SendRawEmail",
        IDENTITY.replace("example.org", "ann@example.org"),
        {"ses__FromAddress": "ann@example.org"},
    ),
    (SMTP, "ses:SendRawEmail", CONFIGURATION_SET, {"ses__FromAddress": "ann@example.org"}),
    (INSTANCE, "ec2:AttachNetworkInterface", f"{EC2}:network-interface/eni-1", OURS),
    (
        INSTANCE,
        "ec2:AttachVolume",
        f"{EC2}:instance/i-1",
        {"aws__ResourceTag/postal-plexus:stack": "main"},
    ),
    (INSTANCE, "ecs:RegisterContainerInstance", CLUSTER, {}),
    (
        INSTANCE,
        "ecs:Poll",
        CLUSTER.replace(":cluster/", ":container-instance/") + "/1",
        {"ecs__cluster": CLUSTER},
    ),
]
MAY_NOT = [
    (DELIVER, "s3:PutObject", f"{BUCKET}/directory/directory.json", {}),
    (DELIVER, "s3:DeleteObject", f"{BUCKET}/inbound/1", {}),
    (DELIVER, "s3:PutObject", f"{BUCKET}/inbound/1", {}),
    (DELIVER, "s3:GetObject", f"{BUCKET}/deliveries/2026-11-28/1.jsonl", {}),
    (DELIVER, "s3:GetObject", f"{BUCKET}/other/1", {}),
    (DELIVER, "sqs:SendMessage", QUEUE, {}),
    (DELIVER, "sqs:ReceiveMessage", DEAD_LETTERS, {}),
    (DELIVER, "sqs:DeleteQueue", QUEUE, {}),
    (DELIVER, "ses:SendBounce", IDENTITY.replace("example.org", "example.com"), {}),
    (DELIVER, "ses:SendRawEmail", IDENTITY, {}),
    (DELIVER, "elasticfilesystem:ClientMount", FILE_SYSTEM, {}),
    (DELIVER, "ssm:GetParameters", PARAMETER, {}),
    (DOVECOT, "elasticfilesystem:ClientWrite", FILE_SYSTEM, {}),
    (DOVECOT, "elasticfilesystem:ClientMount", FILE_SYSTEM, {_THROUGH: WHOLE}),
    (RESTORE, "elasticfilesystem:ClientRootAccess", FILE_SYSTEM, {_THROUGH: ACCESS_POINT}),
    (RESTORE, "elasticfilesystem:ClientMount", FILE_SYSTEM, {}),
    (
        DOVECOT,
        "elasticfilesystem:ClientRootAccess",
        FILE_SYSTEM,
        {"elasticfilesystem__AccessPointArn": ACCESS_POINT},
    ),
    (DOVECOT, "s3:GetObject", f"{BUCKET}/inbound/1", {}),
    (EXECUTION, "ssm:GetParameters", PARAMETER + "-of-another", {}),
    (EXECUTION, "logs:PutLogEvents", f"{LOG_GROUP}-other:log-stream:1", {}),
    (EXECUTION, "ecr:PutImage", REPOSITORY, {}),
    (SMTP, "ses:SendRawEmail", IDENTITY.replace("example.org", "sub.example.org"), {}),
    (SMTP, "ses:SendRawEmail", IDENTITY.replace("example.org", "ann@evilexample.org"), {}),
    (
        SMTP,
        "ses:SendRawEmail",
        IDENTITY.replace("example.org", "example.com"),
        {"ses__FromAddress": "ann@example.com"},
    ),
    (SMTP, "ses:SendEmail", IDENTITY, {"ses__FromAddress": "ann@example.org"}),
    (SMTP, "ses:CreateReceiptRule", "*", {}),
    (INSTANCE, "ec2:AttachNetworkInterface", f"{EC2}:network-interface/eni-2", OURS),
    (INSTANCE, "ec2:DetachVolume", f"{EC2}:volume/vol-2", OURS),
    (INSTANCE, "ec2:DetachVolume", f"{EC2}:volume/vol-1", {}),
    (
        INSTANCE,
        "ec2:AttachVolume",
        f"{EC2}:instance/i-1",
        {"aws__ResourceTag/postal-plexus:stack": "other"},
    ),
    (INSTANCE, "ec2:TerminateInstances", f"{EC2}:instance/i-1", {}),
    (INSTANCE, "ecs:RegisterContainerInstance", CLUSTER + "-other", {}),
    (INSTANCE, "s3:GetObject", f"{BUCKET}/inbound/1", {}),
    (INSTANCE, "ssm:GetParameters", PARAMETER, {}),
]


def told(case: tuple[str, str, str, dict[str, Any]]) -> str:
    """Return a case's name: what is asked of what."""
    return f"{case[1]} {case[2].rpartition(':')[2]}"


@pytest.mark.parametrize("case", MAY, ids=told)
def test_each_role_can_do_its_job(case: tuple[str, str, str, dict[str, Any]]) -> None:
    """What a container, its start or the host needs is allowed."""
    document, action, resource, keys = case
    assert identity_allows(document, action, resource, **keys)


@pytest.mark.parametrize("case", MAY_NOT, ids=told)
def test_each_role_is_denied_its_neighbours(case: tuple[str, str, str, dict[str, Any]]) -> None:
    """What belongs to another role, stack or account is not."""
    document, action, resource, keys = case
    assert not identity_allows(document, action, resource, **keys)


@pytest.mark.parametrize(
    ("expected", "keys"),
    [
        ("ImplicitDeny", {"elasticfilesystem__AccessPointArn": ACCESS_POINT}),
        ("Deny", {}),
        ("Deny", {"elasticfilesystem__AccessPointArn": ACCESS_POINT + "2"}),
        ("Deny", {"elasticfilesystem__AccessPointArn": ACCESS_POINT, "tls": False}),
        (
            "Deny",
            {"elasticfilesystem__AccessPointArn": ACCESS_POINT, "account": OTHER_ACCOUNT},
        ),
        ("Deny", {"elasticfilesystem__AccessPointArn": WHOLE}),
        ("ImplicitDeny", {"elasticfilesystem__AccessPointArn": WHOLE, "caller": RESTORING}),
        ("Deny", {"elasticfilesystem__AccessPointArn": ACCESS_POINT + "9", "caller": RESTORING}),
    ],
)
def test_the_mail_store_lets_nobody_past_its_access_point(
    expected: str, keys: dict[str, Any]
) -> None:
    """The file system's policy allows nobody by itself (a role must) and denies every side way."""
    document = storage_documents.file_system(
        FILE_SYSTEM, [ACCESS_POINT], WHOLE, ACCOUNT, "plexus-main-maintenance-restore-task"
    )
    context = asked("elasticfilesystem:ClientWrite", FILE_SYSTEM, **keys)
    assert expected == evaluate_resource_policy(document, context).decision


# --- who may take a role --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expected", "account", "source"),
    [
        (True, ACCOUNT, f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/mail/1"),
        (False, OTHER_ACCOUNT, f"arn:aws:ecs:{REGION}:{OTHER_ACCOUNT}:task/mail/1"),
        (False, ACCOUNT, f"arn:aws:ecs:eu-west-1:{ACCOUNT}:task/mail/1"),
    ],
)
def test_task_roles_are_for_tasks_of_this_account_and_region(
    *, expected: bool, account: str, source: str
) -> None:
    """ECS cannot be talked into using our roles for somebody else's tasks."""
    # The evaluator lets an account's root stand for a service.
    root = f"arn:aws:iam::{ACCOUNT}:root"
    context = asked(
        "sts:AssumeRole",
        "*",
        caller=root,
        aws__SourceAccount=account,
        aws__SourceArn=source,
    )
    assert expected == evaluate_trust_policy(
        task_documents.task_trust(ACCOUNT, REGION), root, context
    )


# --- all of them, linted --------------------------------------------------------------------------

# AWS has no narrower resource for these (service authorization reference).
_WILDCARDS = {
    "backup:ListRecoveryPointsByResource",
    "cloudwatch:GetMetricStatistics",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeVolumes",
    "ecr:GetAuthorizationToken",
    "ecs:DescribeTaskDefinition",
    "ecs:DiscoverPollEndpoint",
    "route53:GetChange",
    "route53:ListHostedZones",
    "ses:DescribeActiveReceiptRuleSet",
    "ses:GetAccount",
    "sns:ListSubscriptions",
    "sns:ListTopics",
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
}
_POLICY_PROPERTIES = ("policy", "assumeRolePolicy")


@pytest.fixture(scope="module")
def run(everything: Run) -> Run:
    """Provide the template, with all that it may have."""
    return everything


def policies(run: Run) -> list[tuple[str, dict[str, Any]]]:
    """Return every policy document that the program registers."""
    return [
        (f"{entry.type} {entry.name}", json.loads(entry.inputs[key]))
        for entry in run.registrations
        for key in _POLICY_PROPERTIES
        if key in entry.inputs and "Statement" in entry.inputs[key]
    ]


def test_every_identity_policy_passes_parliament(run: Run) -> None:
    """Actions exist, resources and conditions fit them."""
    findings = [
        (name, str(finding))
        for name, policy in policies(run)
        if not any("Principal" in statement for statement in policy["Statement"])
        for finding in parliament.analyze_policy_string(json.dumps(policy)).findings
    ]
    assert [] == findings


def test_every_resource_policy_passes_parliament(run: Run) -> None:
    """The same for policies of buckets, topics, queues, the file system and roles.

    parliament knows identity policies: a statement is put before it without its principal, and
    with a resource where a trust policy has none.
    """
    findings = []
    for name, policy in policies(run):
        for statement in policy["Statement"]:
            if "Principal" not in statement:
                continue
            rest = {key: value for key, value in statement.items() if key != "Principal"}
            rest.setdefault("Resource", "arn:aws:iam::123456789012:role/x")
            text = json.dumps({"Version": policy["Version"], "Statement": [rest]})
            findings += [
                (name, str(finding)) for finding in parliament.analyze_policy_string(text).findings
            ]
    assert [] == findings


def test_no_wildcard_resource_where_aws_knows_better(run: Run) -> None:
    """`*` as a resource only for actions that have no other; no wildcard in an allowed action."""
    wide = []
    for name, policy in policies(run):
        for statement in policy["Statement"]:
            if statement["Effect"] != "Allow":
                continue
            actions = statement["Action"]
            actions = [actions] if isinstance(actions, str) else actions
            wide += [(name, action) for action in actions if "*" in action]
            resources = statement.get("Resource", [])
            if "*" in ([resources] if isinstance(resources, str) else resources):
                wide += [(name, action) for action in actions if action not in _WILDCARDS]
            if statement.get("Principal") in ("*", {"AWS": "*"}):
                wide.append((name, "Principal *"))
    assert [] == wide


def test_a_service_acts_for_this_account_only(run: Run) -> None:
    """Every Allow to a service says for whom it may act, but EC2's, which has nobody else."""
    loose = [
        (name, statement["Principal"]["Service"])
        for name, policy in policies(run)
        for statement in policy["Statement"]
        if statement["Effect"] == "Allow"
        and "Service" in statement.get("Principal", {})
        and not {"aws:SourceAccount", "aws:SourceArn"}
        & {key for keys in statement.get("Condition", {}).values() for key in keys}
    ]
    assert {"ec2.amazonaws.com"} == {service for _, service in loose}
