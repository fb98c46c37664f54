"""The whole program: settings in, parts connected, stack outputs out."""

import dataclasses
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
from deployment.doctor import Doctor, DoctorArgs
from deployment.host import Host, HostArgs, warn_of_spot_quota
from deployment.host_directories import host_directories
from deployment.identities import Identities, IdentitiesArgs
from deployment.images import Images, ImagesArgs
from deployment.maintenance import Maintenance, MaintenanceArgs
from deployment.monitoring import Monitoring, MonitoringArgs
from deployment.network import Network, NetworkArgs
from deployment.notifications import Notifications, NotificationsArgs
from deployment.operations import Operations, OperationsArgs
from deployment.patches import Patches, PatchesArgs
from deployment.receiving import Receiving, ReceivingArgs, rule_name, rules_for, should_activate
from deployment.sending import Sending, SendingArgs
from deployment.service import Service
from deployment.services import ServiceParts, make_services
from deployment.stack import Stack
from deployment.storage import Storage, StorageArgs
from deployment.zones import Zones, ZonesArgs
from postal_plexus.autoconfig import MtaStsMode, MtaStsPolicy, certificate_names
from postal_plexus.config import regions
from postal_plexus.config.problems import NAMESPACE, StackError
from postal_plexus.config.settings import Settings, read_settings


def read() -> Settings:
    """Return the settings of the stack that is being deployed.

    Raises:
        pulumi.RunError: with one line per problem, which Pulumi prints without a traceback.
    """
    # Not pulumi.Config: it returns only keys that are asked for, so that a misspelled one would go
    # unnoticed, and stops at the first value that is not JSON. Nor as secrets: they would be known
    # only inside `apply`, but the number of receipt rules depends on them. Secret values are
    # wrapped again where they are used.
    given = {**get_config_env(), **CONFIG.get()}
    prefix = f"{NAMESPACE}:"
    config = {
        key.removeprefix(prefix): value for key, value in given.items() if key.startswith(prefix)
    }
    try:
        settings = read_settings(pulumi.get_stack(), given.get("aws:region"), config)
    except StackError as error:
        raise pulumi.RunError(str(error)) from error
    if settings.hosts > 1:
        raise pulumi.RunError(
            f"postal-plexus:hosts: is {settings.hosts}, and more than one host cannot be deployed "
            "yet (docs/shards.md). Give 1."
        )
    return settings


def deploy() -> None:
    """Register everything and export the outputs."""
    _Deployment(read()).run()


