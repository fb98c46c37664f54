"""SES: identities, the configuration set, and the receipt rules (which only the v1 API has)."""

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
    setting,
    tag_list,
)


def _identity_outputs(aws: Aws, identity: str) -> Outputs:
    answer = aws.client("sesv2").get_email_identity(EmailIdentity=identity)
    dkim = answer.get("DkimAttributes", {})
    return {
        "arn": aws.arn("ses", f"identity/{identity}"),
        "identityType": answer["IdentityType"],
        "verifiedForSendingStatus": answer.get("VerifiedForSendingStatus", False),
        "dkimSigningAttributes": {
            "nextSigningKeyLength": dkim.get("NextSigningKeyLength", "RSA_2048_BIT"),
            "signingAttributesOrigin": dkim.get("SigningAttributesOrigin", "AWS_SES"),
            "status": dkim.get("Status", "PENDING"),
            "tokens": dkim.get("Tokens", []),
        },
    }


def _create_identity(aws: Aws, _name: str, inputs: Inputs) -> Made:
    identity = inputs["emailIdentity"]
    arguments: dict[str, Any] = {"EmailIdentity": identity, "Tags": tag_list(inputs)}
    if inputs.get("dkimSigningAttributes"):
        arguments["DkimSigningAttributes"] = pascal(inputs["dkimSigningAttributes"])
    if inputs.get("configurationSetName"):
        arguments["ConfigurationSetName"] = inputs["configurationSetName"]
    aws.client("sesv2").create_email_identity(**arguments)
    return Made(identity, _identity_outputs(aws, identity))


