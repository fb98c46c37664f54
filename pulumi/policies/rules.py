"""The rules, each a function of one resource, or of all, that reports what is wrong.

They hold for any change to the program, ours or a user's: what keeps mail, what is open to the
world, who may do what.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pulumi_policy import (
    EnforcementLevel,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)

Properties = Mapping[str, Any]
Check = Callable[[ResourceValidationArgs], Iterator[str]]

# What users need: IMAP, submission by TLS from the start and by STARTTLS, ManageSieve; and
# HTTPS, if the stack has a container that answers there (open-ports-are-served).
_OPEN_PORTS = {993, 465, 587, 4190, 443}
# And what routers need: ICMP's "packet too big", as protocol, type and code.
_OPEN_ICMP = {("icmp", 3, 4), ("icmpv6", 2, 0)}
_WORLD = {"0.0.0.0/0", "::/0"}

# How a secret's name ends; such a variable belongs into `secrets`.
_SECRET_WORDS = ("PASSWORD", "SECRET", "TOKEN")

# Actions that support no resource but `*` (service authorization reference).
_WITHOUT_RESOURCES = {
    "backup:ListRecoveryPointsByResource",
    "cloudwatch:GetMetricStatistics",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeVolumes",
    "ecr:GetAuthorizationToken",
    "ecs:DescribeTaskDefinition",
    "ecs:DiscoverPollEndpoint",
    "route53:ListHostedZones",
    "ses:DescribeActiveReceiptRuleSet",
    "ses:GetAccount",
    "sns:ListSubscriptions",
    "sns:ListTopics",
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
}

POLICIES: list[ResourceValidationPolicy] = []
STACK_POLICIES: list[StackValidationPolicy] = []


def _rule(name: str, *types: str) -> Callable[[Check], Check]:
    """Register a check of these types as a mandatory policy; its docstring is the description."""

    def register(check: Check) -> Check:
        def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
            if args.resource_type in types:
                for complaint in check(args):
                    report(f"{args.name}: {complaint}", None)

        POLICIES.append(
            ResourceValidationPolicy(
                name=name,
                description=(check.__doc__ or "").strip(),
                enforcement_level=EnforcementLevel.MANDATORY,
                validate=validate,
            )
        )
        return check

    return register


def _listed(value: Any) -> list[Any]:
    """Return a value that may also occur without a list in a policy document, as a list."""
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]


def _statements(args: ResourceValidationArgs) -> list[Mapping[str, Any]]:
    """Return the statements of a resource's policy document."""
    return _listed(json.loads(args.props.get("policy") or '{"Statement": []}')["Statement"])


@_rule(
    "mail-is-protected",
    "aws:efs/fileSystem:FileSystem",
    "aws:route53/zone:Zone",
    "aws:backup/vault:Vault",
    "aws:ebs/volume:Volume",
)
def mail_is_protected(args: ResourceValidationArgs) -> Iterator[str]:
    """Resources that hold mail, or route it here, are protected from deletion."""
    if not args.opts.protect:
        yield "set protect, and retain_on_delete with it"


@_rule("archives-are-protected", "aws:s3/bucket:Bucket")
def archives_are_protected(args: ResourceValidationArgs) -> Iterator[str]:
    """Every bucket is protected, except those that may be deleted with their content (a site's)."""
    if not args.props.get("forceDestroy") and not args.opts.protect:
        yield "set protect, and retain_on_delete with it; or forceDestroy, if it holds no mail"
    if args.props.get("forceDestroy") and args.opts.protect:
        yield "what is protected must not have forceDestroy"


@_rule("disks-are-encrypted", "aws:efs/fileSystem:FileSystem", "aws:ebs/volume:Volume")
def disks_are_encrypted(args: ResourceValidationArgs) -> Iterator[str]:
    """Mail at rest is encrypted."""
    if args.props.get("encrypted") is not True:
        yield "set encrypted"


@_rule("queues-are-encrypted", "aws:sqs/queue:Queue")
def queues_are_encrypted(args: ResourceValidationArgs) -> Iterator[str]:
    """Queues are encrypted, because notifications contain addresses."""
    if args.props.get("sqsManagedSseEnabled") is not True and not args.props.get("kmsMasterKeyId"):
        yield "set sqs_managed_sse_enabled"


