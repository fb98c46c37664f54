"""What a benchmark or the fault harness asks of the stub itself, under `/_stub/`.

POST `send`: queues notifications, `{"queue", "entries": [{"body", "faults", "delay"}]}`.
POST `prefill`: queues N messages that are only built when they are received.
POST `faults`: `{"operation", "kind", "times"}` for the next calls, or `{"key", "faults"}`.
POST `settings`: `delay` seconds on every call; `visibility`, `hurry`, `patient` of all queues.
POST `purge`: drops every message of a queue.
POST `forget`: sets the figures of all queues to nothing.
GET `wait?queue=Q&deleted=N`: answers once N messages of the queue are deleted.
GET `stats`: calls, faults, the figures of each queue, the clock.
GET `dump`: what is left in each queue, and the bounces and messages sent through SES.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from benchmarks.aws_stub.notification import Accepted, in_sns_envelope, notification
from benchmarks.aws_stub.objects import mail_of
from benchmarks.aws_stub.queue import Figures
from benchmarks.aws_stub.wire import Connection, Request, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.aws_stub.queue import Queue
    from benchmarks.aws_stub.service import Service

MARK = "0123456789abcdefnumber"  # stands for the mail's number while a body is built once for all


class Control:
    """Serves the control calls."""

    def __init__(self, service: Service, clock: Callable[[], float]) -> None:
        self._service = service
        self._clock = clock
        self._waiting: list[tuple[Queue, int, Connection]] = []
        self.delay = 0.0

    def delay_of(self, request: Request) -> float:
        """Return the seconds of delay added to an AWS call; control calls have none."""
        return 0.0 if request.path.startswith("/_stub/") else self.delay

    def serve(self, request: Request, connection: Connection) -> None:
        """Answer a control call."""
        name = request.path.removeprefix("/_stub/")
        if request.method == "POST":
            payload = json.loads(request.body or b"{}")
            method = {
                "send": self._send,
                "prefill": self._prefill,
                "faults": self._faults,
                "settings": self._settings,
                "purge": self._purge,
                "forget": self._forget,
            }[name]
            connection.respond(_json(method(payload)))
        elif name == "wait":
            query = parse_qs(request.query)
            queue = self._service.sqs.queues[query["queue"][0]]
            self._waiting.append((queue, int(query["deleted"][0]), connection))
            self.settled(queue)
        else:
            connection.respond(_json({"stats": self._stats, "dump": self._dump}[name]()))

    # --- calls ----------------------------------------------------------------------------------

    def _send(self, payload: dict[str, Any]) -> dict[str, Any]:
        queue = self._service.sqs.queues[payload["queue"]]
        names: list[str] = []
        for entry in payload["entries"]:
            message = queue.send(
                entry["body"],
                entry.get("attributes"),
                faults=entry.get("faults"),
                delay=entry.get("delay", 0),
            )
            names.append(message.message_id)
        self._service.sqs.wake(queue)
        return {"ids": names, "clock": self._clock()}

    def _prefill(self, payload: dict[str, Any]) -> dict[str, Any]:
        """`{"queue", "run", "count", "size", "recipients", "sender", "bucket", "head", "raw"}`."""
        queue = self._service.sqs.queues[payload["queue"]]
        bucket, run = payload["bucket"], payload["run"]
        content = mail_of(int(payload["size"]), payload["head"].encode())
        self._service.objects.put_family(f"{bucket}/incoming/{run}-", content)
        bodies = bodies_of(
            run,
            payload["sender"],
            payload["recipients"],
            bucket,
            raw=bool(payload.get("raw")),
        )
        queue.prefill(bodies, int(payload["count"]))
        self._service.sqs.wake(queue)
        return {"clock": self._clock()}

    def _faults(self, payload: dict[str, Any]) -> dict[str, Any]:
        if "key" in payload:
            self._service.object_faults[payload["key"]] = list(payload["faults"])
            self._service.record(
                {"do": "faults", "key": payload["key"], "faults": payload["faults"]}
            )
        else:
            coming = self._service.next_faults[payload["operation"]]
            coming.extend([payload["kind"]] * int(payload.get("times", 1)))
        return {}

    def _settings(self, payload: dict[str, Any]) -> dict[str, Any]:
        self.delay = float(payload.get("delay", self.delay))
        for queue in self._service.sqs.queues.values():
            queue.visibility = float(payload.get("visibility", queue.visibility))
            queue.hurry = float(payload.get("hurry", queue.hurry))
            queue.patient = float(payload.get("patient", queue.patient))
        return {}

    def _purge(self, payload: dict[str, Any]) -> dict[str, Any]:
        self._service.sqs.queues[payload["queue"]].purge()
        return {}

    def _forget(self, _payload: dict[str, Any]) -> dict[str, Any]:
        for queue in self._service.sqs.queues.values():
            queue.figures = Figures()
        return {}

    def settled(self, queue: Queue) -> None:
        """Answer the calls that wait for deletions, after a message was deleted."""
        if not self._waiting:
            return
        still: list[tuple[Queue, int, Connection]] = []
        for waited, deleted, connection in self._waiting:
            if waited is queue and queue.figures.deleted >= deleted:
                connection.respond(_json(self._stats()))
            elif not connection.closed:
                still.append((waited, deleted, connection))
        self._waiting = still

    def _stats(self) -> dict[str, Any]:
        service = self._service
        return {
            "clock": self._clock(),
            "calls": dict(service.calls),
            "faulted": dict(service.faulted),
            "bounces": len(service.bounces),
            "emails": len(service.sent),
            "queues": {
                name: {**asdict(queue.figures), **queue.counts(), "remaining": queue.remaining()}
                for name, queue in service.sqs.queues.items()
            },
        }

    def _dump(self) -> dict[str, Any]:
        service = self._service
        return {
            "queues": {
                name: [
                    {
                        "id": message.message_id,
                        "body": message.body,
                        "attributes": message.attributes,
                        "receives": message.receive_count,
                        "visible_in": message.visible_at - self._clock(),
                    }
                    for message in queue.messages()
                ]
                for name, queue in service.sqs.queues.items()
            },
            "bounces": service.bounces,
            "emails": service.sent,
            "objects": service.objects.keys(""),
        }


def bodies_of(
    run: str, sender: str, recipients: Sequence[str], bucket: str, *, raw: bool
) -> Iterator[tuple[str, str]]:
    """Yield JSON notifications without end, each with its own id and the next recipient."""
    patterns: list[tuple[str, str]] = []
    for recipient in recipients:
        mail = Accepted(MARK, sender, [recipient], bucket, f"incoming/{MARK}")
        text = notification(mail)
        body = text if raw else in_sns_envelope(text, MARK)
        patterns.append((body, json.dumps(body)))
    number = 0
    while True:
        body, encoded = patterns[number % len(patterns)]
        name = f"{run}-{number:09d}"
        yield body.replace(MARK, name), encoded.replace(MARK, name)
        number += 1


def _json(answer: dict[str, Any]) -> Response:
    return Response(
        body=json.dumps(answer).encode(), headers=[("content-type", "application/json")]
    )
