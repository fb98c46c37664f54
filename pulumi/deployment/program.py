"""The whole program: settings in, parts put together, stack outputs out."""

import dataclasses

import pulumi_aws as aws

import pulumi
from deployment import documents, regions
from deployment.archive import INBOUND_PREFIX, Archive, ArchiveArgs
from deployment.containers import DELIVER_CONTAINER, DOVECOT, POSTFIX
from deployment.directory_object import DIRECTORY_KEY, DirectoryObject, DirectoryObjectArgs
from deployment.host_directories import HOST_DIRECTORIES
from deployment.identities import Identities, IdentitiesArgs
from deployment.notifications import Notifications, NotificationsArgs
from deployment.receiving import Receiving, ReceivingArgs, should_activate
from deployment.sending import Sending, SendingArgs
from deployment.service import Service, ServiceArgs
from deployment.settings import Settings, SettingsError, read_settings
from deployment.storage import Storage, StorageArgs
from deployment.zones import Zones, ZonesArgs


def read() -> Settings:
    """The settings of the stack that is being deployed.

    Raises:
        pulumi.RunError: with one line a problem; Pulumi prints it without a traceback.
    """
    config = pulumi.Config("postal-plexus")

    def get(key: str) -> object:
        # Not get_secret_object: a secret would be known only inside `apply`, and the number of
        # receipt rules depends on it. What is secret in it is wrapped again where it is used.
        value = config.get(key)
        return value if key in _TEXT_KEYS else config.get_object(key)

    try:
        return read_settings(pulumi.get_stack(), pulumi.Config("aws").get("region"), get)
    except SettingsError as error:
        raise pulumi.RunError(str(error)) from error


_TEXT_KEYS = frozenset({"mail-host", "dmarc-policy", "activate-rule-set"})


def deploy() -> None:
    """Register everything."""
    settings = read()
    provider = aws.Provider(
        "aws",
        region=settings.region,
        profile=pulumi.Config("aws").get("profile"),
        default_tags={"tags": {"postal-plexus:stack": settings.stack}},
    )
    account = aws.get_caller_identity_output(
        opts=pulumi.InvokeOutputOptions(provider=provider)
    ).account_id
    with_provider = pulumi.ResourceOptions(providers={"aws": provider})
    domains = tuple(domain.name for domain in settings.directory.domains)

    rule_set_name = settings.name("rules")
    rule_set_arn = pulumi.Output.concat(
        "arn:aws:ses:", settings.region, ":", account, ":receipt-rule-set/", rule_set_name
    )
    archive = Archive(
        "archive",
        ArchiveArgs(settings.name("archive"), account, rule_set_arn, settings.archive_days),
        with_provider,
    )
    notifications = Notifications(
        "notifications",
        NotificationsArgs(
            topic_name=settings.name("received"),
            queue_name=settings.name("mail"),
            dead_letters_name=settings.name("dead-letters"),
            account=account,
            rule_set_arn=rule_set_arn,
        ),
        with_provider,
    )
    Receiving(
        "receiving",
        ReceivingArgs(
            rule_set_name=rule_set_name,
            directory=settings.directory,
            archive=archive,
            notifications=notifications,
            scan=settings.scan,
            activate=should_activate(settings.activate_rule_set, rule_set_name, provider),
        ),
        with_provider,
    )
    directory_object = DirectoryObject(
        "directory",
        DirectoryObjectArgs(settings.name("directory"), settings.directory, archive),
        with_provider,
    )
    configuration_set_name = settings.name("sending")
    identities = Identities(
        "identities", IdentitiesArgs(configuration_set_name, domains), with_provider
    )
    zones = Zones(
        "zones",
        ZonesArgs(
            region=settings.region,
            identities=identities.identities,
            existing=settings.existing_zones,
            dmarc_policy=settings.dmarc_policy,
        ),
        with_provider,
    )
    sending = Sending(
        "sending",
        SendingArgs(
            user_name=settings.name("smtp"),
            parameter_path=f"/postal-plexus/{settings.stack}",
            account=account,
            region=settings.region,
            domains=domains,
            configuration_set_name=configuration_set_name,
        ),
        with_provider,
    )
    storage = Storage("storage", StorageArgs(settings.name("mailboxes")), with_provider)
    cluster = aws.ecs.Cluster(
        settings.name("cluster"), opts=pulumi.ResourceOptions(provider=provider)
    )

    def service(container_args: ServiceArgs) -> Service:
        return Service(container_args.container.name, container_args, with_provider)

    common = {
        "cluster_arn": cluster.arn,
        "storage": storage,
        "account": account,
        "region": settings.region,
        "log_days": settings.log_days,
    }
    dovecot = service(
        ServiceArgs(
            name=settings.name("dovecot"),
            container=DOVECOT,
            image=settings.images["dovecot"],
            environment={"PLEXUS_HOSTNAME": settings.mail_host},
            policy=pulumi.Output.all(storage.file_system.arn, storage.access_point.arn).apply(
                lambda given: documents.dovecot_task(*given)
            ),
            **common,
        )
    )
    postfix = service(
        ServiceArgs(
            name=settings.name("postfix"),
            container=POSTFIX,
            image=settings.images["postfix"],
            environment={
                "PLEXUS_HOSTNAME": settings.mail_host,
                "SES_SMTP_ENDPOINT": f"{regions.smtp_host(settings.region)}:587",
            },
            secrets={
                "SES_SMTP_USERNAME": sending.user_name_parameter.arn,
                "SES_SMTP_PASSWORD": sending.password_parameter.arn,
            },
            **common,
        )
    )
    deliver = service(
        ServiceArgs(
            name=settings.name("deliver"),
            container=DELIVER_CONTAINER,
            image=settings.images["deliver"],
            environment={
                "AWS_REGION": settings.region,
                "PLEXUS_ARCHIVE_BUCKET": archive.bucket.bucket,
                "PLEXUS_DEAD_LETTER_QUEUE_URL": notifications.dead_letters.url,
                "PLEXUS_DIRECTORY": directory_object.location,
                "PLEXUS_HOSTNAME": settings.mail_host,
                "PLEXUS_QUEUE_URL": notifications.queue.url,
            },
            policy=pulumi.Output.all(
                archive.bucket.arn, notifications.queue.arn, notifications.dead_letters.arn
            ).apply(
                lambda given: documents.deliver_task(
                    given[0], INBOUND_PREFIX, DIRECTORY_KEY, given[1], given[2]
                )
            ),
            **common,
        )
    )
    services = {"dovecot": dovecot, "postfix": postfix, "deliver": deliver}
    outputs: dict[str, object] = {
        "mail_host": settings.mail_host,
        "imap_host": settings.mail_host,
        "region": settings.region,
        "bucket": archive.bucket.bucket,
        "topic_arn": notifications.topic.arn,
        "queue_url": notifications.queue.url,
        "dead_letter_queue_url": notifications.dead_letters.url,
        "directory_object": directory_object.location,
        "rule_set": rule_set_name,
        "configuration_set": configuration_set_name,
        "cluster": cluster.name,
        "services": {name: part.service.name for name, part in services.items()},
        "task_definitions": {name: part.task_definition.arn for name, part in services.items()},
        "log_groups": {name: part.log_group.name for name, part in services.items()},
        "file_system": storage.file_system.id,
        "access_point": storage.access_point.id,
        "name_servers": zones.name_servers,
        "host_directories": [dataclasses.asdict(directory) for directory in HOST_DIRECTORIES],
    }
    for name, value in outputs.items():
        pulumi.export(name, value)
