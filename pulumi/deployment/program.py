"""The whole program: settings in, parts connected, stack outputs out."""

import dataclasses
from typing import Any

import pulumi_aws as aws
from pulumi.runtime.config import CONFIG, get_config_env

import pulumi
from deployment import documents
from deployment.archive import Archive, ArchiveArgs
from deployment.client_setup import (
    ClientSetupArgs,
    ClientSetupSites,
    domains_with_certificate,
)
from deployment.directory_object import DirectoryObject, DirectoryObjectArgs
from deployment.doctor import Doctor, DoctorArgs
from deployment.host import warn_of_spot_quota
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
from deployment.shard import Shard, ShardArgs
from deployment.stack import Stack
from deployment.storage import Storage, StorageArgs
from deployment.zones import Zones, ZonesArgs, names_of_hosts
from postal_plexus.autoconfig import MtaStsMode, MtaStsPolicy, certificate_names
from postal_plexus.config import regions
from postal_plexus.config.problems import NAMESPACE, StackError
from postal_plexus.config.settings import Settings, read_settings
from postal_plexus.config.sharing import rendered


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
        return read_settings(pulumi.get_stack(), given.get("aws:region"), config)
    except StackError as error:
        raise pulumi.RunError(str(error)) from error


def deploy() -> None:
    """Register everything and export the outputs.

    Raises:
        pulumi.RunError: the configuration is not valid.
    """
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
        self.network = self._network()
        self.directory = self._directory()
        self._receiving()
        self.identities = self._identities()
        self.zones = self._zones()
        self.sending = self._sending()
        self.storage = self._storage()
        self.images = self._images()
        self.shards = self._shards()
        first = self.shards[0]
        self.cluster, self.host, self.services = first.cluster, first.host, first.services
        self.certificates = first.certificates
        self.maintenance = self._maintenance()
        self.patches = self._patches()
        self.pending = self._client_sites()
        self.parts = self._parts()
        self.other_parts = [shard.parts() for shard in self.shards[1:]]
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
                hosts=self.settings.hosts,
            ),
            self.stack.options,
        )

    def _directory(self) -> DirectoryObject:
        """Create the directory object that the containers load."""
        return DirectoryObject(
            "directory",
            DirectoryObjectArgs(
                self.stack,
                self.settings.directory,
                self.archive,
                tuple(
                    (name, place.interface.private_ip)
                    for name, place in zip(
                        self.settings.host_names, self.network.places, strict=True
                    )
                    if self.settings.hosts > 1
                ),
            ),
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
                hosts=self.settings.hosts,
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
                hosts=[
                    (names, place.address.public_ip, place.interface.ipv6_addresses[0])
                    for names, place in zip(
                        names_of_hosts(self.settings), self.network.places, strict=True
                    )
                ],
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
                calendars=self.settings.calendars,
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

    def _shards(self) -> list[Shard]:
        """Create the hosts with their services and certificates, by their numbers."""
        if self.settings.spot:
            warn_of_spot_quota(self.stack.provider, self.settings.hosts)
        if "certbot" not in self.images.references:
            pulumi.warn(
                "postal-plexus:images has certbot: none, so nothing asks for the mail host's "
                "certificate: clients see a self-signed one"
            )
        return [
            Shard(
                ShardArgs(
                    stack=self.stack.on_host(number),
                    settings=self.settings,
                    network=self.network,
                    images=self.images,
                    storage=self.storage,
                    sending=self.sending,
                    archive=self.archive,
                    notifications=self.notifications,
                    directory=self.directory,
                    identities=self.identities,
                    zones=self.zones,
                )
            )
            for number in range(1, self.settings.hosts + 1)
        ]

    def _maintenance(self) -> Maintenance:
        """Create the one-off tasks beside the services."""
        return Maintenance(
            "maintenance",
            MaintenanceArgs(
                self.stack,
                self.images,
                self.storage,
                self.archive.bucket.arn,
                self.settings.mail_host,
                calendars=self.settings.calendars,
                shared=rendered(self.settings.shared),
                hosts=self.settings.hosts,
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
                shards=self.shards,
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
                parts={**self.parts, "other_hosts": self.other_parts},
            ),
            self.stack.options,
        )

    def _monitoring(self) -> None:
        """Create alarms, dashboard and budget."""
        Monitoring(
            "watch",
            MonitoringArgs(
                stack=self.stack,
                address=self.settings.alarm_address,
                budget_usd=self.settings.budget_usd,
                mailboxes_gb=self.settings.mailboxes_gb_alarm,
                rules=tuple(rule_name(self.rule_set, rule) for rule in self.rules),
                hosts=[shard.watched() for shard in self.shards],
                file_system=self.storage.file_system.id,
                missed={
                    name: part.schedule.missed.name
                    for name, part in (("patches", self.patches), ("doctor", self.doctor))
                    if part
                },
                more=tuple(alarm for shard in self.shards for alarm in shard.certificate_alarms()),
                patches=self.stack.named("patches") if self.patches else "",
                doctor=self.stack.named("doctor") if self.doctor else "",
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
            "web": self.settings.web_addresses,
            "region": self.settings.region,
            "bucket": self.archive.bucket.bucket,
            "queue_url": self.notifications.queue.url,
            "events_queue_url": self.shards[0].queues.events.url,
            "dead_letter_queue_url": self.shards[0].queues.dead_letters.url,
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
            # Host 1 is above; the others have a parameter each.
            **({"hosts": self.settings.hosts} if self.settings.hosts > 1 else {}),
        }

    def _outputs(self) -> None:
        """Export the stack's outputs, and write the names that operators' commands need."""
        outputs: dict[str, Any] = {
            **self.parts,
            **({"other_hosts": self.other_parts} if self.other_parts else {}),
            "imap_host": self.settings.mail_host,
            "certificate_names": list(
                certificate_names(self.settings.clients, mail_host=self.settings.mail_host)
            ),
            "address": self.network.places[0].address.public_ip,
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
            # In the order of their numbers.
            "mail_hosts": [
                {
                    "name": shard.hostname,
                    "cluster": shard.cluster.name,
                    "group": shard.host.group.name,
                    "private_address": place.interface.private_ip,
                    "address": place.address.public_ip,
                }
                for shard, place in zip(self.shards, self.network.places, strict=True)
            ],
            "host_directories": [
                dataclasses.asdict(each)
                for each in host_directories(web=bool(self.settings.web_parts))
            ],
        }
        for name, value in outputs.items():
            pulumi.export(name, value)
        Operations(
            "operations",
            OperationsArgs(self.stack, self.parts, self.other_parts),
            self.stack.options,
        )
