"""Who may write received mail, publish what happened to mail, and send: SES, SNS, SQS.

Sources: SES's permissions for receiving,
https://docs.aws.amazon.com/ses/latest/dg/receiving-email-permissions.html; confused deputies,
https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html.
"""

from collections.abc import Sequence
from typing import Any

from deployment.documents import allow, bucket_by_tls_only, document


def _from_rules(account: str, rule_set_arn: str) -> dict[str, Any]:
    """Return the condition that SES acts for the rules of our rule set, and no other."""
    return {
        "StringEquals": {"aws:SourceAccount": account},
        "ArnLike": {"aws:SourceArn": f"{rule_set_arn}:receipt-rule/*"},
    }


def archive_bucket(bucket_arn: str, account: str, rule_set_arn: str, prefix: str) -> str:
    """Allow SES to write received mail under `prefix`, and deny access without TLS."""
    return document(
        {
            "Sid": "SesWritesReceivedMail",
            "Effect": "Allow",
            "Principal": {"Service": "ses.amazonaws.com"},
            "Action": "s3:PutObject",
            "Resource": f"{bucket_arn}/{prefix}*",
            "Condition": _from_rules(account, rule_set_arn),
        },
        bucket_by_tls_only(bucket_arn),
    )


def receipt_topic(topic_arn: str, account: str, rule_set_arn: str) -> str:
    """Allow SES to announce received mail."""
    return document(
        {
            "Sid": "SesAnnouncesReceivedMail",
            "Effect": "Allow",
            "Principal": {"Service": "ses.amazonaws.com"},
            "Action": "sns:Publish",
            "Resource": topic_arn,
            "Condition": _from_rules(account, rule_set_arn),
        }
    )


def events_topic(topic_arn: str, account: str, configuration_set_arn: str) -> str:
    """Allow SES to report what happened to mail sent through our configuration set."""
    return document(
        {
            "Sid": "SesReportsSentMail",
            "Effect": "Allow",
            "Principal": {"Service": "ses.amazonaws.com"},
            "Action": "sns:Publish",
            "Resource": topic_arn,
            "Condition": {
                "StringEquals": {"aws:SourceAccount": account},
                "ArnEquals": {"aws:SourceArn": configuration_set_arn},
            },
        }
    )


def queue_from_topics(queue_arn: str, topic_arns: Sequence[str]) -> str:
    """Allow SNS to send to the queue what comes through our topics (or could not be delivered)."""
    return document(
        {
            "Sid": "TopicSends",
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": queue_arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": sorted(topic_arns)}},
        }
    )


def alarm_topic(topic_arn: str, account: str, event_rules: str) -> str:
    """Allow this account's CloudWatch alarms and this stack's event rules to publish."""
    return document(
        {
            "Sid": "AlarmsTell",
            "Effect": "Allow",
            "Principal": {"Service": "cloudwatch.amazonaws.com"},
            "Action": "sns:Publish",
            "Resource": topic_arn,
            "Condition": {"StringEquals": {"aws:SourceAccount": account}},
        },
        {
            "Sid": "EventsTell",
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sns:Publish",
            "Resource": topic_arn,
            "Condition": {"ArnLike": {"aws:SourceArn": event_rules}},
        },
    )


def smtp_user(account: str, region: str, domains: Sequence[str], configuration_set: str) -> str:
    """Allow Postfix's user to send only for this stack's domains, through its configuration set.

    The identity is the limit: SES checks the permission on the identity of the sender's address,
    which is the address's own if the account has one, or else the domain's. There is no condition
    on ses:FromAddress, which is case-sensitive: `Ann@Example.org` would be refused.
    https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonses.html
    """
    ses = f"arn:aws:ses:{region}:{account}"
    identities = [
        f"{ses}:identity/{each}{domain}" for domain in sorted(domains) for each in ("", "*@")
    ]
    return document(
        allow(
            "SendForOurDomains",
            ["ses:SendRawEmail"],
            [*identities, f"{ses}:configuration-set/{configuration_set}"],
        )
    )
