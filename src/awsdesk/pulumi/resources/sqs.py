"""SQS: the mail queue, the dead letters, and who may send to them."""

from awsdesk.pulumi.resources.resource_type import (
    Aws,
    Existing,
    Inputs,
    Made,
    Outputs,
    ResourceType,
    auto_name,
    tag_map,
)

# Pulumi's name of a queue's property -> SQS's attribute.
_ATTRIBUTES = {
    "visibilityTimeoutSeconds": "VisibilityTimeout",
    "messageRetentionSeconds": "MessageRetentionPeriod",
    "receiveWaitTimeSeconds": "ReceiveMessageWaitTimeSeconds",
    "maxMessageSize": "MaximumMessageSize",
    "delaySeconds": "DelaySeconds",
    "redrivePolicy": "RedrivePolicy",
    "redriveAllowPolicy": "RedriveAllowPolicy",
    "policy": "Policy",
    "sqsManagedSseEnabled": "SqsManagedSseEnabled",
}


def _attributes(inputs: Inputs) -> dict[str, str]:
    attributes: dict[str, str] = {}
    for name, attribute in _ATTRIBUTES.items():
        value = inputs.get(name)
        if value is not None:
            attributes[attribute] = str(value).lower() if isinstance(value, bool) else str(value)
    return attributes


def _create_queue(aws: Aws, name: str, inputs: Inputs) -> Made:
    queue = auto_name(inputs, "name", name)
    answer = aws.client("sqs").create_queue(
        QueueName=queue, Attributes=_attributes(inputs), tags=tag_map(inputs)
    )
    url = str(answer["QueueUrl"])
    return Made(url, {"name": queue, "url": url, "arn": aws.arn("sqs", queue)})


def _update_queue(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
    attributes = _attributes(inputs)
    for gone in set(_ATTRIBUTES) & set(existing.inputs) - set(inputs):
        attributes[_ATTRIBUTES[gone]] = ""
    aws.client("sqs").set_queue_attributes(QueueUrl=existing.id, Attributes=attributes)
    aws.client("sqs").tag_queue(QueueUrl=existing.id, Tags=tag_map(inputs))
    return dict(existing.outputs)


def _delete_queue(aws: Aws, existing: Existing) -> None:
    aws.client("sqs").delete_queue(QueueUrl=existing.id)


def _queue_setting(token: str, source: str, attribute: str) -> ResourceType:
    """Return the type of a resource that is one attribute of a queue."""

    def put(aws: Aws, queue_url: str, value: str) -> None:
        aws.client("sqs").set_queue_attributes(QueueUrl=queue_url, Attributes={attribute: value})

    def create(aws: Aws, _name: str, inputs: Inputs) -> Made:
        put(aws, inputs["queueUrl"], inputs[source])
        return Made(inputs["queueUrl"])

    def update(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
        put(aws, existing.id, inputs[source])
        return dict(existing.outputs)

    def delete(aws: Aws, existing: Existing) -> None:
        put(aws, existing.id, "")

    return ResourceType(token, create, delete, update, frozenset({source}), frozenset({"queueUrl"}))


TYPES = (
    ResourceType(
        "aws:sqs/queue:Queue",
        _create_queue,
        _delete_queue,
        _update_queue,
        properties=frozenset({*_ATTRIBUTES, "tags", "tagsAll"}),
        replaces=frozenset({"name"}),
    ),
    _queue_setting("aws:sqs/queuePolicy:QueuePolicy", "policy", "Policy"),
    _queue_setting(
        "aws:sqs/redriveAllowPolicy:RedriveAllowPolicy", "redriveAllowPolicy", "RedriveAllowPolicy"
    ),
)
