"""The services, each with its environment, its permissions, and its dependencies."""

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
    beside_web,
)
from deployment.directory_object import DIRECTORY_KEY, DirectoryObject
from deployment.identities import Identities
from deployment.images import Images
from deployment.notifications import Notifications
from deployment.sending import Sending
from deployment.service import Service, ServiceArgs
from deployment.stack import Stack
from deployment.storage import Storage
from postal_plexus.autoconfig import certificate_names
from postal_plexus.config import regions
from postal_plexus.config.names import DELIVERIES_PREFIX, INBOUND_PREFIX
from postal_plexus.config.settings import Settings


@dataclass(frozen=True)
class ServiceParts:
    """The parts of the stack that the services use."""

    stack: Stack
    cluster: aws.ecs.Cluster
    images: Images
    storage: Storage
    sending: Sending
    archive: Archive
    notifications: Notifications
    directory: DirectoryObject
    identities: Identities


def make_services(settings: Settings, parts: ServiceParts) -> dict[str, Service]:
    """Return the services by the names of their containers."""
    images = parts.images

    def service(container: Container, **more: Any) -> Service:
        return Service(
            container.name,
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
    services = {
        "dovecot": service(
            beside_web(DOVECOT) if web else DOVECOT,
            environment={"PLEXUS_HOSTNAME": settings.mail_host},
            policy=_dovecot_policy(parts),
            needed=parts.storage.ready,
        ),
        "postfix": service(
            beside_web(POSTFIX) if web else POSTFIX,
            environment={
                "PLEXUS_HOSTNAME": settings.mail_host,
                "PLEXUS_LOG_SUBJECTS": "yes" if settings.log_subjects else "no",
                "PLEXUS_SUBMISSION_LIMITS": " ".join(
                    f"{name}={most}"
                    for name, most in sorted(settings.submission_limits.by_key().items())
                ),
                "SES_SMTP_ENDPOINT": f"{regions.smtp_host(settings.region)}:587",
            },
            secrets={
                "SES_SMTP_USERNAME": parts.sending.user_name_parameter.arn,
                "SES_SMTP_PASSWORD": parts.sending.password_parameter.arn,
            },
        ),
        "deliver": service(
            DELIVER_CONTAINER,
            environment=_deliver_environment(settings, parts),
            policy=_deliver_policy(parts),
        ),
    }
    if web:
        # Nothing of AWS: it knows this host alone.
        services["web"] = service(
            WEB_CONTAINER,
            environment={
                "PLEXUS_HOSTNAME": settings.mail_host,
                "PLEXUS_WEB_NAMES": " ".join(
                    certificate_names(settings.clients, mail_host=settings.mail_host)
                ),
                "PLEXUS_WEB_PARTS": " ".join(settings.web_parts),
            },
        )
    return services


def _dovecot_policy(parts: ServiceParts) -> pulumi.Output[str]:
    return pulumi.Output.all(parts.storage.file_system.arn, parts.storage.access_point.arn).apply(
        lambda given: task_documents.dovecot_task(*given)
    )


def _deliver_environment(settings: Settings, parts: ServiceParts) -> dict[str, pulumi.Input[str]]:
    return {
        "AWS_REGION": settings.region,
        "PLEXUS_ARCHIVE_BUCKET": parts.archive.bucket.bucket,
        "PLEXUS_CONFIGURATION_SET": parts.stack.named("sending"),
        "PLEXUS_DEAD_LETTER_QUEUE_URL": parts.notifications.dead_letters.url,
        "PLEXUS_DIRECTORY": parts.directory.location,
        "PLEXUS_DMARC_FAIL": settings.dmarc_fail,
        "PLEXUS_EVENTS_QUEUE_URL": parts.notifications.events.url,
        "PLEXUS_HOSTNAME": settings.mail_host,
        "PLEXUS_LOG_SUBJECTS": "yes" if settings.log_subjects else "no",
        "PLEXUS_QUEUE_URL": parts.notifications.queue.url,
        "PLEXUS_VIRUS": settings.virus,
    }


def _deliver_policy(parts: ServiceParts) -> pulumi.Output[str]:
    return pulumi.Output.all(
        bucket_arn=parts.archive.bucket.arn,
        queue_arns=[parts.notifications.queue.arn, parts.notifications.events.arn],
        dead_letters_arn=parts.notifications.dead_letters.arn,
        identity_arns=[identity.arn for identity in parts.identities.identities],
    ).apply(
        lambda given: task_documents.deliver_task(
            prefix=INBOUND_PREFIX,
            records_prefix=DELIVERIES_PREFIX,
            directory_key=DIRECTORY_KEY,
            **given,
        )
    )
