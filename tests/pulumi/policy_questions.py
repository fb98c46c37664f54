"""Questions to policy documents: who asks for what, and whether a document lets him through."""

from dataclasses import dataclass, field
from typing import Any

from ministack.core.iam_evaluator import (
    EvalContext,
    evaluate,
    evaluate_resource_policy,
    parse_policy_document,
)
from registrations import ACCOUNT, REGION

OTHER = "999999999999"
HERE = f"{REGION}:{ACCOUNT}"


@dataclass(frozen=True)
class Question:
    """May `service` (or, when it is "", a role of ours) do this?"""

    allowed: bool
    action: str
    resource: str
    service: str = ""
    keys: dict[str, Any] = field(default_factory=dict)
    tls: bool = True
    account: str = ACCOUNT
    # A role of ours by its ARN, where a document names one.
    role: str = ""


def ask(policy: dict[str, Any], question: Question) -> bool:
    """Return whether the document allows a request (for a file system: does not deny it).

    A resource policy is asked as a service, which has no policy of its own. One that only denies
    leaves the rest to the caller's role.
    """
    statements = policy["Statement"]
    context = EvalContext(
        principal_arn=(
            f"arn:aws:iam::{OTHER}:role/service"
            if question.service
            else question.role or f"arn:aws:sts::{question.account}:assumed-role/role/session"
        ),
        principal_type="AssumedRole",
        principal_account=question.account,
        action=question.action,
        resource_arn=question.resource,
        region=REGION,
        secure_transport=question.tls,
        service_context={key.lower(): value for key, value in question.keys.items()},
    )
    if not any("Principal" in each for each in statements):
        return "Allow" == evaluate(context, [parse_policy_document(policy)]).decision
    # A trust policy has no resource; the evaluator wants one.
    asked = {**policy, "Statement": [{"Resource": "*", **each} for each in statements]}
    decision = evaluate_resource_policy(asked, context, service=question.service or None).decision
    return decision != "Deny" if not question.service else decision == "Allow"


def for_us(source: str = "", account: str = ACCOUNT) -> dict[str, str]:
    """On whose behalf a service acts."""
    return {"aws:SourceAccount": account} | ({"aws:SourceArn": source} if source else {})


def trusted(service: str, ours: dict[str, str], *others: dict[str, str]) -> list[Question]:
    """Check that the service may assume the role for this account only, and no other may."""
    return [
        Question(True, "sts:AssumeRole", "*", service, ours),
        Question(False, "sts:AssumeRole", "*", "lambda.amazonaws.com", ours),
        *(Question(False, "sts:AssumeRole", "*", service, other) for other in others),
    ]


def published(topic: str, service: str, ours: dict[str, str], *others: dict[str, str]) -> list:
    """Check that a service may publish for this account only, and may not subscribe."""
    arn = f"arn:aws:sns:{HERE}:plexus-main-{topic}"
    return [
        Question(True, "sns:Publish", arn, service, ours),
        Question(False, "sns:Subscribe", arn, service, ours),
        *(Question(False, "sns:Publish", arn, service, other) for other in others),
    ]


def queued(queue: str, *topics: str) -> list[Question]:
    """SNS sends for these topics, not for another; it cannot receive."""
    arn, sns = f"arn:aws:sqs:{HERE}:plexus-main-{queue}", "sns.amazonaws.com"
    ours = [for_us(f"arn:aws:sns:{HERE}:plexus-main-{topic}") for topic in topics]
    return [
        *(Question(True, "sqs:SendMessage", arn, sns, each) for each in ours),
        Question(False, "sqs:ReceiveMessage", arn, sns, ours[0]),
        Question(
            False, "sqs:SendMessage", arn, sns, for_us(f"arn:aws:sns:{HERE}:plexus-other-received")
        ),
    ]


