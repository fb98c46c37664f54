"""The desk: the whole system on one machine, by four functions (`plexus local ...`).

`up` may be run again at any time: it starts what is missing and deploys what has changed. `down`
keeps all data unless told to destroy it. Failures: `DeskError` (what is wrong, and the remedy),
`StackError` for a wrong stack file.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.errors import HeaderParseError
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from awsdesk import daemon_process, files, ports, settings, smtp_client, sockets
from awsdesk.daemon_process import DaemonError
from awsdesk.ecs import engine as engines
from awsdesk.ecs.container_instance import LABEL_DESK
from awsdesk.ecs.engine import EngineError, NoEngineError
from awsdesk.layout import DeskLayout, Use
from awsdesk.pulumi import Credentials, DeployError, apply
from awsdesk.settings import DeskSettings, SettingsError
from awsdesk.sockets import LOOPBACK
from postal_plexus.desk import accounts, hosts, lockout, page_process, stack_config
from postal_plexus.desk.container_state import ContainerState
from postal_plexus.desk.directory_arrival import directory_object
from postal_plexus.desk.hosts import HostError
from postal_plexus.desk.published import ANY_PORTS, PUBLISHED, USUAL_PORTS
from postal_plexus.desk.status import DeskStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from awsdesk.ecs.engine import Engine
    from awsdesk.smtp_client import Delivery
    from postal_plexus.desk.stack_config import StackConfig

CHECKOUT = Path(__file__).resolve().parents[3]
STACK = "desk"
_HEALTHY_SECONDS = 180.0
# The Pulumi program's packages outside pulumi/.
PROGRAM_PACKAGES = ("autoconfig", "config", "directory", "mail")


class DeskError(Exception):
    """The desk cannot do what was asked; the text ends with the remedy."""


def _say_nothing(_line: str) -> None:
    pass


@dataclass(frozen=True)
class UpOptions:
    """Options of `up`. `ephemeral_ports`: any free ports instead of the preferred ones."""

    ephemeral_ports: bool = False
    wait_seconds: float = _HEALTHY_SECONDS
    checkout: Path = CHECKOUT


def up(
    desk: Path,
    stack_file: Path | None = None,
    options: UpOptions | None = None,
    tell: Callable[[str], None] = _say_nothing,
) -> DeskStatus:
    """Start the desk, or update it; return when every container is healthy.

    Args:
        desk: the desk directory, created if missing.
        stack_file: a `Pulumi.<stack>.yaml`; None for the last one used, or else the desk's own.
        options: see `UpOptions`.
        tell: called with one line for each step.

    Raises:
        DeskError: something is missing or failed; the text contains the remedy.
        StackError: the stack file is wrong.
    """
    options = options or UpOptions()
    layout = _layout(desk)
    engine = _engine()
    images = _images(options.checkout, engine)
    try:
        layout.prepare()
    except OSError as error:
        raise _unusable(desk, error) from error
    if stack_file is None:
        stack_file = remembered_stack_file(desk)
    config = _read_stack(stack_file, layout, images)
    made = asyncio.run(_network(engine, _settings_for(layout, config, stack_file)))
    if lockout.lift(layout):
        tell("ten wrong passwords had locked out all clients, which share one address here: lifted")
    made = _with_daemon(engine, layout, made, options, tell)
    tell("deploying the Pulumi program")
    outputs = _deploy(options.checkout, config, layout, made, tell)
    if outputs.get("client_setup_pending"):
        # The clients' sites need certificates, which AWS issues after the first run, but the
        # emulator at once. So the operator's second `pulumi up` can follow immediately.
        outputs = _deploy(options.checkout, config, layout, made, tell)
    image = next(iter(images.values()))
    page = page_process.start(layout, any_port=options.ephemeral_ports)
    _translated(lambda: asyncio.run(hosts.prepare(engine, layout, outputs, image)))
    try:
        document = directory_object(made, str(outputs.get("directory_object", "")))
    except OSError as error:
        raise DeskError(f"the directory cannot be read: {error}") from error
    seconds = options.wait_seconds
    _translated(lambda: hosts.await_health(layout, made, outputs, seconds, document, tell))
    page.await_address(tell)
    return status(desk)


def remembered_stack_file(desk: Path) -> Path | None:
    """Return the stack file with which the desk was started; None for the desk's own.

    Raises:
        DeskError: it no longer exists, or the desk's settings cannot be read.
    """
    known = _settings(_layout(desk))
    if known is None or not known.stack_file:
        return None
    path = Path(known.stack_file)
    if not path.exists():
        raise DeskError(
            f"{path}, which this desk was brought up with, is gone: name its new place with"
            f" --stack-file (the desk's own is {stack_config.DEFAULT_STACK_FILE})"
        )
    return path


def down(desk: Path, *, destroy: bool = False, tell: Callable[[str], None] = _say_nothing) -> None:
    """Stop everything of the desk. Its data stays unless `destroy`.

    Raises:
        DeskError: something does not stop, or cannot be removed.
    """
    layout = _layout(desk)
    match layout.use():
        case Use.MISSING:
            return
        case Use.EMPTY:
            raise DeskError(f"{layout.root} is empty: it is not a desk; give the desk's directory")
        case _:
            pass
    page_process.stop(layout)
    _translated(lambda: daemon_process.stop(layout, tell))
    engine = _engine()
    asyncio.run(_remove_containers(engine, layout))
    if destroy:
        tell(f"removing {layout.root}")
        asyncio.run(_destroy(engine, layout, tell))


def status(desk: Path) -> DeskStatus:
    """Return the desk's status.

    Raises:
        DeskError: its settings cannot be read.
    """
    layout = _layout(desk)
    made = _settings(layout)
    health = daemon_process.health(made) if made is not None else None
    tasks = cast("list[dict[str, Any]]", (health or {}).get("tasks") or [])
    return DeskStatus(
        directory=layout.root,
        running=health is not None,
        mail_host=str(_outputs(layout).get("mail_host", "")),
        settings=made,
        accounts=tuple(accounts.load(layout.accounts).values()),
        containers=tuple(ContainerState.of(task) for task in tasks),
        ca_file=layout.ca_file,
        outbox=layout.outbox,
        logs=layout.logs,
        locked_out=lockout.note(layout),
        page=page_process.address(layout),
        web_parts=cast("dict[str, str]", _outputs(layout).get("web") or {}),
        hosts=tuple(hosts.of_outputs(_outputs(layout))),
    )


def send(
    desk: Path,
    sender: str,
    recipients: Sequence[str],
    content: bytes | None = None,
    *,
    subject: str = "",
    text: str = "",
) -> Delivery:
    """Send a message from outside: `content` unchanged, or one composed of subject and text.

    Raises:
        DeskError: the desk is not running, or SES did not accept the message.
    """
    made = _settings(_layout(desk))
    if made is None or daemon_process.health(made) is None:
        raise DeskError(f"no desk runs in {desk}; start it with `plexus local up`")
    for address in (sender, *recipients):
        if not (address.isascii() and address.isprintable()):
            raise DeskError(
                f"{address!r} is not an address that SES accepts: write it in plain ASCII"
            )
    if content is None:
        try:
            content = smtp_client.compose(sender, recipients, subject, text, datetime.now(UTC))
        except (ValueError, LookupError, HeaderParseError) as error:
            raise DeskError(f"no message can be made of this: {error}") from error
    try:
        return smtp_client.deliver((LOOPBACK, made.ports.ses_inbound), sender, recipients, content)
    except smtp_client.NotAcceptedError as error:
        raise DeskError(f"SES refused the message: {error}") from error
    except OSError as error:
        raise DeskError(f"the inbound server does not answer: {error}") from error


def _layout(desk: Path) -> DeskLayout:
    """Return the layout of a directory that is a desk, or may become one."""
    try:
        layout = DeskLayout.at(desk)
        use = layout.use()
    except (OSError, RuntimeError, ValueError) as error:
        # RuntimeError: a loop of links, or ~ of an unknown user.
        raise _unusable(desk, error) from error
    if use is Use.FOREIGN:
        raise DeskError(
            f"{layout.root} holds other things than a desk, and is left alone: give the directory"
            " of a desk, or one that is new or empty, with --desk"
        )
    return layout


def _unusable(desk: Path, error: Exception) -> DeskError:
    reason = error.strerror if isinstance(error, OSError) else error
    return DeskError(f"{desk} cannot be a desk's directory ({reason}): give another with --desk")


def _engine() -> Engine:
    # For hosts whose podman needs other settings than the defaults; the daemon inherits it.
    settings_file = CHECKOUT / "containers" / "containers.conf"
    if settings_file.exists():
        os.environ.setdefault("CONTAINERS_CONF", str(settings_file))
    try:
        return engines.find()
    except NoEngineError as error:
        raise DeskError(str(error)) from error


def _images(checkout: Path, engine: Engine) -> dict[str, str]:
    """Return the images' names by container; all of them exist locally."""
    done = subprocess.run(  # noqa: S603 - our own script
        [str(checkout / "tools" / "images"), "--tags"],
        capture_output=True,
        text=True,
        check=False,
        cwd=checkout,
    )
    if done.returncode != 0:
        raise DeskError(f"tools/images --tags: {done.stderr.strip() or done.stdout.strip()}")
    images = cast("dict[str, str]", json.loads(done.stdout))
    missing = asyncio.run(_missing(engine, images))
    if missing:
        raise DeskError(f"images are missing ({', '.join(missing)}): run `make images`")
    return images


