"""What `plexus console` does: connect the page with its sources, and serve it."""

import webbrowser
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path

from postal_plexus.cli import cost, estimate, queue_view, system
from postal_plexus.cli.exits import CommandError, Exit
from postal_plexus.console import desk_files, serve
from postal_plexus.console.app import application
from postal_plexus.console.guard import Keys
from postal_plexus.console.sources import Forecast, Line, Sources
from postal_plexus.operations import spending
from postal_plexus.operations.dead_letters import DeadLetters
from postal_plexus.operations.examination import Examination
from postal_plexus.operations.log_groups import LogGroups
from postal_plexus.operations.queues import Queues
from postal_plexus.operations.system import OperationError, System
from postal_plexus.operations.task import Tasks
from postal_plexus.tracing.services import SERVICES, steps_of
from postal_plexus.tracing.step import Step

_DESK_POLL, _AWS_POLL = 1.0, 10.0
_LOOK_BACK = timedelta(hours=1)
# The number of a service's log lines in each look.
_PAGES = 3


def run(args: Namespace) -> int:
    """Serve the page until Control-C, or until its desk is gone."""
    if args.port is not None and not 0 <= args.port < 65536:
        raise CommandError(Exit.USAGE, f"--port is {args.port}: give a number from 0 to 65535")
    stack = system.connect(args)
    _ = stack.parts  # a missing stack is reported here, not in every panel
    if args.desk is not None:
        return _for_desk(args, stack)
    region = f" in {args.region}" if args.region else ""
    sources = _sources_of(stack)(
        title=f"stack {args.stack}{region}",
        web=lambda: stack.parts.get("web", {}),
        poll_seconds=_AWS_POLL,
        steps=partial(_logged, stack),
        forecast=None if args.stack_file is None else _forecast(args.stack_file),
        spending=lambda: spending.so_far(stack, datetime.now(UTC).date()),
    )
    return _serve(args, sources, _Served(serve.new_token()))


def _for_desk(args: Namespace, stack: System) -> int:
    """Serve a desk's page. If it is already being served, print its address."""
    from awsdesk.layout import DeskLayout  # noqa: PLC0415 - AWS needs no emulator
    from awsdesk.lock import DeskLock, DeskLockedError  # noqa: PLC0415
    from postal_plexus.desk import desk, page_process, stack_config  # noqa: PLC0415

    layout = DeskLayout.at(args.desk)
    lock = DeskLock(layout.page_lock)
    try:
        lock.acquire()
    except DeskLockedError:
        print(page_process.address(layout))
        return Exit.OK
    stack_file = args.stack_file or desk.remembered_stack_file(args.desk)
    sources = _sources_of(stack)(
        title=f"the desk in {layout.root}",
        poll_seconds=_DESK_POLL,
        steps=partial(desk_files.steps, layout.logs),
        outbox=desk_files.OutboxFiles(layout.outbox),
        web=lambda: desk.status(args.desk).web,
        forecast=_forecast(stack_file or stack_config.DEFAULT_STACK_FILE),
    )
    before = page_process.kept(layout)

    def opened(keys: Keys) -> None:
        page_process.keep(layout, page_process.PageKey(keys.address, keys.token, keys.port))

    served = _Served(
        before.token if before else serve.new_token(),
        (before.port,) if before else (),
        opened,
        layout.page.exists,
    )
    return _serve(args, sources, served)


def _sources_of(stack: System) -> partial[Sources]:
    """Return a function that creates the sources, including those that any stack has."""
    return partial(
        Sources,
        queues=cache(partial(Queues, stack)),
        letters=cache(partial(DeadLetters, stack)),
        findings=lambda: Examination(stack, ()).run(),
        waiting=partial(_waiting, stack),
        mailboxes=partial(_task, stack, "dovecot", "mailbox-list"),
    )


@dataclass(frozen=True)
class _Served:
    """How the page is served: its token, earlier ports, and who is told about its keys."""

    token: str
    ports: tuple[int, ...] = ()
    opened: Callable[[Keys], None] = lambda _: None
    wanted: Callable[[], bool] = lambda: True


def _serve(args: Namespace, sources: Sources, served: _Served) -> int:
    ports = (*served.ports, serve.USUAL_PORT, 0) if args.port is None else (args.port,)
    try:
        listening = serve.listen(ports)
    except serve.PortTakenError as error:
        raise CommandError(Exit.UNAVAILABLE, f"{error}; give another with --port") from error
    keys = Keys(served.token, listening.getsockname()[1])
    served.opened(keys)
    print(keys.address, flush=True)
    if args.open:
        webbrowser.open(keys.address)
    with suppress(KeyboardInterrupt):
        serve.serve(application(sources, keys), listening, served.wanted)
    return Exit.OK


def _logged(stack: System) -> Iterator[Step]:
    """Read the services' log lines about messages from CloudWatch, of all hosts."""
    since = datetime.now(UTC) - _LOOK_BACK
    for groups in map(LogGroups, stack.hosts):
        for service in SERVICES:
            for at, line in groups.lines(service, since, pages=_PAGES):
                yield from steps_of(service, at, line)


def _task(stack: System, image: str, verb: str) -> list[Line]:
    """Run a read-only task on each mail host. Return the results.

    Raises:
        OperationError: a host does not answer. The page has no place for the others' results.
    """
    found: list[Line] = []
    for tasks in Tasks(stack).on_each_host():
        try:
            tasks.run(image, [verb], found.append)
        except OperationError as error:
            if stack.count == 1:
                raise
            raise OperationError(f"host {tasks.host.host}: {error}") from error
    return found


def _waiting(stack: System) -> list[Line]:
    return queue_view.joined(_task(stack, "postfix", "queue-list"))


def _forecast(stack_file: Path) -> Callable[[], Forecast]:
    """Estimate the monthly cost of a stack file. Mistakes in it are reported at the start."""
    stack, prices = cost.read(stack_file), cost.read_prices()
    lines = estimate.estimate(stack, estimate.traffic_of(stack.mailboxes), prices)
    made = Forecast(
        tuple((line.what, line.why, line.usd) for line in lines),
        f"Prices of {prices['region']} as known on {prices['date']}, without taxes; 1 GB per"
        " mailbox and 20 messages a day are assumed. plexus cost has options for others.",
    )
    return lambda: made