@_rule("logs-end", "aws:cloudwatch/logGroup:LogGroup")
def logs_end(args: ResourceValidationArgs) -> Iterator[str]:
    """Logs expire, because they contain addresses and cost money."""
    if not args.props.get("retentionInDays"):
        yield "set retention_in_days"


@_rule("images-stay-what-they-are", "aws:ecr/repository:Repository")
def images_stay_what_they_are(args: ResourceValidationArgs) -> Iterator[str]:
    """Image tags are immutable, because a tag is a hash of the content; images are scanned."""
    if args.props.get("imageTagMutability") != "IMMUTABLE":
        yield "set image_tag_mutability to IMMUTABLE"
    if (args.props.get("imageScanningConfiguration") or {}).get("scanOnPush") is not True:
        yield "have images scanned when they are pushed"


@_rule("few-ports-are-open", "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule")
def few_ports_are_open(args: ResourceValidationArgs) -> Iterator[str]:
    """Only the ports of mail clients and ICMP's "packet too big" are open to the internet."""
    source = args.props.get("cidrIpv4") or args.props.get("cidrIpv6")
    if source not in _WORLD:
        return
    first, last = args.props.get("fromPort"), args.props.get("toPort")
    if (args.props.get("ipProtocol"), first, last) in _OPEN_ICMP:
        return
    if args.props.get("ipProtocol") != "tcp" or first != last or first not in _OPEN_PORTS:
        yield f"ports {first} to {last} are open to {source}"


@_rule("groups-have-no-rules-inside", "aws:ec2/securityGroup:SecurityGroup")
def groups_have_no_rules_inside(args: ResourceValidationArgs) -> Iterator[str]:
    """Rules are separate resources, which few-ports-are-open checks."""
    if args.props.get("ingress") or args.props.get("egress"):
        yield "move its rules into SecurityGroupIngressRule and SecurityGroupEgressRule"


@_rule("buckets-are-private", "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock")
def buckets_are_private(args: ResourceValidationArgs) -> Iterator[str]:
    """Nothing in a bucket can become public."""
    for setting in (
        "blockPublicAcls",
        "blockPublicPolicy",
        "ignorePublicAcls",
        "restrictPublicBuckets",
    ):
        if args.props.get(setting) is not True:
            yield f"set {setting}"


@_rule("rules-let-others-run", "aws:ses/receiptRule:ReceiptRule")
def rules_let_others_run(args: ResourceValidationArgs) -> Iterator[str]:
    """A receipt rule names recipients, and never stops the rules after it."""
    if args.props.get("stopActions"):
        yield "a Stop keeps mail from the mailboxes of later rules"
    if not args.props.get("recipients"):
        yield "without recipients it takes all mail of all domains"


@_rule("parameters-are-secure", "aws:ssm/parameter:Parameter")
def parameters_are_secure(args: ResourceValidationArgs) -> Iterator[str]:
    """SSM parameters are encrypted."""
    if args.props.get("type") != "SecureString":
        yield "make it a SecureString"


@_rule("hosts-keep-their-credentials", "aws:ec2/launchTemplate:LaunchTemplate")
def hosts_keep_their_credentials(args: ResourceValidationArgs) -> Iterator[str]:
    """Containers cannot reach the host's role, and nobody has an SSH key."""
    options = args.props.get("metadataOptions") or {}
    if options.get("httpTokens") != "required" or options.get("httpPutResponseHopLimit") != 1:
        yield "require IMDSv2 with a hop limit of 1"
    if args.props.get("keyName"):
        yield "no SSH key: use Session Manager (ssm-access)"


@_rule("containers-are-confined", "aws:ecs/taskDefinition:TaskDefinition")
def containers_are_confined(args: ResourceValidationArgs) -> Iterator[str]:
    """Read-only root, few capabilities, a memory limit, and no secret in the environment."""
    for container in json.loads(args.props.get("containerDefinitions") or "[]"):
        name = container["name"]
        if container.get("privileged"):
            yield f"{name} is privileged"
        if not container.get("readonlyRootFilesystem"):
            yield f"{name} can write to its root"
        capabilities = (container.get("linuxParameters") or {}).get("capabilities") or {}
        if capabilities.get("drop") != ["ALL"]:
            yield f"{name} keeps capabilities"
        if not container.get("memory"):
            yield f"{name} has no memory limit"
        for variable in container.get("environment") or []:
            if any(word in variable["name"] for word in _SECRET_WORDS):
                yield f"{name} has {variable['name']} in clear: make it an ECS secret"
        if ".dkr.ecr." in container["image"] and "@sha256:" not in container["image"]:
            yield f"{name} is named by a tag: name its digest"