async def _missing(engine: Engine, images: Mapping[str, str]) -> list[str]:
    here = await asyncio.gather(*(engine.has_image(one) for one in images.values()))
    return [name for name, is_here in zip(images, here, strict=True) if not is_here]


def _read_stack(
    stack_file: Path | None, layout: DeskLayout, images: Mapping[str, str]
) -> StackConfig:
    path = stack_file or stack_config.DEFAULT_STACK_FILE
    try:
        return stack_config.read(path, layout.accounts, images)
    except OSError as error:
        raise DeskError(f"the stack file {path} cannot be read: {error.strerror}") from error


def _settings(layout: DeskLayout) -> DeskSettings | None:
    try:
        return settings.load(layout.settings)
    except SettingsError as error:
        raise DeskError(str(error)) from error
    except OSError as error:
        raise DeskError(f"{layout.settings} cannot be read ({error.strerror})") from error


def _settings_for(layout: DeskLayout, config: StackConfig, stack_file: Path | None) -> DeskSettings:
    """Return the desk's settings for a stack, new ones for a new desk."""
    known = _settings(layout)
    if known is not None and known.region != config.region:
        raise DeskError(
            f"this desk is in {known.region}, the stack file says {config.region}: take another"
            " directory, or `plexus local down --destroy` first"
        )
    made = known or settings.new(layout.name, config.region)
    given = str(stack_file.resolve()) if stack_file is not None else ""
    return replace(made, strangers_pass_spf=True, stack_file=given, published=PUBLISHED)


