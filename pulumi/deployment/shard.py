"""One mail host of the stack, with what belongs to it alone: cluster, instance, services.

Host 1's parts have the names of a stack of one host; those of the others have their number. Each
host has a cluster of its own, so that ECS places its tasks there and nowhere else, and its instance
may serve no other host's tasks. Address, volume, queues, journal and indexes are a host's own too;
file system, archive, topics, directory and images are the stack's.
"""

from dataclasses import dataclass
from typing import Any

import pulumi_aws as aws

import pulumi
from deployment import alarms, certificates, monitoring
from deployment.archive import Archive
from deployment.certificates import Certificates, CertificatesArgs
from deployment.directory_object import DirectoryObject
from deployment.host import Host, HostArgs
from deployment.identities import Identities
from deployment.images import Images
from deployment.network import Network
from deployment.notifications import Notifications
from deployment.sending import Sending
from deployment.services import ServiceParts, make_services
from deployment.stack import Stack
from deployment.storage import Storage
from deployment.zones import Zones
from postal_plexus.autoconfig import certificate_names
from postal_plexus.config.settings import Settings


@dataclass(frozen=True)
class ShardArgs:
    """`stack` is that of the host (`Stack.on_host`); the rest is what all hosts share."""

    stack: Stack
    settings: Settings
    network: Network
    images: Images
    storage: Storage
    sending: Sending
    archive: Archive
    notifications: Notifications
    directory: DirectoryObject
    identities: Identities
    zones: Zones


class Shard:
    """One host. Not a component of Pulumi's: a parent would give host 1's parts other URNs."""

    def __init__(self, args: ShardArgs) -> None:
        self._args = args
        self.hostname = args.settings.host_names[args.stack.host - 1]
        self.cluster = aws.ecs.Cluster(
            args.stack.named("cluster"),
            opts=pulumi.ResourceOptions(provider=args.stack.provider),
        )
        self.host = self._host()
        self.queues = args.notifications.hosts[args.stack.host - 1]
        self.services = make_services(
            args.settings,
            ServiceParts(
                stack=args.stack,
                cluster=self.cluster,
                images=args.images,
                storage=args.storage,
                sending=args.sending,
                archive=args.archive,
                queues=self.queues,
                directory=args.directory,
                identities=args.identities,
                hostname=self.hostname,
                peers=tuple(
                    place.interface.private_ip
                    for place in args.network.places
                    if args.settings.hosts > 1
                ),
            ),
        )
        self.certificates = self._certificates()

    def watched(self) -> monitoring.HostArgs:
        """Return what Monitoring watches of this host."""
        return monitoring.HostArgs(
            name=self.hostname,
            queue=self.queues.queue.name,
            dead_letters=self.queues.dead_letters.name,
            group=self.host.group.name,
            cluster=self.cluster.name,
            services={name: part.service.name for name, part in self.services.items()},
            missed=(
                {certificates.CONTAINER: self.certificates.schedule.missed.name}
                if self.certificates
                else {}
            ),
            deliver_log=self.services["deliver"].log_group.name,
        )

    def parts(self) -> dict[str, Any]:
        """Return the names of what the host has of its own, for operators' commands."""
        return {
            "mail_host": self.hostname,
            "cluster": self.cluster.name,
            "host_group": self.host.group.name,
            "queue_url": self.queues.queue.url,
            "events_queue_url": self.queues.events.url,
            "dead_letter_queue_url": self.queues.dead_letters.url,
            "services": {name: part.service.name for name, part in self.services.items()},
            "log_groups": {name: part.log_group.name for name, part in self.services.items()},
        }

    def certificate_alarms(self) -> list[alarms.Alarm]:
        """Return the alarm on the host's certificate, if something renews it."""
        if not self.certificates:
            return []
        stack, one = self._args.stack, certificates.alarm(self._args.stack)
        several = self._args.settings.hosts > 1
        return [alarms.of_host(one, stack.host, self.hostname) if several else one]

    def _host(self) -> Host:
        """Create the host."""
        args, settings = self._args, self._args.settings
        return Host(
            args.stack.of_host("host"),
            HostArgs(
                stack=args.stack,
                network=args.network,
                place=args.network.places[args.stack.host - 1],
                cluster_name=self.cluster.name,
                cluster_arn=self.cluster.arn,
                repository_arns=list(args.images.repository_arns.values()),
                instance_type=settings.instance_type,
                architecture=settings.architecture,
                image=settings.host_image,
                spot=settings.spot,
                ssm_access=settings.ssm_access,
                replace_after_days=settings.replace_after_days,
                indexes_gb=settings.indexes_gb,
                web=bool(settings.web_parts),
            ),
            args.stack.options,
        )

    def _certificates(self) -> Certificates | None:
        """Create the task that renews the host's certificate; None without its image.

        The certificate has the client hosts of all domains, so that a client whose resolver still
        gives the address of a domain's former host is served.
        """
        args, settings = self._args, self._args.settings
        if "certbot" not in args.images.references:
            return None
        return Certificates(
            args.stack.of_host("certificates"),
            CertificatesArgs(
                stack=args.stack,
                image=args.images.references["certbot"],
                repository_arn=args.images.repository_arns["certbot"],
                cluster_arn=self.cluster.arn,
                log_days=settings.log_days,
                names=certificate_names(settings.clients, mail_host=self.hostname),
                zone_ids=args.zones.zone_ids,
                name_servers=args.zones.name_servers,
            ),
            args.stack.options,
        )
