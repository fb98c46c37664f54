"""The whole program: settings in, parts put together, stack outputs out."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import pulumi_aws as aws
from pulumi.runtime.config import CONFIG, get_config_env

import pulumi
from deployment import documents
from deployment.archive import Archive, ArchiveArgs
from deployment.certificates import Certificates, CertificatesArgs
from deployment.certificates import alarm as certificate_alarm
from deployment.client_setup import (
    ClientSetupArgs,
    ClientSetupSites,
    domains_with_certificate,
)
from deployment.directory_object import DirectoryObject, DirectoryObjectArgs
from deployment.host import Host, HostArgs, warn_of_spot_quota
from deployment.host_directories import HOST_DIRECTORIES
from deployment.identities import Identities, IdentitiesArgs
from deployment.images import Images, ImagesArgs
from deployment.network import Network, NetworkArgs
from deployment.notifications import Notifications, NotificationsArgs
from deployment.operations import Operations, OperationsArgs
from deployment.patches import Patches, PatchesArgs
from deployment.receiving import Receiving, ReceivingArgs, rule_name, rules_for, should_activate
from deployment.sending import Sending, SendingArgs
from deployment.service import Service
from deployment.services import ServiceParts, make_services
from deployment.storage import Storage, StorageArgs
from deployment.watch import Watch, WatchArgs
from deployment.zones import Zones, ZonesArgs
from postal_plexus.autoconfig import MtaStsMode, MtaStsPolicy, certificate_names
from postal_plexus.config import regions
from postal_plexus.config.problems import NAMESPACE, StackError
from postal_plexus.config.settings import Settings, read_settings

# The outputs that `plexus` works with. No lists by domain: the parameter holds 4 KB.
_FOR_OPERATORS = (
    *("mail_host", "region", "bucket", "queue_url", "events_queue_url", "dead_letter_queue_url"),
    *("directory_object", "rule_set", "configuration_set", "cluster", "host_group", "services"),
    *("task_definitions", "log_groups", "file_system", "access_point"),
)


def read() -> Settings:
    """The settings of the stack that is being deployed.

    Raises:
        pulumi.RunError: with one line a problem; Pulumi prints it without a traceback.
    """
    # Not pulumi.Config: it gives only the keys that one asks for, so that a misspelled one would
    # pass unseen, and stops at the first value that is not JSON. Nor as secrets: they would be
    # known only inside `apply`, and the number of receipt rules depends on them. What is secret
    # is wrapped again where it is used.
    given = {**get_config_env(), **CONFIG.get()}
    prefix = f"{NAMESPACE}:"
    config = {
        key.removeprefix(prefix): value for key, value in given.items() if key.startswith(prefix)
    }
    try:
        return read_settings(pulumi.get_stack(), given.get("aws:region"), config)
    except StackError as error:
        raise pulumi.RunError(str(error)) from error


def deploy() -> None:
    """Register everything and say what there is."""
    _Deployment(read()).run()


class _Deployment:
    """One run: the parts, in the order in which they need each other."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._profile = pulumi.Config("aws").get("profile")
        self._provider = aws.Provider(
            "aws",
            region=settings.region,
            profile=self._profile,
            default_tags={"tags": {documents.STACK_TAG: settings.stack}},
        )
        # The parts' children take it from their parents.
        self._options = pulumi.ResourceOptions(providers={"aws": self._provider})
        self._account = aws.get_caller_identity_output(
            opts=pulumi.InvokeOutputOptions(provider=self._provider)
        ).account_id

    def run(self) -> None:
        settings = self._settings
        rule_set_name = settings.name("rules")
        rule_set_arn = pulumi.Output.concat(
            f"arn:aws:ses:{settings.region}:", self._account, f":receipt-rule-set/{rule_set_name}"
        )
        archive = Archive(
            "archive",
            ArchiveArgs(
                settings.name("archive"), self._account, rule_set_arn, settings.archive_days
            ),
            self._options,
        )
        notifications = Notifications(
            "notifications",
            NotificationsArgs(
                received_name=settings.name("received"),
                events_name=settings.name("events"),
                mail_name=settings.name("mail"),
                dead_letters_name=settings.name("dead-letters"),
                account=self._account,
                rule_set_arn=rule_set_arn,
                configuration_set_arn=pulumi.Output.concat(
                    f"arn:aws:ses:{settings.region}:",
                    self._account,
                    f":configuration-set/{settings.name('sending')}",
                ),
            ),
            self._options,
        )
        directory = DirectoryObject(
            "directory",
            DirectoryObjectArgs(settings.name("directory"), settings.directory, archive),
            self._options,
        )
        rules = rules_for(settings.directory, settings.accept)
        Receiving(
            "receiving",
            ReceivingArgs(
                region=settings.region,
                profile=self._profile,
                rule_set_name=rule_set_name,
                rules=rules,
                archive=archive,
                notifications=notifications,
                directory=directory,
                scan=settings.scan,
                activate=should_activate(settings.activate_rule_set, rule_set_name, self._provider),
            ),
            self._options,
        )
        network = Network(
            "network",
            NetworkArgs(
                settings.name("network"),
                settings.network,
                settings.zones,
                settings.host_zone,
                settings.instance_type,
            ),
            self._options,
        )
        identities = Identities(
            "identities",
            IdentitiesArgs(
                configuration_set_name=settings.name("sending"),
                events_topic_arn=notifications.events_topic.arn,
                needed=notifications.ready,
                domains=settings.domains,
            ),
            self._options,
        )
        zones = Zones(
            "zones",
            ZonesArgs(
                region=settings.region,
                identities=identities.identities,
                clients=settings.clients,
                mail_host=settings.mail_host,
                ipv4=network.address.public_ip,
                ipv6=network.interface.ipv6_addresses[0],
                existing=settings.existing_zones,
                txt=settings.txt_records,
                dmarc=settings.dmarc,
            ),
            self._options,
        )
        sending = Sending(
            "sending",
            SendingArgs(
                user_name=settings.name("smtp"),
                parameter_path=f"/postal-plexus/{settings.stack}",
                account=self._account,
                region=settings.region,
                domains=settings.domains,
                configuration_set_name=settings.name("sending"),
            ),
            self._options,
        )
        storage = Storage(
            "storage",
            StorageArgs(
                name=settings.name("mailboxes"),
                account=self._account,
                subnet_ids=[subnet.id for subnet in network.subnets],
                security_group_id=network.store_group.id,
                backup_days=settings.backup_days,
                infrequent_days=settings.mailboxes_infrequent_days,
            ),
            self._options,
        )
        images = Images(
            "images",
            ImagesArgs(
                settings.name("image"),
                settings.region,
                self._profile,
                settings.architecture,
                settings.images,
            ),
            self._options,
        )
        cluster = aws.ecs.Cluster(
            settings.name("cluster"),
            opts=pulumi.ResourceOptions(provider=self._provider),
        )
        if settings.spot:
            warn_of_spot_quota(self._provider)
        host = Host(
            "host",
            HostArgs(
                name=settings.name("host"),
                stack=settings.stack,
                account=self._account,
                region=settings.region,
                network=network,
                zone=settings.host_zone,
                cluster_name=cluster.name,
                cluster_arn=cluster.arn,
                repository_arns=list(images.repository_arns.values()),
                instance_type=settings.instance_type,
                architecture=settings.architecture,
                image=settings.host_image,
                spot=settings.spot,
                ssm_access=settings.ssm_access,
                replace_after_days=settings.replace_after_days,
                indexes_gb=settings.indexes_gb,
            ),
            self._options,
        )
        services = make_services(
            settings,
            ServiceParts(
                account=self._account,
                cluster=cluster,
                images=images,
                storage=storage,
                sending=sending,
                archive=archive,
                notifications=notifications,
                directory=directory,
                identities=identities,
            ),
            self._options,
        )
        certificates = self._certificates(images, cluster, zones)
        patches = self._patches(archive, images, cluster, services, certificates)
        pending = self._client_sites(zones)
        Watch(
            "watch",
            WatchArgs(
                name=settings.name("watch"),
                stack=settings.stack,
                account=self._account,
                region=settings.region,
                mail_host=settings.mail_host,
                deliver_log=services["deliver"].log_group.name,
                address=settings.alarm_address,
                budget_usd=settings.budget_usd,
                mailboxes_gb=settings.mailboxes_gb_alarm,
                rules=tuple(rule_name(rule_set_name, rule) for rule in rules),
                services={name: part.service.name for name, part in services.items()},
                missed={
                    name: part.schedule.missed.name
                    for name, part in (("certbot", certificates), ("patches", patches))
                    if part
                },
                more=(certificate_alarm(settings.stack),) if certificates else (),
                images=settings.name("image"),
                patches=settings.name("patches") if patches else "",
                watched={
                    "queue": notifications.queue.name,
                    "dead_letters": notifications.dead_letters.name,
                    "group": host.group.name,
                    "cluster": cluster.name,
                    "file_system": storage.file_system.id,
                },
            ),
            self._options,
        )
        outputs: dict[str, Any] = {
            "mail_host": settings.mail_host,
            "imap_host": settings.mail_host,
            "address": network.address.public_ip,
            "region": settings.region,
            "architecture": settings.architecture,
            "bucket": archive.bucket.bucket,
            "topic_arn": notifications.topic.arn,
            "queue_url": notifications.queue.url,
            "events_queue_url": notifications.events.url,
            "dead_letter_queue_url": notifications.dead_letters.url,
            "directory_object": directory.location,
            "rule_set": rule_set_name,
            "configuration_set": settings.name("sending"),
            "cluster": cluster.name,
            "host_group": host.group.name,
            "repositories": images.repositories,
            "images": images.references,
            "services": {name: part.service.name for name, part in services.items()},
            "task_definitions": {name: part.task_definition.arn for name, part in services.items()},
            "log_groups": {name: part.log_group.name for name, part in services.items()},
            "file_system": storage.file_system.id,
            "access_point": storage.access_point.id,
            "name_servers": zones.name_servers,
            "dkim_records": zones.dkim_records,
            "client_setup_pending": pending,
            # What tools/patch is told, by hand and by the weekly build.
            "patch": {**patches.told, "region": settings.region} if patches else None,
            "host_directories": [dataclasses.asdict(each) for each in HOST_DIRECTORIES],
        }
        for name, value in outputs.items():
            pulumi.export(name, value)
        Operations(
            "operations",
            OperationsArgs(settings.stack, {name: outputs[name] for name in _FOR_OPERATORS}),
            self._options,
        )

    def _certificates(
        self, images: Images, cluster: aws.ecs.Cluster, zones: Zones
    ) -> Certificates | None:
        """The task that looks after the mail host's certificate; None without its image."""
        settings = self._settings
        if "certbot" not in images.references:
            pulumi.warn(
                "postal-plexus:images has certbot: none, so nothing asks for the mail host's "
                "certificate: clients see a self-signed one"
            )
            return None
        return Certificates(
            "certificates",
            CertificatesArgs(
                name=settings.name("certbot"),
                stack=settings.stack,
                image=images.references["certbot"],
                repository_arn=images.repository_arns["certbot"],
                cluster_arn=cluster.arn,
                account=self._account,
                region=settings.region,
                log_days=settings.log_days,
                names=certificate_names(settings.clients, mail_host=settings.mail_host),
                zone_ids=zones.zone_ids,
                name_servers=zones.name_servers,
            ),
            self._options,
        )

    def _patches(
        self,
        archive: Archive,
        images: Images,
        cluster: aws.ecs.Cluster,
        services: Mapping[str, Service],
        certificates: Certificates | None,
    ) -> Patches | None:
        """The weekly patches; None where the images are not ours, or the stack wants none."""
        settings = self._settings
        if settings.images or settings.patches == "none" or certificates is None:
            return None
        return Patches(
            "patches",
            PatchesArgs(
                name=settings.name("patches"),
                stack=settings.stack,
                account=self._account,
                region=settings.region,
                architecture=settings.architecture,
                log_days=settings.log_days,
                archive=archive,
                images=images,
                cluster=cluster,
                services=services,
                certificates=certificates,
            ),
            self._options,
        )

    def _client_sites(self, zones: Zones) -> list[str]:
        """The sites that set clients up; the domains that the next run completes."""
        settings = self._settings
        if not settings.client_setup:
            return []
        sites = ClientSetupSites(
            "clients",
            ClientSetupArgs(
                name=settings.name("clients"),
                clients=settings.clients,
                zone_ids=zones.zone_ids,
                policy=MtaStsPolicy(
                    (regions.inbound_host(settings.region),), MtaStsMode(settings.mta_sts)
                ),
                issued=domains_with_certificate(settings.clients, self._provider),
                shared_host=settings.mail_host if settings.client_hosts == "shared" else None,
            ),
            self._options,
        )
        return sites.pending
