"""Every private name of ministack that the desk uses, and the upstream request to replace it.

ministack has no public way to act as an AWS service, to read what an account holds, or to add a
call, so the desk uses its private names. It does so only through this table (ruff's SLF001 enforces
this), with ministack pinned to `VERSION`. To try another version, run
`tests/unit/awsdesk/test_private_names.py`, then the services' tests. None of the requests below has
been sent yet.
"""

from __future__ import annotations

from typing import Any

from awsdesk.ministack_patches import environment

VERSION = "1.5.33"


class Private:
    """The names of one module of ministack, as attributes without their leading underscore."""

    def __init__(self, module: str, names: str, request: str) -> None:
        self.module = module
        self.names = tuple(names.split())
        self.request = request

    def __getattr__(self, name: str) -> Any:
        """Return ministack's value of a name in the table."""
        return getattr(environment.module(self.module), self._whole(name))

    def replace(self, name: str, value: object) -> None:
        """Replace a name's value with the desk's."""
        setattr(environment.module(self.module), self._whole(name), value)

    def _whole(self, name: str) -> str:
        for whole in (f"_{name}", name):
            if whole in self.names:
                return whole
        raise AttributeError(f"{self.module}'s {name} is not in the table of {__name__}")


ACM = Private(
    "services.acm",
    "_certificates",
    "A function that gives a certificate as DescribeCertificate does, without a signed request.",
)
APP = Private(
    "app",
    "_build_persistence_save_dict",
    "`save_state()`: what a clean shutdown saves, saved now, with an error if the disk is full.",
)
BACKUP = Private(
    "services.backup",
    "_err _ok handle_request",
    "Jobs that a program runs: what a backup copies, and what a restore writes.",
)
CLOUDFRONT = Private(
    "services.cloudfront",
    "_dist_config_el _distributions _find _get_distribution_aliases _text",
    "`distribution_for_host(host)` that knows aliases, as a viewer's Host header names them.",
)
CLOUDFRONT_JS = Private(
    "core.cloudfront_js",
    "evaluate",
    "A setting for the JavaScript engine of CloudFront Functions, for machines without Node.js.",
)
AUTOSCALING = Private(
    "services.autoscaling",
    "_ACTION_MAP _xml",
    "SuspendProcesses and ResumeProcesses.",
)
EC2 = Private(
    "services.ec2",
    "_cleanup_terminated _instances _tags",
    "DescribeInstances as a function; terminated instances listed for an hour, as AWS does.",
)
ECS = Private(
    "services.ecs",
    "_ACTION_MAP _clusters _get_docker _mark_task_stopped _resolve_cluster_name _resolve_td_key"
    " _run_task _services _tags _task_defs _tasks error_response_json",
    "An agent's interface: which tasks are wanted, and a report of how each is"
    " (SubmitTaskStateChange); a setting that leaves containers to it; RunTask for services.",
)
EFS = Private("services.efs", "_access_points", "DescribeAccessPoints as a function.")
EVENTBRIDGE = Private(
    "services.eventbridge",
    "_invoke_target",
    "ECS as a target of schedules: with the role's rights and the dead-letter queue, as AWS does.",
)
IAM = Private("services.iam", "_roles", "GetRole as a function; AssumeRole for service principals.")
IAM_ACTIONS = Private(
    "core.iam_actions",
    "extract_iam_action extract_resource_arn request_tag_context",
    "SQS's batch calls under the action of the single call, as SQS's permissions reference has"
    " them; what RunTask asks for besides ecs:RunTask (iam:PassRole, ecs:TagResource).",
)
IAM_EVALUATOR = Private(
    "core.iam_evaluator",
    "enforce",
    "Several rights for one call, such as RunTask's.",
)
LOGS = Private(
    "services.cloudwatch_logs",
    "_append_log_events _create_log_group _fanout_to_live_tail_sessions _filter_log_events"
    " _log_events_lock _log_groups get_state",
    "FilterLogEvents in pages, with terms and phrases as AWS matches them; PutLogEvents for an"
    " agent; a limit to what is kept, and a setting that leaves it out of the saved state.",
)
ROUTE53 = Private("services.route53", "_records", "ListResourceRecordSets as a function.")
S3 = Private(
    "services.s3",
    "_bucket_owner_account _bucket_policies _buckets _object_disk_path _put_object",
    "PutObject for a service principal with `aws:SourceArn`, which the bucket's policy must allow,"
    " and which fails when the disk is full.",
)
SCHEDULER = Private(
    "services.scheduler",
    "_SCHEDULE_TICK_INTERVAL",
    "A setting for how often schedules are looked at.",
)
SES = Private(
    "services.ses",
    "_active_receipt_rule_set _error _identities _receipt_result _receipt_rule_error"
    " _receipt_rule_from_params _receipt_rule_sets _xml handle_request",
    "UpdateReceiptRule, SetReceiptRulePosition, SendBounce; CreateReceiptRule that refuses a rule"
    " whose bucket or topic SES may not use; hooks for what runs the rules.",
)
SES_V2 = Private(
    "services.ses_v2",
    "_config_sets _identities _json_err handle_request",
    "MAIL FROM, feedback forwarding and default configuration sets of identities; the word to a"
    " topic that becomes an event destination.",
)
SNS = Private(
    "services.sns",
    "_topic_by_arn_any_scope",
    "Publish for a service principal with `aws:SourceArn`, which the topic's policy must allow.",
)
SQS = Private(
    "services.sqs",
    "_act_send_message _queue_url",
    "SendMessage by a queue's ARN, for services: dead-letter queues of schedules.",
)

TABLE = tuple(one for one in tuple(globals().values()) if isinstance(one, Private))
