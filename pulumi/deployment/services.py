"""The services, each with its environment, its permissions, and its dependencies."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi_aws as aws

import pulumi
from deployment import task_documents
from deployment.archive import Archive
from deployment.containers import (
    DELIVER_CONTAINER,
    DOVECOT,
    POSTFIX,
    WEB_CONTAINER,
    Container,
    beside_peers,
    beside_web,
    with_calendars,
    with_memory,
)
from deployment.directory_object import DIRECTORY_KEY, DirectoryObject
from deployment.identities import Identities
from deployment.images import Images
from deployment.notifications import HostQueues
from deployment.sending import Sending
from deployment.service import Service, ServiceArgs
from deployment.stack import Stack
from deployment.storage import Storage
from postal_plexus.autoconfig import certificate_names
from postal_plexus.config import regions
from postal_plexus.config.host_memory import memory_of
from postal_plexus.config.names import DELIVERIES_PREFIX, INBOUND_PREFIX
from postal_plexus.config.settings import Settings
from postal_plexus.config.sharing import rendered


@dataclass(frozen=True)
class ServiceParts:
    """The parts of the stack that the services use."""

    stack: Stack
    cluster: aws.ecs.Cluster
    images: Images
    storage: Storage
    sending: Sending
    archive: Archive
    directory: DirectoryObject
    identities: Identities
    queues: HostQueues
    # The host's name, and whether the stack has others.
    hostname: str
    # The private addresses of all hosts, if the stack has several.
    peers: Sequence[pulumi.Input[str]] = ()


def make_services(settings: Settings, parts: ServiceParts) -> dict[str, Service]:
    """Return one host's services by the names of their containers."""
    images = parts.images

    def service(container: Container, **more: Any) -> Service:
        return Service(
            parts.stack.of_host(container.name),
            ServiceArgs(
                stack=parts.stack,
                container=container,
                image=images.references[container.name],
                repository_arn=images.repository_arns[container.name],
                cluster_arn=parts.cluster.arn,
                storage=parts.storage,
                log_days=settings.log_days,
                **more,
            ),
            parts.stack.options,
        )

    web = bool(settings.web_parts)
    memory = memory_of(settings.instance_type)
    dovecot = with_memory(DOVECOT, memory.dovecot)
    postfix = with_memory(POSTFIX, memory.postfix)
    if web:
        dovecot, postfix = beside_web(dovecot), beside_web(postfix)
    shard = {"PLEXUS_SHARD": str(parts.stack.host)} if parts.peers else {}
    peers = (
        {"PLEXUS_PEERS": pulumi.Output.format("{}" + " {}" * (len(parts.peers) - 1), *parts.peers)}
        if parts.peers
        else {}
    )
    services = {
        "dovecot": service(
            beside_peers(dovecot) if parts.peers else dovecot,
            environment={"PLEXUS_HOSTNAME": parts.hostname, **shard, **peers},
            policy=_dovecot_policy(parts),
            needed=parts.storage.ready,
        ),
        "postfix": service(
            postfix,
            environment=_postfix_environment(settings, parts.hostname),
            secrets={
                "SES_SMTP_USERNAME": parts.sending.user_name_parameter.arn,
                "SES_SMTP_PASSWORD": parts.sending.password_parameter.arn,
            },
        ),
        "deliver": service(
            with_memory(DELIVER_CONTAINER, memory.deliver),
            environment=_deliver_environment(settings, parts) | shard,
            policy=_deliver_policy(parts),
        ),
    }
    if web:
        # Nothing of AWS but the store of calendars: it knows this host alone.
        services["web"] = service(
            with_calendars(WEB_CONTAINER) if settings.calendars else WEB_CONTAINER,
            environment=_web_environment(settings),
            policy=_web_policy(parts),
            needed=parts.storage.ready if settings.calendars else (),
        )
    return services


def _postfix_environment(settings: Settings, hostname: str) -> dict[str, str]:
    limits = sorted(settings.submission_limits.by_key().items())
    return {
        "PLEXUS_HOSTNAME": hostname,
        "PLEXUS_LOG_SUBJECTS": "yes" if settings.log_subjects else "no",
        "PLEXUS_SUBMISSION_LIMITS": " ".join(f"{name}={most}" for name, most in limits),
        "SES_SMTP_ENDPOINT": f"{regions.smtp_host(settings.region)}:587",
    }


def _web_environment(settings: Settings) -> dict[str, str]:
    names = certificate_names(settings.clients, mail_host=settings.mail_host)
    return {
        **_optional_environment(settings),
        "PLEXUS_HOSTNAME": settings.mail_host,
        "PLEXUS_WEB_NAMES": " ".join(names),
        "PLEXUS_WEB_PARTS": " ".join(settings.web_parts),
    }


def _optional_environment(settings: Settings) -> dict[str, str]:
    """Return the web container's variables that are there only with a value."""
    given = {
        # For the account page's profile; without it, clients use mail.<domain>.
        "PLEXUS_CLIENT_HOST": settings.mail_host if settings.client_hosts == "shared" else "",
        "PLEXUS_SHARED": rendered(settings.shared),
    }
    return {name: value for name, value in given.items() if value}


def _web_policy(parts: ServiceParts) -> pulumi.Output[str] | None:
    if parts.storage.calendar_access_point is None:
        return None
    return pulumi.Output.all(
        parts.storage.file_system.arn, parts.storage.calendar_access_point.arn
    ).apply(lambda given: task_documents.web_task(*given))


def _dovecot_policy(parts: ServiceParts) -> pulumi.Output[str]:
    return pulumi.Output.all(parts.storage.file_system.arn, parts.storage.access_point.arn).apply(
        lambda given: task_documents.dovecot_task(*given)
    )


def _deliver_environment(settings: Settings, parts: ServiceParts) -> dict[str, pulumi.Input[str]]:
    return {
        "AWS_REGION": settings.region,
        "PLEXUS_ARCHIVE_BUCKET": parts.archive.bucket.bucket,
        "PLEXUS_CONFIGURATION_SET": parts.stack.on_host(1).named("sending"),
        "PLEXUS_DEAD_LETTER_QUEUE_URL": parts.queues.dead_letters.url,
        "PLEXUS_DIRECTORY": parts.directory.location,
        "PLEXUS_DMARC_FAIL": settings.dmarc_fail,
        "PLEXUS_EVENTS_QUEUE_URL": parts.queues.events.url,
        "PLEXUS_HOSTNAME": parts.hostname,
        "PLEXUS_LOG_SUBJECTS": "yes" if settings.log_subjects else "no",
        "PLEXUS_QUEUE_URL": parts.queues.queue.url,
        "PLEXUS_VIRUS": settings.virus,
        # CloudWatch bills each metric, so all hosts' counts are those of one (alarms.counted).
        **({"PLEXUS_METRICS_HOST": settings.mail_host} if parts.stack.host > 1 else {}),
    }


def _deliver_policy(parts: ServiceParts) -> pulumi.Output[str]:
    return pulumi.Output.all(
        bucket_arn=parts.archive.bucket.arn,
        queue_arns=[parts.queues.queue.arn, parts.queues.events.arn],
        dead_letters_arn=parts.queues.dead_letters.arn,
        identity_arns=[identity.arn for identity in parts.identities.identities],
        versions_arn=parts.directory.bucket_arn if parts.peers else "",
    ).apply(
        lambda given: task_documents.deliver_task(
            prefix=INBOUND_PREFIX,
            records_prefix=DELIVERIES_PREFIX,
            directory_key=DIRECTORY_KEY,
            **given,
        )
    )
