"""The desk's daemon: emulated AWS, SES stand-in, DNS, sites and the container agent, one process.

    python -m awsdesk.daemon --desk DIR

Reads DIR/desk.json (written by the command that starts the desk), listens on 127.0.0.1 and on the
gateway of the containers' network, logs to DIR/log/daemon.log, keeps its state in DIR. On SIGTERM
or SIGINT it stops the containers, closes the SMTP servers and saves its state, in this order.

Exit status: 0 ended by a signal, 1 settings missing or broken or no container engine, 3 another
daemon runs this desk, 4 a port is taken.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import logging
import signal
import ssl
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import hypercorn.asyncio
from hypercorn.config import Config

from awsdesk import backups, daemon_log, naming, settings, sockets
from awsdesk.certificate_authority import Certificate, CertificateAuthority
from awsdesk.cloudfront import edge_functions
from awsdesk.cloudfront.distributions import Distributions
from awsdesk.cloudfront.edge import SiteApplication, SiteConfig
from awsdesk.dns import AmazonNames, DnsServer
from awsdesk.ecs import ecs_view, run_task, schedules
from awsdesk.ecs import engine as engines
from awsdesk.ecs.container_instance import ContainerInstance
from awsdesk.ecs.ecs_view import EcsView
from awsdesk.ecs.engine import NoEngineError
from awsdesk.ecs.reconciler import Reconciler
from awsdesk.layout import DEFAULT_DESK, DeskLayout
from awsdesk.lock import DeskLock, DeskLockedError
from awsdesk.ministack_patches import environment, iam_actions, instances, log_events, runtime
from awsdesk.ministack_patches.application import DeskApplication
from awsdesk.ministack_patches.root_key import RootKey
from awsdesk.ses.actions import RetryPolicy
from awsdesk.ses.sending import OUTGOING_ADDRESS as SES_ADDRESS
from awsdesk.ses.service import SesStandIn, StandInSettings
from awsdesk.settings import DeskSettings, SettingsError
from awsdesk.sockets import LOOPBACK, PortTakenError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from awsdesk.ecs.engine import Engine

log = logging.getLogger(__name__)

_WEB_END_SECONDS = 3.0


@dataclass(frozen=True)
class _Listeners:
    """The sockets, opened before anything else so that a port in use is reported at once."""

    aws: list[socket.socket]
    aws_tls: list[socket.socket]
    ses_inbound: list[socket.socket]
    ses_smtp: list[socket.socket]
    ses_smtps: list[socket.socket]
    sites: list[socket.socket]


def _open(desk: DeskSettings) -> _Listeners:
    both = (LOOPBACK, *((desk.network.gateway,) if desk.network.gateway else ()))
    return _Listeners(
        # Containers connect only with TLS: bucket policies may require it.
        aws=sockets.listen((LOOPBACK,), desk.ports.aws),
        aws_tls=sockets.listen(both, desk.ports.aws_tls),
        ses_inbound=sockets.listen((LOOPBACK,), desk.ports.ses_inbound),
        ses_smtp=sockets.listen(both, desk.ports.ses_smtp),
        ses_smtps=sockets.listen(both, desk.ports.ses_smtps),
        sites=sockets.listen((LOOPBACK,), desk.ports.sites),
    )


@dataclass(frozen=True)
class _Parts:
    """What the daemon runs besides DNS and the sites."""

    application: DeskApplication
    stand_in: SesStandIn
    reconciler: Reconciler
    snapshots: runtime.Snapshots


class Daemon:
    """Everything that runs for one desk."""

    def __init__(self, layout: DeskLayout, desk: DeskSettings, engine: Engine) -> None:
        self._layout = layout
        self._desk = desk
        self._engine = engine
        self._end = asyncio.Event()

    def end(self) -> None:
        """Ask the daemon to end."""
        self._end.set()

    async def run(self) -> None:
        """Run until asked to end.

        Raises:
            PortTakenError: something else listens on a port of the desk.
        """
        desk, layout = self._desk, self._layout
        listeners = _open(desk)
        authority = CertificateAuthority(layout.authority)
        authority.bundle()
        certificate = authority.certificate("aws", _aws_hosts(desk))
        parts = self._parts(certificate)
        stand_in, reconciler = parts.stand_in, parts.reconciler
        saving = asyncio.create_task(parts.snapshots.run())
        web_end = asyncio.Event()
        web = asyncio.create_task(_serve(parts.application, listeners, certificate, web_end))
        await _until_loaded(web, desk.ports.aws)
        sites = asyncio.create_task(_serve_sites(desk, authority, listeners.sites, web_end))
        mail = [
            *await _mail_servers(stand_in.inbound, listeners.ses_inbound),
            *await _mail_servers(stand_in.smtp, listeners.ses_smtp),
            *await _mail_servers(stand_in.smtps, listeners.ses_smtps, _tls(certificate)),
        ]
        stand_in.runner.resume()
        reconciling = asyncio.create_task(reconciler.run())
        names = await _names(desk, stand_in)
        log.info("desk.running endpoint=%s", desk.endpoint_url)
        end = asyncio.create_task(self._end.wait())
        await _first_end(end, web, sites, reconciling)
        log.info("desk.ending")
        reconciling.cancel()
        await asyncio.gather(reconciling, return_exceptions=True)
        await reconciler.stop_all()
        await names.stop()
        for server in mail:
            server.close()
        await stand_in.stop()
        saving.cancel()
        saved = stand_in.spool.about_to_save()
        if runtime.save():
            saved()
        web_end.set()
        # Without this, it would wait half a minute for connections of stopped containers.
        await asyncio.wait({web, sites}, timeout=_WEB_END_SECONDS)
        for one in (web, sites, end):
            one.cancel()
        await asyncio.gather(web, sites, saving, end, return_exceptions=True)
        log.info("desk.ended")

    def _parts(self, certificate: Certificate) -> _Parts:
        """Load the emulator, and create what is beside it. Nothing runs yet."""
        desk, layout = self._desk, self._layout
        ministack = _ministack(layout, desk)
        snapshots = runtime.Snapshots(lambda: stand_in.spool.about_to_save())  # noqa: PLW0108
        stand_in = _stand_in(layout, desk, certificate, snapshots.changed)
        reconciler = Reconciler(layout, desk, self._engine)

        def changed(operation: str) -> None:
            snapshots.changed(operation)
            if operation.startswith("AmazonEC2ContainerService"):
                reconciler.wake()

        loop = asyncio.get_running_loop()

        def task_started() -> None:
            loop.call_soon_threadsafe(changed, "AmazonEC2ContainerService")

        schedules.install(schedules.Schedules(desk.account_id, desk.region), task_started)
        application = DeskApplication(
            ministack.app,
            RootKey(desk.root_key_id, desk.root_secret),
            reconciler.credentials,
            changed,
            lambda: _health(desk, reconciler, stand_in),
        )
        return _Parts(application, stand_in, reconciler, snapshots)


async def _first_end(*tasks: asyncio.Task[Any]) -> None:
    """Wait until one has ended, and log why if it failed."""
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for one in tasks:
        if one.done() and not one.cancelled() and (error := one.exception()):
            log.error("desk.failed", exc_info=error)


def _ministack(layout: DeskLayout, desk: DeskSettings) -> Any:
    """Load the emulator, and replace what it does otherwise than AWS, where that matters here."""
    environment.configure(
        environment.EmulatorSettings(
            directory=layout.aws,
            port=desk.ports.aws,
            account_id=desk.account_id,
            region=desk.region,
            root_key_id=desk.root_key_id,
            root_secret=desk.root_secret,
        )
    )
    ministack = environment.module("app")
    logging.getLogger("ministack").setLevel(logging.WARNING)
    backups.install(layout, desk.account_id, desk.region)
    runtime.keep_from_running_containers()
    iam_actions.install()
    hosts = ContainerInstance(layout, desk, EcsView(desk.account_id, desk.region))
    run_task.install(hosts.has_host)
    ecs_view.install()
    log_events.install()
    edge_functions.install()
    instances.install()
    return ministack


def _aws_hosts(desk: DeskSettings) -> list[str]:
    region = desk.region
    hosts = [
        desk.ses_smtp_host,
        f"inbound-smtp.{region}.amazonaws.com",
        "localhost",
        LOOPBACK,
    ]
    return [*hosts, desk.network.gateway] if desk.network.gateway else hosts


def _tls(certificate: Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate.chain, certificate.key)
    return context


def _stand_in(
    layout: DeskLayout,
    desk: DeskSettings,
    certificate: Certificate,
    changed: Callable[[], None],
) -> SesStandIn:
    kept = StandInSettings(
        desk.account_id,
        desk.region,
        layout.ses,
        layout.outbox,
        RetryPolicy(),
        strangers_pass_spf=desk.strangers_pass_spf,
    )
    return SesStandIn(kept, _tls(certificate), changed)


def _health(desk: DeskSettings, reconciler: Reconciler, stand_in: SesStandIn) -> dict[str, object]:
    return {
        "status": "running",
        "region": desk.region,
        "tasks": reconciler.tasks(),
        "terminated_hosts": reconciler.terminated_hosts(),
        "ses": dict(stand_in.runner.counts),
    }


async def _serve(
    application: Any, listeners: _Listeners, certificate: Certificate, end: asyncio.Event
) -> None:
    config = Config()
    config.bind = [f"fd://{one.detach()}" for one in listeners.aws_tls]
    config.insecure_bind = [f"fd://{one.detach()}" for one in listeners.aws]
    config.certfile = str(certificate.chain)
    config.keyfile = str(certificate.key)
    config.keep_alive_timeout = 75
    # Long polls are cut off at the end; their messages are still in the queue.
    config.graceful_timeout = 0.5
    config.shutdown_timeout = 30
    config.accesslog = None
    await cast("Any", hypercorn.asyncio).serve(application, config, shutdown_trigger=end.wait)


async def _serve_sites(
    desk: DeskSettings,
    authority: CertificateAuthority,
    listening: list[socket.socket],
    end: asyncio.Event,
) -> None:
    distributions = Distributions(desk.account_id, desk.region)
    config = SiteConfig(authority, distributions)
    config.bind = [f"fd://{one.detach()}" for one in listening]
    config.graceful_timeout = 0.5
    config.accesslog = None
    application = SiteApplication(distributions)
    await cast("Any", hypercorn.asyncio).serve(application, config, shutdown_trigger=end.wait)


async def _until_loaded(web: asyncio.Task[None], port: int) -> None:
    """Wait until ministack has read its state: only then is a request answered."""
    while not web.done():
        try:
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            writer.write(b"GET /health HTTP/1.1\r\nHost: desk\r\nConnection: close\r\n\r\n")
            answered = await reader.readline()
            writer.close()
        except OSError:
            answered = b""
        if answered:
            return
        await asyncio.sleep(0.02)
    await web


async def _names(desk: DeskSettings, stand_in: SesStandIn) -> DnsServer:
    """Serve the stored zones, and Amazon's own names, at the desk's DNS port."""
    route53 = await asyncio.to_thread(_route53, desk)
    network = (f"ip4:{desk.network.subnet}",) if desk.network.subnet else ()
    amazon = AmazonNames(
        desk.region,
        senders=("ip4:127.0.0.0/8", f"ip4:{SES_ADDRESS}", *network),
        dkim_key=stand_in.dkim.key_record,
    )
    server = DnsServer(route53, outside=amazon)
    gateway = (desk.network.gateway,) if desk.network.gateway else ()
    try:
        await server.start([LOOPBACK, *gateway], desk.ports.dns)
    except OSError as error:
        raise PortTakenError(f"{LOOPBACK}:{desk.ports.dns}: {error.strerror}") from error
    return server


def _route53(desk: DeskSettings) -> Any:
    # Untyped, and half a second to import: in a thread, after everything else listens.
    session: Any = importlib.import_module("boto3.session").Session()
    return session.client(
        "route53",
        endpoint_url=desk.endpoint_url,
        region_name=desk.region,
        aws_access_key_id=desk.root_key_id,
        aws_secret_access_key=desk.root_secret,
    )


async def _mail_servers(
    make: Callable[[], Any], listening: list[socket.socket], tls: ssl.SSLContext | None = None
) -> list[asyncio.Server]:
    loop = asyncio.get_running_loop()
    return [await loop.create_server(make, sock=one, ssl=tls) for one in listening]


async def _main(layout: DeskLayout, desk: DeskSettings, engine: Engine) -> None:
    daemon = Daemon(layout, desk, engine)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, daemon.end)
    await daemon.run()


def main(arguments: list[str] | None = None) -> int:
    """Run the daemon. Return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m awsdesk.daemon")
    parser.add_argument("--desk", type=Path, default=DEFAULT_DESK, help="the desk directory")
    layout = DeskLayout.at(parser.parse_args(arguments).desk)
    try:
        desk = settings.load(layout.settings)
        if desk is None:
            sys.stderr.write(f"{layout.settings} is missing; run `{naming.COMMAND} up`\n")
            return 1
        layout.prepare()
        daemon_log.set_up(layout.logs / "daemon.log")
        lock = DeskLock(layout.lock)
        lock.acquire()
        engine = engines.find()
        asyncio.run(_main(layout, desk, engine))
    except tuple(_EXIT_STATUS) as error:
        sys.stderr.write(f"{error}\n")
        return next(status for kind, status in _EXIT_STATUS.items() if isinstance(error, kind))
    return 0


_EXIT_STATUS: dict[type[Exception], int] = {
    SettingsError: 1,
    NoEngineError: 1,
    DeskLockedError: 3,
    PortTakenError: 4,
}


if __name__ == "__main__":
    sys.exit(main())