def execution(name: str, *parameters: str, log: str = "") -> list[Question]:
    """ECS starts one task: its log, its image, its parameters, and no neighbour's."""
    neighbour = "postfix" if name != "postfix" else "dovecot"
    group, groups = log or name, f"arn:aws:logs:{HERE}:log-group:plexus-main"
    registry = f"arn:aws:ecr:{HERE}:repository"
    parameter = f"arn:aws:ssm:{HERE}:parameter/postal-plexus/main"
    return [
        Question(True, "logs:PutLogEvents", f"{groups}-{group}:log-stream:{group}/1"),
        Question(False, "logs:PutLogEvents", f"{groups}-{neighbour}:log-stream:{neighbour}/1"),
        Question(False, "logs:DeleteLogGroup", f"{groups}-{group}:*"),
        Question(True, "ecr:GetAuthorizationToken", "*"),
        Question(True, "ecr:BatchGetImage", f"{registry}/plexus-main-image-{name}"),
        Question(False, "ecr:BatchGetImage", f"{registry}/plexus-main-image-{neighbour}"),
        Question(False, "ecr:PutImage", f"{registry}/plexus-main-image-{name}"),
        *(Question(True, "ssm:GetParameters", f"{parameter}/{each}") for each in parameters),
        Question(False, "ssm:GetParameters", f"{parameter}/another"),
    ]


def examining(bucket: str, cluster: str, store: str) -> list[Question]:
    """Return questions about the weekly doctor: it reads all, mails the operator, changes nothing."""
    queues, logs = f"arn:aws:sqs:{HERE}:plexus-main", f"arn:aws:logs:{HERE}:log-group:plexus-main"
    parameter = f"arn:aws:ssm:{HERE}:parameter/postal-plexus/main"
    topics = f"arn:aws:sns:{HERE}:plexus-main"
    services = f"arn:aws:ecs:{HERE}:service/{cluster}"
    return [
        Question(True, "logs:PutLogEvents", f"{logs}-doctor:log-stream:1"),
        Question(False, "logs:PutLogEvents", f"{logs}-deliver:log-stream:1"),
        Question(True, "s3:GetObject", f"{bucket}/source/doctor.zip"),
        Question(False, "s3:GetObject", f"{bucket}/source/source.zip"),
        Question(False, "s3:GetObject", f"{bucket}/inbound/1"),
        Question(False, "s3:GetObject", f"{bucket}/directory/directory.json"),
        Question(False, "s3:PutObject", f"{bucket}/source/doctor.zip"),
        Question(True, "s3:ListBucket", bucket, keys={"s3:prefix": "directory/directory.json"}),
        Question(False, "s3:ListBucket", bucket, keys={"s3:prefix": "inbound/"}),
        Question(True, "ssm:GetParameter", f"{parameter}/system"),
        Question(False, "ssm:GetParameter", f"{parameter}/ses-smtp-password"),
        Question(True, "ses:GetAccount", "*"),
        Question(True, "ses:GetEmailIdentity", f"arn:aws:ses:{HERE}:identity/example.org"),
        Question(False, "ses:SendRawEmail", f"arn:aws:ses:{HERE}:identity/example.org"),
        Question(True, "budgets:ViewBudget", f"arn:aws:budgets::{ACCOUNT}:budget/*"),
        Question(True, "cloudwatch:DescribeAlarms", f"arn:aws:cloudwatch:{HERE}:alarm:*"),
        Question(True, "cloudwatch:GetMetricStatistics", "*"),
        Question(True, "ecs:DescribeServices", f"{services}/plexus-main-postfix"),
        Question(False, "ecs:DescribeServices", f"{services}2/plexus-main-postfix"),
        Question(False, "ecs:UpdateService", f"{services}/plexus-main-postfix"),
        Question(False, "ecs:RunTask", f"arn:aws:ecs:{HERE}:task-definition/plexus-main-certbot"),
        Question(True, "ecr:DescribeImages", f"arn:aws:ecr:{HERE}:repository/plexus-main-image-x"),
        Question(True, "elasticfilesystem:DescribeFileSystems", store),
        Question(True, "sqs:GetQueueAttributes", f"{queues}-mail"),
        Question(False, "sqs:ReceiveMessage", f"{queues}-dead-letters"),
        Question(True, "logs:FilterLogEvents", f"{logs}-postfix:log-stream:1"),
        Question(False, "logs:FilterLogEvents", f"{logs}-maintenance:log-stream:1"),
        Question(True, "sns:ListTopics", "*"),
        Question(True, "sns:Publish", f"{topics}-watch-alarms-1a2b3c4"),
        Question(False, "sns:Publish", f"{topics}-received"),
        Question(False, "ce:GetCostAndUsage", "*"),
    ]
