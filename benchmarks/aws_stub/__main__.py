"""Runs the stub. Prints one line of JSON with its address when it listens."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import signal
import time
from pathlib import Path

from benchmarks.aws_stub.control import Control
from benchmarks.aws_stub.journal import Journal
from benchmarks.aws_stub.objects import Objects
from benchmarks.aws_stub.queue import Queue
from benchmarks.aws_stub.service import Service
from benchmarks.aws_stub.sqs import Sqs
from benchmarks.aws_stub.wire import Connection


def main() -> None:
    """Parse the arguments and serve until SIGTERM."""
    arguments = _arguments()
    try:
        import uvloop  # noqa: PLC0415 - optional: without it the stub is slower, not different
    except ImportError:
        asyncio.run(_serve(arguments))
    else:
        uvloop.run(_serve(arguments))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.aws_stub", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--state", type=Path, help="directory that outlives a kill -9 of the stub")
    parser.add_argument("--delay", type=float, default=0, help="seconds added to every AWS call")
    parser.add_argument("--visibility", type=float, default=30, help="seconds, of every queue")
    parser.add_argument("--hurry", type=float, default=1, help="divides longer visibility timeouts")
    parser.add_argument(
        "--patient", type=float, default=0, help="seconds that --hurry leaves alone"
    )
    parser.add_argument("--ahead", type=float, default=0, help="seconds of the clock that S3 tells")
    parser.add_argument("--queue", action="append", default=[], metavar="NAME")
    parser.add_argument("--dead-letters", metavar="NAME", help="redrive of the first queue")
    parser.add_argument("--most-receives", type=int, default=0, help="before redrive; 0 is never")
    return parser.parse_args()


async def _serve(arguments: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    clock = time.monotonic
    sqs = Sqs(clock, time.time() - clock())
    objects = Objects(arguments.state / "objects" if arguments.state else None)
    service = Service(sqs, objects, clock, lambda: time.time() + arguments.ahead)
    control = Control(service, clock)
    service.control = control
    control.delay = arguments.delay

    journal: Journal | None = None
    if arguments.state:
        arguments.state.mkdir(parents=True, exist_ok=True)
        journal = Journal(arguments.state / "journal")

    names = [*arguments.queue, *([arguments.dead_letters] if arguments.dead_letters else [])]
    for name in names:
        sqs.queues[name] = Queue(
            name,
            clock,
            visibility=arguments.visibility,
            hurry=arguments.hurry,
            patient=arguments.patient,
            record=journal.append if journal is not None else None,
        )
        sqs.queues[name].on_delete = control.settled
    if arguments.dead_letters and arguments.most_receives:
        first = sqs.queues[arguments.queue[0]]
        first.redrive = (sqs.queues[arguments.dead_letters], arguments.most_receives)
    if journal is not None:
        for entry in journal.entries():
            if entry["do"] in {"send", "receive", "delete"}:
                sqs.queues[entry["queue"]].restore(entry)
            else:
                service.restore(entry)
        service.record = journal.append

    clients: set[Connection] = set()
    server = await loop.create_server(
        lambda: Connection(service.serve, control.delay_of, clients),
        arguments.host,
        arguments.port,
        backlog=1024,
        reuse_address=True,
    )
    gc.freeze()
    stop = asyncio.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stop.set)
    port = server.sockets[0].getsockname()[1]
    print(json.dumps({"host": arguments.host, "port": port}), flush=True)
    await stop.wait()
    server.close()
    for client in list(clients):
        client.abort()


if __name__ == "__main__":
    main()