@_rule(
    "policies-are-narrow",
    "aws:iam/rolePolicy:RolePolicy",
    "aws:iam/userPolicy:UserPolicy",
    "aws:iam/policy:Policy",
)
def policies_are_narrow(args: ResourceValidationArgs) -> Iterator[str]:
    """Policies name each action, and resources if the action supports them."""
    for statement in _statements(args):
        if statement["Effect"] != "Allow":
            continue
        actions = _listed(statement.get("Action") or "*")
        for action in actions:
            if "*" in action:
                yield f"allows {action}"
        if "*" in _listed(statement.get("Resource")):
            for action in sorted(set(actions) - _WITHOUT_RESOURCES):
                yield f"allows {action} on everything"


@_rule(
    "doors-are-for-somebody",
    "aws:efs/fileSystemPolicy:FileSystemPolicy",
    "aws:s3/bucketPolicy:BucketPolicy",
    "aws:sns/topicPolicy:TopicPolicy",
    "aws:sqs/queuePolicy:QueuePolicy",
)
def doors_are_for_somebody(args: ResourceValidationArgs) -> Iterator[str]:
    """Resource policies name principals, and permit services only for resources of this account."""
    for statement in _statements(args):
        if statement["Effect"] != "Allow":
            continue
        who = statement.get("Principal")
        if who == "*" or (isinstance(who, Mapping) and "*" in _listed(who.get("AWS"))):
            yield f"{statement.get('Sid', 'a statement')} lets everybody in"
        keys = {key for keys in (statement.get("Condition") or {}).values() for key in keys}
        is_service = isinstance(who, Mapping) and "Service" in who
        if is_service and not keys & {"aws:SourceAccount", "aws:SourceArn"}:
            yield f"{statement.get('Sid', 'a statement')} lets a service in for anybody"


def _buckets_are_closed(args: StackValidationArgs, report: ReportViolation) -> None:
    count = {
        kind: sum(resource.resource_type == f"aws:s3/{kind}" for resource in args.resources)
        for kind in ("bucket:Bucket", *_CLOSES_A_BUCKET)
    }
    for kind in _CLOSES_A_BUCKET:
        if count[kind] < count["bucket:Bucket"]:
            report(f"{count['bucket:Bucket']} buckets, but {count[kind]} of {kind}", None)


def _open_ports_are_served(args: StackValidationArgs, report: ReportViolation) -> None:
    published = {
        mapping["hostPort"]
        for resource in args.resources
        if resource.resource_type == "aws:ecs/taskDefinition:TaskDefinition"
        for container in json.loads(resource.props["containerDefinitions"])
        for mapping in container.get("portMappings") or ()
    }
    for resource in args.resources:
        if resource.resource_type != "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule":
            continue
        port = int(resource.props.get("fromPort") or 0)
        is_tcp = resource.props.get("ipProtocol") == "tcp"
        source = resource.props.get("cidrIpv4") or resource.props.get("cidrIpv6")
        if is_tcp and source in _WORLD and port not in published:
            report(f"{resource.name}: port {port} is open, but no container answers there", None)


_CLOSES_A_BUCKET = (
    "bucketOwnershipControls:BucketOwnershipControls",
    "bucketPolicy:BucketPolicy",
    "bucketPublicAccessBlock:BucketPublicAccessBlock",
)

STACK_POLICIES.append(
    StackValidationPolicy(
        name="buckets-are-closed",
        description="Every bucket blocks public access, has one owner, and a policy (TLS only).",
        enforcement_level=EnforcementLevel.MANDATORY,
        validate=_buckets_are_closed,
    )
)
STACK_POLICIES.append(
    StackValidationPolicy(
        name="open-ports-are-served",
        description="Every open port has a container behind it: 443 only with a web container.",
        enforcement_level=EnforcementLevel.MANDATORY,
        validate=_open_ports_are_served,
    )
)