class _Deployment:
    """One run: `run` creates the parts in the order of their dependencies."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        profile = pulumi.Config("aws").get("profile")
        provider = aws.Provider(
            "aws",
            region=settings.region,
            profile=profile,
            default_tags={"tags": {documents.STACK_TAG: settings.stack}},
        )
        account = aws.get_caller_identity_output(
            opts=pulumi.InvokeOutputOptions(provider=provider)
        ).account_id
        self.stack = Stack(settings.stack, account, settings.region, provider, profile)
        self.rules = rules_for(settings.directory, settings.accept)
        self.rule_set = self.stack.named("rules")
        self.rule_set_arn = self.stack.arn("ses", f"receipt-rule-set/{self.rule_set}")

    def run(self) -> None:
        self.archive = self._archive()
        self.notifications = self._notifications()
        self.directory = self._directory()
        self._receiving()
        self.network = self._network()
        self.identities = self._identities()
        self.zones = self._zones()
        self.sending = self._sending()
        self.storage = self._storage()
        self.images = self._images()
        self.cluster = self._cluster()
        self.host = self._host()
        self.services = self._services()
        self.maintenance = self._maintenance()
        self.certificates = self._certificates()
        self.patches = self._patches()
        self.pending = self._client_sites()
        self.parts = self._parts()
        self.doctor = self._doctor()
        self._monitoring()
        self._outputs()

    def _archive(self) -> Archive:
        """Create the bucket of received mail."""
        return Archive(
            "archive",
            ArchiveArgs(self.stack, self.rule_set_arn, self.settings.archive_days),
            self.stack.options,
        )

    def _notifications(self) -> Notifications:
        """Create topics and queues between SES and `deliver`."""
        return Notifications(
            "notifications",
            NotificationsArgs(
                stack=self.stack,
                rule_set_arn=self.rule_set_arn,
                configuration_set_arn=self.stack.arn(
                    "ses", f"configuration-set/{self.stack.named('sending')}"
                ),
            ),
            self.stack.options,
        )

    def _directory(self) -> DirectoryObject:
        """Create the directory object that the containers load."""
        return DirectoryObject(
            "directory",
            DirectoryObjectArgs(self.stack, self.settings.directory, self.archive),
            self.stack.options,
        )

    def _receiving(self) -> None:
        """Create the rules by which SES receives."""
        Receiving(
            "receiving",
            ReceivingArgs(
                stack=self.stack,
                rules=self.rules,
                archive=self.archive,
                notifications=self.notifications,
                directory=self.directory,
                scan=self.settings.scan,
                activate=should_activate(
                    self.settings.activate_rule_set, self.rule_set, self.stack.provider
                ),
            ),
            self.stack.options,
        )

    def _network(self) -> Network:
        """Create VPC, subnets and the fixed address."""
        return Network(
            "network",
            NetworkArgs(
                self.stack,
                self.settings.network,
                self.settings.zones,
                self.settings.host_zone,
                self.settings.instance_type,
                web=bool(self.settings.web_parts),
            ),
            self.stack.options,
        )

    def _identities(self) -> Identities:
        """Create the domains' SES identities."""
        return Identities(
            "identities",
            IdentitiesArgs(
                stack=self.stack,
                events_topic_arn=self.notifications.events_topic.arn,
                needed=self.notifications.ready,
                domains=self.settings.domains,
            ),
            self.stack.options,
        )

    def _zones(self) -> Zones:
        """Create the DNS zones and their records."""
        return Zones(
            "zones",
            ZonesArgs(
                stack=self.stack,
                identities=self.identities.identities,
                clients=self.settings.clients,
                mail_host=self.settings.mail_host,
                ipv4=self.network.address.public_ip,
                ipv6=self.network.interface.ipv6_addresses[0],
                existing=self.settings.existing_zones,
                txt=self.settings.txt_records,
                dmarc=self.settings.dmarc,
            ),
            self.stack.options,
        )

    def _sending(self) -> Sending:
        """Create Postfix's SMTP user."""
        return Sending(
            "sending",
            SendingArgs(
                stack=self.stack,
                domains=self.settings.domains,
            ),
            self.stack.options,
        )

    def _storage(self) -> Storage:
        """Create the file system of the mailboxes, and its backups."""
        return Storage(
            "storage",
            StorageArgs(
                stack=self.stack,
                subnet_ids=[subnet.id for subnet in self.network.subnets],
                security_group_id=self.network.store_group.id,
                backup_days=self.settings.backup_days,
                infrequent_days=self.settings.mailboxes_infrequent_days,
            ),
            self.stack.options,
        )

    def _images(self) -> Images:
        """Create the container images, in ECR or as given."""
        return Images(
            "images",
            ImagesArgs(
                self.stack,
                self.settings.architecture,
                self.settings.images,
                web=bool(self.settings.web_parts),
            ),
            self.stack.options,
        )

    def _cluster(self) -> aws.ecs.Cluster:
        """Create the ECS cluster."""
        return aws.ecs.Cluster(
            self.stack.named("cluster"),
            opts=pulumi.ResourceOptions(provider=self.stack.provider),
        )

    def _host(self) -> Host:
        """Create the host."""
        if self.settings.spot:
            warn_of_spot_quota(self.stack.provider)
        return Host(
            "host",
            HostArgs(
                stack=self.stack,
                network=self.network,
                zone=self.settings.host_zone,
                cluster_name=self.cluster.name,
                cluster_arn=self.cluster.arn,
                repository_arns=list(self.images.repository_arns.values()),
                instance_type=self.settings.instance_type,
                architecture=self.settings.architecture,
                image=self.settings.host_image,
                spot=self.settings.spot,
                ssm_access=self.settings.ssm_access,
                replace_after_days=self.settings.replace_after_days,
                indexes_gb=self.settings.indexes_gb,
                web=bool(self.settings.web_parts),
            ),
            self.stack.options,
        )

    def _services(self) -> dict[str, Service]:
        """Create the three services, and the web container if any of its parts is on."""
        return make_services(
            self.settings,
            ServiceParts(
                stack=self.stack,
                cluster=self.cluster,
                images=self.images,
                storage=self.storage,
                sending=self.sending,
                archive=self.archive,
                notifications=self.notifications,
                directory=self.directory,
                identities=self.identities,
            ),
        )

    def _maintenance(self) -> Maintenance:
        """Create the one-off tasks beside Dovecot and Postfix."""
        return Maintenance(
            "maintenance",
            MaintenanceArgs(
                self.stack,
                self.images,
                self.storage,
                self.archive.bucket.arn,
                self.settings.mail_host,
            ),
            self.stack.options,
        )

    def _certificates(self) -> Certificates | None:
        """Create the task that renews the mail host's certificate; None without its image."""
        settings = self.settings
        if "certbot" not in self.images.references:
            pulumi.warn(
                "postal-plexus:images has certbot: none, so nothing asks for the mail host's "
                "certificate: clients see a self-signed one"
            )
            return None
        return Certificates(
            "certificates",
            CertificatesArgs(
                stack=self.stack,
                image=self.images.references["certbot"],
                repository_arn=self.images.repository_arns["certbot"],
                cluster_arn=self.cluster.arn,
                log_days=settings.log_days,
                names=certificate_names(settings.clients, mail_host=settings.mail_host),
                zone_ids=self.zones.zone_ids,
                name_servers=self.zones.name_servers,
            ),
            self.stack.options,
        )

    def _patches(self) -> Patches | None:
        """Create the weekly patches; None if the images are not ours, or the stack wants none."""
        settings = self.settings
        if settings.images or settings.patches == "none" or self.certificates is None:
            return None
        return Patches(
            "patches",
            PatchesArgs(
                stack=self.stack,
                architecture=settings.architecture,
                log_days=settings.log_days,
                archive=self.archive,
                images=self.images,
                cluster=self.cluster,
                services=self.services,
                certificates=self.certificates,
                maintenance=self.maintenance,
            ),
            self.stack.options,
        )

    def _client_sites(self) -> list[str]:
        """Create the sites that set up clients; return the domains that the next run completes."""
        settings = self.settings
        if not settings.client_setup:
            return []
        sites = ClientSetupSites(
            "clients",
            ClientSetupArgs(
                stack=self.stack,
                clients=settings.clients,
                zone_ids=self.zones.zone_ids,
                policy=MtaStsPolicy(
                    (regions.inbound_host(settings.region),), MtaStsMode(settings.mta_sts)
                ),
                issued=domains_with_certificate(settings.clients, self.stack.provider),
                shared_host=settings.mail_host if settings.client_hosts == "shared" else None,
            ),
            self.stack.options,
        )
        return sites.pending

    def _doctor(self) -> Doctor | None:
        """Return the weekly `plexus doctor`, or None if the stack has none."""
        if self.settings.doctor == "none":
            return None
        return Doctor(
            "doctor",
            DoctorArgs(
                stack=self.stack,
                architecture=self.settings.architecture,
                log_days=self.settings.log_days,
                archive=self.archive,
                parts=self.parts,
            ),
            self.stack.options,
        )

    def _monitoring(self) -> None:
        """Create alarms, dashboard and budget."""
        Monitoring(
            "watch",
            MonitoringArgs(
                stack=self.stack,
                mail_host=self.settings.mail_host,
                deliver_log=self.services["deliver"].log_group.name,
                address=self.settings.alarm_address,
                budget_usd=self.settings.budget_usd,
                mailboxes_gb=self.settings.mailboxes_gb_alarm,
                rules=tuple(rule_name(self.rule_set, rule) for rule in self.rules),
                services={name: part.service.name for name, part in self.services.items()},
                missed={
                    name: part.schedule.missed.name
                    for name, part in (
                        ("certbot", self.certificates),
                        ("patches", self.patches),
                        ("doctor", self.doctor),
                    )
                    if part
                },
                more=(certificate_alarm(self.stack.name),) if self.certificates else (),
                patches=self.stack.named("patches") if self.patches else "",
                doctor=self.stack.named("doctor") if self.doctor else "",
                watched={
                    "queue": self.notifications.queue.name,
                    "dead_letters": self.notifications.dead_letters.name,
                    "group": self.host.group.name,
                    "cluster": self.cluster.name,
                    "file_system": self.storage.file_system.id,
                },
            ),
            self.stack.options,
        )

    def _parts(self) -> dict[str, Any]:
        """Return what operators' commands find without Pulumi.

        No lists by domain, because the parameter holds 4 KB, and nothing that changes with a new
        image.
        """
        return {
            "mail_host": self.settings.mail_host,
            "region": self.settings.region,
            "bucket": self.archive.bucket.bucket,
            "queue_url": self.notifications.queue.url,
            "events_queue_url": self.notifications.events.url,
            "dead_letter_queue_url": self.notifications.dead_letters.url,
            "directory_object": self.directory.location,
            "rule_set": self.rule_set,
            "configuration_set": self.stack.named("sending"),
            "cluster": self.cluster.name,
            "host_group": self.host.group.name,
            "services": {name: part.service.name for name, part in self.services.items()},
            "log_groups": {
                "maintenance": self.maintenance.log_group.name,
                **{name: part.log_group.name for name, part in self.services.items()},
            },
            "maintenance": self.maintenance.families,
            "file_system": self.storage.file_system.id,
            "access_point": self.storage.access_point.id,
            "backup_vault": self.storage.vault,
            "backup_role": self.storage.backup_role,
        }

    def _outputs(self) -> None:
        """What Pulumi says of the stack, and what operators' tools find without it."""
        outputs: dict[str, Any] = {
            **self.parts,
            "imap_host": self.settings.mail_host,
            "address": self.network.address.public_ip,
            "architecture": self.settings.architecture,
            "topic_arn": self.notifications.topic.arn,
            "repositories": self.images.repositories,
            "images": self.images.references,
            "task_definitions": {
                name: part.task_definition.arn for name, part in self.services.items()
            },
            "name_servers": self.zones.name_servers,
            "dkim_records": self.zones.dkim_records,
            "client_setup_pending": self.pending,
            # The input of tools/patch, by hand and in the weekly build.
            "patch": {**self.patches.told, "region": self.settings.region}
            if self.patches
            else None,
            "host_directories": [
                dataclasses.asdict(each)
                for each in host_directories(web=bool(self.settings.web_parts))
            ],
        }
        for name, value in outputs.items():
            pulumi.export(name, value)
        Operations(
            "operations",
            OperationsArgs(self.stack, self.parts),
            self.stack.options,
        )
