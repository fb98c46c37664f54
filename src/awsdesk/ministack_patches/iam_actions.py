"""IAM actions that ministack names after the call where AWS names them after what is done.

SQS's batch calls need the permission of the single call: DeleteMessageBatch is allowed by
sqs:DeleteMessage, and there is no action sqs:DeleteMessageBatch to grant
(https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/
sqs-api-permissions-reference.html).
"""

from __future__ import annotations

from typing import Any

from awsdesk.ministack_patches import private

_SINGLE = {
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:SendMessageBatch": "sqs:SendMessage",
}


def install() -> None:
    """Put the right names in place of ministack's."""
    named_by_call = private.IAM_ACTIONS.extract_iam_action

    def named(*arguments: Any, **more: Any) -> Any:
        found = named_by_call(*arguments, **more)
        return _SINGLE.get(found, found)

    private.IAM_ACTIONS.replace("extract_iam_action", named)
