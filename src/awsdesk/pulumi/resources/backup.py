"""AWS Backup: the vault, the plan, and what it backs up. The emulator takes no backups."""

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
    pascal,
    tag_map,
)


def _create_vault(aws: Aws, logical_name: str, inputs: Inputs) -> Made:
    name = auto_name(inputs, "name", logical_name)
    made = aws.client("backup").create_backup_vault(
        BackupVaultName=name, BackupVaultTags=tag_map(inputs)
    )
    return Made(name, {"name": name, "arn": made["BackupVaultArn"]})


def _delete_vault(aws: Aws, existing: Existing) -> None:
    aws.client("backup").delete_backup_vault(BackupVaultName=existing.id)


def _plan(name: str, inputs: Inputs) -> dict[str, Any]:
    renamed = {
        "targetVaultName": "TargetBackupVaultName",
        "schedule": "ScheduleExpression",
        "startWindow": "StartWindowMinutes",
        "completionWindow": "CompletionWindowMinutes",
        "lifecycle": "Lifecycle",
        "ruleName": "RuleName",
    }
    rules: list[dict[str, Any]] = []
    for rule in objects(inputs, "rules"):
        put = {renamed[key]: value for key, value in rule.items()}
        if "Lifecycle" in put:
            lifecycle: dict[str, Any] = pascal(put["Lifecycle"])
            put["Lifecycle"] = {f"{key}Days": value for key, value in lifecycle.items()}
        rules.append(put)
    return {"BackupPlanName": name, "Rules": rules}


def _create_plan(aws: Aws, logical_name: str, inputs: Inputs) -> Made:
    name = auto_name(inputs, "name", logical_name)
    made = aws.client("backup").create_backup_plan(BackupPlan=_plan(name, inputs))
    return Made(
        made["BackupPlanId"],
        {"name": name, "arn": made["BackupPlanArn"], "version": made["VersionId"]},
    )


def _update_plan(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
    made = aws.client("backup").update_backup_plan(
        BackupPlanId=existing.id, BackupPlan=_plan(existing.outputs["name"], inputs)
    )
    return {**existing.outputs, "version": made["VersionId"]}


def _delete_plan(aws: Aws, existing: Existing) -> None:
    aws.client("backup").delete_backup_plan(BackupPlanId=existing.id)


def _create_selection(aws: Aws, logical_name: str, inputs: Inputs) -> Made:
    name = auto_name(inputs, "name", logical_name)
    made = aws.client("backup").create_backup_selection(
        BackupPlanId=inputs["planId"],
        BackupSelection={
            "SelectionName": name,
            "IamRoleArn": inputs["iamRoleArn"],
            "Resources": inputs["resources"],
        },
    )
    return Made(made["SelectionId"], {"name": name})


def _delete_selection(aws: Aws, existing: Existing) -> None:
    aws.client("backup").delete_backup_selection(
        BackupPlanId=existing.inputs["planId"], SelectionId=existing.id
    )


TYPES = (
    ResourceType(
        "aws:backup/vault:Vault",
        _create_vault,
        _delete_vault,
        lambda _aws, existing, _inputs: dict(existing.outputs),
        replaces=frozenset({"name"}),
        recorded=frozenset({"tags", "tagsAll"}),
    ),
    ResourceType(
        "aws:backup/plan:Plan",
        _create_plan,
        _delete_plan,
        _update_plan,
        properties=frozenset({"rules"}),
        replaces=frozenset({"name"}),
        recorded=frozenset({"tags", "tagsAll"}),
    ),
    ResourceType(
        "aws:backup/selection:Selection",
        _create_selection,
        _delete_selection,
        replaces=frozenset({"iamRoleArn", "name", "planId", "resources"}),
    ),
)