def _with_daemon(
    engine: Engine,
    layout: DeskLayout,
    made: DeskSettings,
    options: UpOptions,
    tell: Callable[[str], None],
) -> DeskSettings:
    """Save the settings, and start the daemon unless it runs; return them with its ports."""
    if daemon_process.is_running(layout):
        settings.save(layout.settings, made)
        return made
    preferred = ANY_PORTS if options.ephemeral_ports else USUAL_PORTS
    ours = asyncio.run(_published_ports(engine, layout))
    chosen = ports.choose(
        made.ports,
        preferred,
        # A killed daemon has left its containers running, and they keep their ports.
        is_free=lambda address, port: port in ours or sockets.is_free(address, port),
    )
    made = settings.with_ports(made, chosen)
    settings.save(layout.settings, made)
    tell(f"starting the emulated AWS and SES in {layout.root}")
    _translated(lambda: daemon_process.start(layout, made))
    return made


async def _published_ports(engine: Engine, layout: DeskLayout) -> frozenset[int]:
    """Return the ports of this desk's containers that are still running."""
    try:
        found = await engine.labelled(f"{LABEL_DESK}={layout.name}")
    except EngineError as error:
        raise DeskError(f"containers of the desk cannot be listed: {error}") from error
    return frozenset(port for one in found if one.is_running for port in one.ports)


