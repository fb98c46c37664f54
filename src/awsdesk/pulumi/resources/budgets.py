"""AWS Budgets: the month's limit."""

from typing import Any

from awsdesk.pulumi.resources.resource_type import (
    Aws,
    Existing,
    Inputs,
    Made,
    Outputs,
    ResourceType,
    auto_name,
    objects,
)


def _budget(name: str, inputs: Inputs) -> dict[str, Any]:
    return {
        "BudgetName": name,
        "BudgetType": inputs["budgetType"],
        "TimeUnit": inputs["timeUnit"],
        "BudgetLimit": {"Amount": inputs["limitAmount"], "Unit": inputs["limitUnit"]},
    }


def _notifications(inputs: Inputs) -> list[dict[str, Any]]:
    return [
        {
            "Notification": {
                "NotificationType": given["notificationType"],
                "ComparisonOperator": given["comparisonOperator"],
                "Threshold": given["threshold"],
                "ThresholdType": given["thresholdType"],
            },
            "Subscribers": [
                {"SubscriptionType": "EMAIL", "Address": address}
                for address in given["subscriberEmailAddresses"]
            ],
        }
        for given in objects(inputs, "notifications")
    ]


def _create(aws: Aws, logical_name: str, inputs: Inputs) -> Made:
    name = auto_name(inputs, "name", logical_name)
    aws.client("budgets").create_budget(
        AccountId=aws.account,
        Budget=_budget(name, inputs),
        NotificationsWithSubscribers=_notifications(inputs),
    )
    return Made(f"{aws.account}:{name}", {"name": name})


def _update(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
    aws.client("budgets").update_budget(
        AccountId=aws.account, NewBudget=_budget(existing.outputs["name"], inputs)
    )
    return dict(existing.outputs)


def _delete(aws: Aws, existing: Existing) -> None:
    aws.client("budgets").delete_budget(AccountId=aws.account, BudgetName=existing.outputs["name"])


TYPES = (
    ResourceType(
        "aws:budgets/budget:Budget",
        _create,
        _delete,
        _update,
        properties=frozenset({"budgetType", "limitAmount", "limitUnit"}),
        replaces=frozenset({"name", "notifications", "timeUnit"}),
        recorded=frozenset({"tags", "tagsAll"}),
    ),
)
