"""SNS: the topic to which SES publishes notifications, its policy, and its subscribed queue."""

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

_TOPIC_ATTRIBUTES = {
    "policy": "Policy",
    "displayName": "DisplayName",
    "kmsMasterKeyId": "KmsMasterKeyId",
    "signatureVersion": "SignatureVersion",
}
_SUBSCRIPTION_ATTRIBUTES = {
    "rawMessageDelivery": "RawMessageDelivery",
    "redrivePolicy": "RedrivePolicy",
    "filterPolicy": "FilterPolicy",
}


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _attributes(inputs: Inputs, names: dict[str, str]) -> dict[str, str]:
    return {
        attribute: _text(inputs[name])
        for name, attribute in names.items()
        if inputs.get(name) is not None
    }


def _create_topic(aws: Aws, name: str, inputs: Inputs) -> Made:
    topic = auto_name(inputs, "name", name)
    arn = aws.client("sns").create_topic(
        Name=topic, Attributes=_attributes(inputs, _TOPIC_ATTRIBUTES), Tags=tag_list(inputs)
    )["TopicArn"]
    return Made(arn, {"name": topic, "arn": arn, "owner": aws.account})


def _update_topic(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
    for attribute, value in _attributes(inputs, _TOPIC_ATTRIBUTES).items():
        aws.client("sns").set_topic_attributes(
            TopicArn=existing.id, AttributeName=attribute, AttributeValue=value
        )
    aws.client("sns").tag_resource(ResourceArn=existing.id, Tags=tag_list(inputs))
    return dict(existing.outputs)


def _delete_topic(aws: Aws, existing: Existing) -> None:
    aws.client("sns").delete_topic(TopicArn=existing.id)


def _put_policy(aws: Aws, arn: str, inputs: Inputs) -> None:
    aws.client("sns").set_topic_attributes(
        TopicArn=arn, AttributeName="Policy", AttributeValue=inputs["policy"]
    )


def _create_policy(aws: Aws, _name: str, inputs: Inputs) -> Made:
    _put_policy(aws, inputs["arn"], inputs)
    return Made(inputs["arn"], {"owner": aws.account})


def _update_policy(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
    _put_policy(aws, existing.id, inputs)
    return dict(existing.outputs)


def _create_subscription(aws: Aws, _name: str, inputs: Inputs) -> Made:
    arn = aws.client("sns").subscribe(
        TopicArn=inputs["topic"],
        Protocol=inputs["protocol"],
        Endpoint=inputs["endpoint"],
        Attributes=_attributes(inputs, _SUBSCRIPTION_ATTRIBUTES),
        ReturnSubscriptionArn=True,
    )["SubscriptionArn"]
    return Made(arn, {"arn": arn, "ownerId": aws.account})


def _update_subscription(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
    for attribute, value in _attributes(inputs, _SUBSCRIPTION_ATTRIBUTES).items():
        aws.client("sns").set_subscription_attributes(
            SubscriptionArn=existing.id, AttributeName=attribute, AttributeValue=value
        )
    return dict(existing.outputs)


def _delete_subscription(aws: Aws, existing: Existing) -> None:
    aws.client("sns").unsubscribe(SubscriptionArn=existing.id)


TYPES = (
    ResourceType(
        "aws:sns/topic:Topic",
        _create_topic,
        _delete_topic,
        _update_topic,
        properties=frozenset({*_TOPIC_ATTRIBUTES, "tags", "tagsAll"}),
        replaces=frozenset({"name"}),
    ),
    ResourceType(
        "aws:sns/topicPolicy:TopicPolicy",
        _create_policy,
        update=_update_policy,
        properties=frozenset({"policy"}),
        replaces=frozenset({"arn"}),
    ),
    ResourceType(
        "aws:sns/topicSubscription:TopicSubscription",
        _create_subscription,
        _delete_subscription,
        _update_subscription,
        properties=frozenset(_SUBSCRIPTION_ATTRIBUTES),
        replaces=frozenset({"topic", "protocol", "endpoint"}),
    ),
)
