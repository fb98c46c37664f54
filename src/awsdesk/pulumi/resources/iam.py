"""IAM: the tasks' roles, the user that Postfix sends as, and its key.

SES's SMTP password is derived from the secret key, as AWS documents:
https://docs.aws.amazon.com/ses/latest/dg/smtp-credentials.html
"""

import base64
import hashlib
import hmac

from awsdesk.pulumi.resources.resource_type import (
    Aws,
    Existing,
    Inputs,
    Made,
    Outputs,
    ResourceType,
    auto_name,
    tag_list,
)


def ses_smtp_password(secret_access_key: str, region: str) -> str:
    """Return the password for SES's SMTP endpoint in `region` (version 4 of the derivation)."""
    signature = ("AWS4" + secret_access_key).encode()
    for part in ("11111111", region, "ses", "aws4_request", "SendRawEmail"):
        signature = hmac.new(signature, part.encode(), hashlib.sha256).digest()
    return base64.b64encode(b"\x04" + signature).decode()


def _create_role(aws: Aws, name: str, inputs: Inputs) -> Made:
    role = auto_name(inputs, "name", name)
    made = aws.client("iam").create_role(
        RoleName=role,
        Path=inputs.get("path", "/"),
        AssumeRolePolicyDocument=inputs["assumeRolePolicy"],
        Description=inputs.get("description", ""),
        Tags=tag_list(inputs),
    )["Role"]
    return Made(role, {"name": role, "arn": made["Arn"], "uniqueId": made["RoleId"]})


def _update_role(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
    iam = aws.client("iam")
    iam.update_assume_role_policy(RoleName=existing.id, PolicyDocument=inputs["assumeRolePolicy"])
    iam.update_role(RoleName=existing.id, Description=inputs.get("description", ""))
    iam.tag_role(RoleName=existing.id, Tags=tag_list(inputs))
    return dict(existing.outputs)


def _delete_role(aws: Aws, existing: Existing) -> None:
    aws.client("iam").delete_role(RoleName=existing.id)


def _attach(aws: Aws, _name: str, inputs: Inputs) -> Made:
    aws.client("iam").attach_role_policy(RoleName=inputs["role"], PolicyArn=inputs["policyArn"])
    return Made(f"{inputs['role']}/{inputs['policyArn']}")


def _detach(aws: Aws, existing: Existing) -> None:
    aws.client("iam").detach_role_policy(
        RoleName=existing.inputs["role"], PolicyArn=existing.inputs["policyArn"]
    )


def _create_instance_profile(aws: Aws, logical_name: str, inputs: Inputs) -> Made:
    name = auto_name(inputs, "name", logical_name)
    iam = aws.client("iam")
    made = iam.create_instance_profile(InstanceProfileName=name)["InstanceProfile"]
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=inputs["role"])
    return Made(name, {"name": name, "arn": made["Arn"]})


def _update_instance_profile(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
    if inputs["role"] != existing.inputs["role"]:
        iam = aws.client("iam")
        iam.remove_role_from_instance_profile(
            InstanceProfileName=existing.id, RoleName=existing.inputs["role"]
        )
        iam.add_role_to_instance_profile(InstanceProfileName=existing.id, RoleName=inputs["role"])
    return dict(existing.outputs)


def _delete_instance_profile(aws: Aws, existing: Existing) -> None:
    iam = aws.client("iam")
    iam.remove_role_from_instance_profile(
        InstanceProfileName=existing.id, RoleName=existing.inputs["role"]
    )
    iam.delete_instance_profile(InstanceProfileName=existing.id)


def _create_user(aws: Aws, logical_name: str, inputs: Inputs) -> Made:
    user = auto_name(inputs, "name", logical_name)
    made = aws.client("iam").create_user(
        UserName=user, Path=inputs.get("path", "/"), Tags=tag_list(inputs)
    )["User"]
    return Made(user, {"name": user, "arn": made["Arn"], "uniqueId": made["UserId"]})


def _update_user(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
    aws.client("iam").tag_user(UserName=existing.id, Tags=tag_list(inputs))
    return dict(existing.outputs)


def _delete_user(aws: Aws, existing: Existing) -> None:
    aws.client("iam").delete_user(UserName=existing.id)


def _create_access_key(aws: Aws, _name: str, inputs: Inputs) -> Made:
    key = aws.client("iam").create_access_key(UserName=inputs["user"])["AccessKey"]
    return Made(
        key["AccessKeyId"],
        {
            "secret": key["SecretAccessKey"],
            "sesSmtpPasswordV4": ses_smtp_password(key["SecretAccessKey"], aws.region),
            "status": key["Status"],
        },
    )


def _update_access_key(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
    status = inputs.get("status", "Active")
    aws.client("iam").update_access_key(
        UserName=inputs["user"], AccessKeyId=existing.id, Status=status
    )
    return {**existing.outputs, "status": status}


def _delete_access_key(aws: Aws, existing: Existing) -> None:
    aws.client("iam").delete_access_key(UserName=existing.inputs["user"], AccessKeyId=existing.id)


def _inline_policy(kind: str) -> ResourceType:
    """Return the resource type for the inline policy of a `role` or a `user`."""

    def call(aws: Aws, verb: str, inputs: Inputs, name: str, **more: str) -> None:
        owner = {f"{kind.title()}Name": inputs[kind]}
        getattr(aws.client("iam"), f"{verb}_{kind}_policy")(**owner, PolicyName=name, **more)

    def create(aws: Aws, logical_name: str, inputs: Inputs) -> Made:
        name = auto_name(inputs, "name", logical_name)
        call(aws, "put", inputs, name, PolicyDocument=inputs["policy"])
        return Made(f"{inputs[kind]}:{name}", {"name": name})

    def update(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
        call(aws, "put", inputs, existing.outputs["name"], PolicyDocument=inputs["policy"])
        return dict(existing.outputs)

    def delete(aws: Aws, existing: Existing) -> None:
        call(aws, "delete", existing.inputs, existing.outputs["name"])

    return ResourceType(
        f"aws:iam/{kind}Policy:{kind.title()}Policy",
        create,
        delete,
        update,
        properties=frozenset({"policy"}),
        replaces=frozenset({"name", kind}),
    )


TYPES = (
    ResourceType(
        "aws:iam/role:Role",
        _create_role,
        _delete_role,
        _update_role,
        properties=frozenset({"assumeRolePolicy", "description", "tags", "tagsAll"}),
        replaces=frozenset({"name", "path"}),
    ),
    _inline_policy("role"),
    ResourceType(
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
        _attach,
        _detach,
        replaces=frozenset({"role", "policyArn"}),
    ),
    ResourceType(
        "aws:iam/instanceProfile:InstanceProfile",
        _create_instance_profile,
        _delete_instance_profile,
        _update_instance_profile,
        properties=frozenset({"role", "tags", "tagsAll"}),
        replaces=frozenset({"name"}),
    ),
    ResourceType(
        "aws:iam/user:User",
        _create_user,
        _delete_user,
        _update_user,
        properties=frozenset({"tags", "tagsAll"}),
        replaces=frozenset({"name", "path"}),
    ),
    _inline_policy("user"),
    ResourceType(
        "aws:iam/accessKey:AccessKey",
        _create_access_key,
        _delete_access_key,
        _update_access_key,
        properties=frozenset({"status"}),
        replaces=frozenset({"user"}),
    ),
)