def _update_identity(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
    ses = aws.client("sesv2")
    if inputs.get("configurationSetName") != existing.inputs.get("configurationSetName"):
        ses.put_email_identity_configuration_set_attributes(
            EmailIdentity=existing.id, ConfigurationSetName=inputs.get("configurationSetName")
        )
    if inputs.get("dkimSigningAttributes") != existing.inputs.get("dkimSigningAttributes"):
        ses.put_email_identity_dkim_signing_attributes(
            EmailIdentity=existing.id,
            SigningAttributesOrigin="AWS_SES",
            SigningAttributes=pascal(inputs.get("dkimSigningAttributes") or {}),
        )
    return _identity_outputs(aws, existing.id)


def _delete_identity(aws: Aws, existing: Existing) -> None:
    aws.client("sesv2").delete_email_identity(EmailIdentity=existing.id)


def _put_mail_from(aws: Aws, inputs: Inputs) -> None:
    aws.client("sesv2").put_email_identity_mail_from_attributes(
        EmailIdentity=inputs["emailIdentity"],
        MailFromDomain=inputs.get("mailFromDomain", ""),
        BehaviorOnMxFailure=inputs.get("behaviorOnMxFailure", "USE_DEFAULT_VALUE"),
    )


def _delete_mail_from(aws: Aws, existing: Existing) -> None:
    _put_mail_from(aws, {"emailIdentity": existing.id})


def _put_feedback(aws: Aws, inputs: Inputs) -> None:
    aws.client("sesv2").put_email_identity_feedback_attributes(
        EmailIdentity=inputs["emailIdentity"],
        EmailForwardingEnabled=bool(inputs.get("emailForwardingEnabled", False)),
    )


def _delete_feedback(aws: Aws, existing: Existing) -> None:
    _put_feedback(aws, {"emailIdentity": existing.id, "emailForwardingEnabled": True})


def _create_configuration_set(aws: Aws, _name: str, inputs: Inputs) -> Made:
    name = inputs["configurationSetName"]
    arguments: dict[str, Any] = {"ConfigurationSetName": name, "Tags": tag_list(inputs)}
    for option in ("deliveryOptions", "reputationOptions", "sendingOptions", "suppressionOptions"):
        if inputs.get(option):
            arguments[option[:1].upper() + option[1:]] = pascal(inputs[option])
    aws.client("sesv2").create_configuration_set(**arguments)
    return Made(name, {"arn": aws.arn("ses", f"configuration-set/{name}")})


def _update_configuration_set(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
    ses = aws.client("sesv2")
    for option, put in (
        ("deliveryOptions", ses.put_configuration_set_delivery_options),
        ("reputationOptions", ses.put_configuration_set_reputation_options),
        ("sendingOptions", ses.put_configuration_set_sending_options),
        ("suppressionOptions", ses.put_configuration_set_suppression_options),
    ):
        if inputs.get(option) != existing.inputs.get(option):
            put(ConfigurationSetName=existing.id, **pascal(inputs.get(option) or {}))
    return dict(existing.outputs)


def _delete_configuration_set(aws: Aws, existing: Existing) -> None:
    aws.client("sesv2").delete_configuration_set(ConfigurationSetName=existing.id)


def _destination(inputs: Inputs) -> dict[str, Any]:
    event: dict[str, Any] = inputs["eventDestination"]
    destination: dict[str, Any] = {
        "Enabled": event.get("enabled", False),
        "MatchingEventTypes": event["matchingEventTypes"],
    }
    for kind in ("snsDestination", "cloudWatchDestination"):
        if event.get(kind):
            destination[kind[:1].upper() + kind[1:]] = pascal(event[kind])
    return destination


def _create_event_destination(aws: Aws, _name: str, inputs: Inputs) -> Made:
    aws.client("sesv2").create_configuration_set_event_destination(
        ConfigurationSetName=inputs["configurationSetName"],
        EventDestinationName=inputs["eventDestinationName"],
        EventDestination=_destination(inputs),
    )
    return Made(f"{inputs['configurationSetName']}|{inputs['eventDestinationName']}")


def _update_event_destination(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
    aws.client("sesv2").update_configuration_set_event_destination(
        ConfigurationSetName=inputs["configurationSetName"],
        EventDestinationName=inputs["eventDestinationName"],
        EventDestination=_destination(inputs),
    )
    return dict(existing.outputs)


def _delete_event_destination(aws: Aws, existing: Existing) -> None:
    aws.client("sesv2").delete_configuration_set_event_destination(
        ConfigurationSetName=existing.inputs["configurationSetName"],
        EventDestinationName=existing.inputs["eventDestinationName"],
    )


def _create_rule_set(aws: Aws, _name: str, inputs: Inputs) -> Made:
    name = inputs["ruleSetName"]
    aws.client("ses").create_receipt_rule_set(RuleSetName=name)
    return Made(name, {"arn": aws.arn("ses", f"receipt-rule-set/{name}")})


def _delete_rule_set(aws: Aws, existing: Existing) -> None:
    aws.client("ses").delete_receipt_rule_set(RuleSetName=existing.id)


def _activate(aws: Aws, _name: str, inputs: Inputs) -> Made:
    aws.client("ses").set_active_receipt_rule_set(RuleSetName=inputs["ruleSetName"])
    return Made(
        inputs["ruleSetName"],
        {"arn": aws.arn("ses", f"receipt-rule-set/{inputs['ruleSetName']}")},
    )


def _reactivate(aws: Aws, _existing: Existing, inputs: Inputs) -> Outputs:
    return _activate(aws, "", inputs).outputs


def _deactivate(aws: Aws, _existing: Existing) -> None:
    aws.client("ses").set_active_receipt_rule_set()


def _rule(name: str, inputs: Inputs) -> dict[str, Any]:
    actions: list[tuple[int, dict[str, Any]]] = []
    for kind in ("s3Actions", "snsActions", "addHeaderActions", "stopActions"):
        for action in objects(inputs, kind):
            body = pascal({key: value for key, value in action.items() if key != "position"})
            named = kind[:1].upper() + kind[1:-1]
            actions.append((action["position"], {named: body}))
    actions.sort(key=lambda placed: placed[0])
    return {
        "Name": name,
        "Enabled": inputs.get("enabled", False),
        "TlsPolicy": inputs.get("tlsPolicy", "Optional"),
        "ScanEnabled": inputs.get("scanEnabled", False),
        "Recipients": inputs.get("recipients") or [],
        "Actions": [action for _, action in actions],
    }


def _create_rule(aws: Aws, logical_name: str, inputs: Inputs) -> Made:
    name = auto_name(inputs, "name", logical_name)
    arguments: dict[str, Any] = {
        "RuleSetName": inputs["ruleSetName"],
        "Rule": _rule(name, inputs),
    }
    if inputs.get("after"):
        arguments["After"] = inputs["after"]
    aws.client("ses").create_receipt_rule(**arguments)
    resource = f"receipt-rule-set/{inputs['ruleSetName']}:receipt-rule/{name}"
    return Made(name, {"name": name, "arn": aws.arn("ses", resource)})


def _update_rule(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
    ses = aws.client("ses")
    rule_set = inputs["ruleSetName"]
    ses.update_receipt_rule(RuleSetName=rule_set, Rule=_rule(existing.id, inputs))
    if inputs.get("after") and inputs.get("after") != existing.inputs.get("after"):
        ses.set_receipt_rule_position(
            RuleSetName=rule_set, RuleName=existing.id, After=inputs["after"]
        )
    return dict(existing.outputs)


def _delete_rule(aws: Aws, existing: Existing) -> None:
    aws.client("ses").delete_receipt_rule(
        RuleSetName=existing.inputs["ruleSetName"], RuleName=existing.id
    )


TYPES = (
    ResourceType(
        "aws:sesv2/emailIdentity:EmailIdentity",
        _create_identity,
        _delete_identity,
        _update_identity,
        properties=frozenset({"dkimSigningAttributes", "configurationSetName"}),
        replaces=frozenset({"emailIdentity"}),
        recorded=frozenset({"tags", "tagsAll"}),
    ),
    setting(
        "aws:sesv2/emailIdentityMailFromAttributes:EmailIdentityMailFromAttributes",
        "emailIdentity",
        _put_mail_from,
        _delete_mail_from,
        frozenset({"behaviorOnMxFailure", "mailFromDomain"}),
    ),
    setting(
        "aws:sesv2/emailIdentityFeedbackAttributes:EmailIdentityFeedbackAttributes",
        "emailIdentity",
        _put_feedback,
        _delete_feedback,
        frozenset({"emailForwardingEnabled"}),
    ),
    ResourceType(
        "aws:sesv2/configurationSet:ConfigurationSet",
        _create_configuration_set,
        _delete_configuration_set,
        _update_configuration_set,
        properties=frozenset(
            {"deliveryOptions", "reputationOptions", "sendingOptions", "suppressionOptions"}
        ),
        replaces=frozenset({"configurationSetName"}),
        recorded=frozenset({"tags", "tagsAll"}),
    ),
    ResourceType(
        "aws:sesv2/configurationSetEventDestination:ConfigurationSetEventDestination",
        _create_event_destination,
        _delete_event_destination,
        _update_event_destination,
        properties=frozenset({"eventDestination"}),
        replaces=frozenset({"configurationSetName", "eventDestinationName"}),
    ),
    ResourceType(
        "aws:ses/receiptRuleSet:ReceiptRuleSet",
        _create_rule_set,
        _delete_rule_set,
        replaces=frozenset({"ruleSetName"}),
    ),
    ResourceType(
        "aws:ses/activeReceiptRuleSet:ActiveReceiptRuleSet",
        _activate,
        _deactivate,
        _reactivate,
        properties=frozenset({"ruleSetName"}),
    ),
    ResourceType(
        "aws:ses/receiptRule:ReceiptRule",
        _create_rule,
        _delete_rule,
        _update_rule,
        properties=frozenset(
            {
                "addHeaderActions",
                "after",
                "enabled",
                "recipients",
                "s3Actions",
                "scanEnabled",
                "snsActions",
                "stopActions",
                "tlsPolicy",
            }
        ),
        replaces=frozenset({"name", "ruleSetName"}),
    ),
)