async def _network(engine: Engine, made: DeskSettings) -> DeskSettings:
    """Create the containers' network if missing; return the settings with its gateway."""
    network = made.network
    try:
        found = await engine.network_gateway(network.name)
        if found is None:
            await engine.create_network(network.name, network.subnet, network.gateway)
            found = await engine.network_gateway(network.name)
    except EngineError as error:
        raise DeskError(f"the containers' network cannot be made: {error}") from error
    if found is None:
        raise DeskError(f"the network {network.name} vanished; run `plexus local up` again")
    return replace(made, network=replace(network, subnet=found[0], gateway=found[1]))


def _deploy(
    checkout: Path,
    config: StackConfig,
    layout: DeskLayout,
    made: DeskSettings,
    tell: Callable[[str], None],
) -> Mapping[str, object]:
    try:
        deployed = apply(
            checkout / "pulumi",
            STACK,
            config.settings,
            layout.stack_state,
            made.endpoint_url,
            Credentials(made.root_key_id, made.root_secret),
            made.region,
            subnet=made.network.subnet,
            sources=[checkout / "src" / "postal_plexus" / name for name in PROGRAM_PACKAGES],
        )
    except DeployError as error:
        raise DeskError("\n".join(("the Pulumi program failed:", *error.problems))) from error
    changes = {
        "created": deployed.created,
        "updated": deployed.updated,
        "replaced": deployed.replaced,
        "deleted": deployed.deleted,
    }
    counts = [f"{len(urns)} {what}" for what, urns in changes.items() if urns]
    tell(f"deployed: {', '.join(counts) if counts else 'nothing had changed'}")
    files.replace(layout.outputs, json.dumps(dict(deployed.outputs), indent=2).encode())
    return deployed.outputs


def _outputs(layout: DeskLayout) -> Mapping[str, object]:
    try:
        return cast("dict[str, object]", json.loads(layout.outputs.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        return {}


async def _remove_containers(engine: Engine, layout: DeskLayout) -> None:
    try:
        for container in await engine.labelled(f"{LABEL_DESK}={layout.name}"):
            await engine.stop(container.id, 10)
            await engine.remove(container.id)
    except EngineError as error:
        raise DeskError(f"containers of the desk cannot be removed: {error}") from error


async def _destroy(engine: Engine, layout: DeskLayout, tell: Callable[[str], None]) -> None:
    try:
        await engine.remove_network(layout.name)
        for entry in layout.remove():
            tell(f"{entry} stays: the desk did not make it")
    except EngineError as error:
        raise DeskError(f"the desk's network cannot be removed: {error}") from error
    except PermissionError as error:
        raise DeskError(
            f"{error.filename} belongs to a container's user: remove {layout.root} as root"
        ) from error
    except OSError as error:
        raise DeskError(f"{layout.root} cannot be removed: {error}") from error


def _translated(act: Callable[[], object]) -> None:
    try:
        act()
    except HostError as error:
        raise DeskError(str(error)) from error
    except DaemonError as error:
        raise DeskError(f"{error}; see `log` in the desk directory") from error
