"""The stub's front door: tells SQS, S3, SES, credentials and control calls apart, applies faults.

Faults come from two places. A message carries its own, so that a run repeats by its seed; and the
control call `faults` sets some for the next calls of one operation, whoever they concern.

| fault | what the caller sees |
|---|---|
| `error500`, `error503` | the answer of a broken or overloaded service; nothing was done |
| `throttle` | SQS's or S3's throttling answer; nothing was done |
| `expired` | 403, the credentials are no longer valid |
| `drop-before` | the connection closes; nothing was done |
| `drop-after` | it was done, and the connection closes without an answer |
| `slow` | it was done, and the answer comes two seconds later |
| `truncate` | S3 only: the connection closes in the middle of the object |
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict, deque
from datetime import UTC, datetime
from email.utils import formatdate
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, parse_qsl

from benchmarks.aws_stub.objects import Generated, NoSuchObjectError, Objects, Stored
from benchmarks.aws_stub.queue import QueueError
from benchmarks.aws_stub.wire import Connection, Request, Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.aws_stub.control import Control
    from benchmarks.aws_stub.sqs import Sqs

JSON_TYPE = [("content-type", "application/x-amz-json-1.0")]
XML_TYPE = [("content-type", "application/xml")]
SLOW = 2.0  # seconds

OPERATIONS = {
    "ReceiveMessage": "receive",
    "DeleteMessage": "delete",
    "DeleteMessageBatch": "delete",
    "ChangeMessageVisibility": "change",
    "ChangeMessageVisibilityBatch": "change",
    "SendMessage": "send",
    "SendMessageBatch": "send",
}


class Service:
    """Serves each request of each connection."""

    def __init__(
        self,
        sqs: Sqs,
        objects: Objects,
        clock: Callable[[], float],
        date: Callable[[], float],
    ) -> None:
        self.sqs = sqs
        self.objects = objects
        self.control: Control | None = None
        self.calls: Counter[str] = Counter()
        self.faulted: Counter[str] = Counter()
        self.next_faults: defaultdict[str, deque[str]] = defaultdict(deque)
        self.object_faults: dict[str, list[str]] = {}
        self.bounces: list[dict[str, str]] = []
        self.sent: list[dict[str, Any]] = []
        self.record: Callable[[dict[str, Any]], None] = lambda _entry: None
        self._clock = clock
        self._date = date
        self._last_bounce = float("-inf")

    def restore(self, entry: dict[str, Any]) -> None:
        """Replay one recorded change after a crash of the stub."""
        if entry["do"] == "bounce":
            self.bounces.append(entry["fields"])
        elif entry["do"] == "email":
            self.sent.append(entry["fields"])
        elif entry["do"] == "faults":
            self.object_faults[entry["key"]] = entry["faults"]
        elif entry["do"] == "met":
            # An object's fault that was met before the crash is not met again.
            faults = self.object_faults.get(entry.get("key", ""), [])
            if entry["fault"] in faults:
                faults.remove(entry["fault"])

    def serve(self, request: Request, connection: Connection) -> None:
        """Answer, now or later."""
        path = request.path
        if path.startswith("/_stub/"):
            assert self.control is not None
            self.control.serve(request, connection)
        elif path == "/_credentials":
            self.calls["credentials"] += 1
            connection.respond(_credentials())
        elif "x-amz-target" in request.headers:
            self._sqs(request, connection)
        elif path == "/" and request.method == "POST":
            self._ses(request, connection)
        elif path.startswith("/v2/email/") and request.method == "POST":
            self._ses_v2(request, connection)
        else:
            self._s3(request, connection)

    # --- SQS ------------------------------------------------------------------------------------

    def _sqs(self, request: Request, connection: Connection) -> None:
        name = request.headers["x-amz-target"].rpartition(".")[2]
        self.calls[name] += 1
        try:
            payload = json.loads(request.body)
            fault = self._sqs_fault(OPERATIONS.get(name, name), payload)
            if fault is not None and self._refuse(fault, connection, _sqs_error):
                return
            answer = self._answer(fault, connection)
            if name == "ReceiveMessage":
                self.sqs.receive(
                    payload,
                    lambda done: answer(Response(body=done, headers=JSON_TYPE)),
                    lambda: connection.closed,
                )
            else:
                answer(_json(self.sqs.call(name, payload)))
        except QueueError as error:
            connection.respond(_sqs_error(400, error.code, str(error)))
        except ValueError as error:
            connection.respond(_sqs_error(400, "SerializationException", str(error)))

    def _sqs_fault(self, operation: str, payload: dict[str, Any]) -> str | None:
        queue = self.sqs.queue_of(payload) if "QueueUrl" in payload else None
        if queue is not None:
            if operation == "receive":
                message = queue.peek()
                messages = [message] if message else []
            else:
                entries = payload.get("Entries") or [payload]
                found = [queue.find(str(entry.get("ReceiptHandle", ""))) for entry in entries]
                messages = [message for message in found if message]
            for message in messages:
                fault = queue.take_fault(message, operation)
                if fault is not None:
                    return fault
        return self._next_fault(operation)

    # --- S3 -------------------------------------------------------------------------------------

    def _s3(self, request: Request, connection: Connection) -> None:
        key = request.path.lstrip("/")
        operation = {"GET": "get", "HEAD": "head", "PUT": "put", "DELETE": "remove"}.get(
            request.method
        )
        if operation is None or "/" not in key:
            connection.respond(_s3_error(400, "InvalidRequest", "The stub serves objects only."))
            return
        self.calls[f"{request.method} object"] += 1
        given = dict(parse_qsl(request.query, keep_blank_values=True))
        if "versions" in given:
            connection.respond(self._list_versions(key, given["prefix"]))
            return
        fault = self._object_fault(operation, key)
        if fault is not None and self._refuse(fault, connection, _s3_error):
            return
        answer = self._answer(fault, connection)
        if operation == "put" and "modified" in given:
            self.objects.put_version(key, request.body, float(given["modified"]))
            answer(Response())
        elif operation == "put":
            answer(Response(headers=[("etag", self.objects.put(key, request.body).etag)]))
        elif operation == "remove":
            self.objects.delete(key)
            answer(Response(status=204))
        else:
            version = given.get("versionId", "")
            answer(self._object(request, key, version, truncate=fault == "truncate"))

    def _list_versions(self, bucket: str, key: str) -> Response:
        entries = "".join(
            f"<Version><Key>{key}</Key><VersionId>{each.version}</VersionId><LastModified>"
            f"{datetime.fromtimestamp(each.modified, UTC).isoformat()}</LastModified></Version>"
            for each in self.objects.versions(bucket + key)
        )
        body = f"<ListVersionsResult>{entries}</ListVersionsResult>".encode()
        return Response(body=body, headers=[self._date_field()])

    def _date_field(self) -> tuple[str, str]:
        return "date", formatdate(self._date(), usegmt=True)

    def _object(self, request: Request, key: str, version: str, *, truncate: bool) -> Response:
        try:
            content = self.objects.get(key)
        except NoSuchObjectError:
            return _s3_error(404, "NoSuchKey", "The specified key does not exist.")
        if version:
            (content,) = [each for each in self.objects.versions(key) if each.version == version]
        headers = [("etag", content.etag), ("accept-ranges", "bytes"), self._date_field()]
        if isinstance(content, Stored) and content.version:
            headers.append(("x-amz-version-id", content.version))
        if request.headers.get("if-none-match") == content.etag:
            return Response(status=304, headers=headers)
        if request.headers.get("if-match", content.etag) != content.etag:
            return _s3_error(412, "PreconditionFailed", "At least one precondition did not hold.")
        start, stop, status = 0, content.size, 200
        wanted = request.headers.get("range")
        if wanted is not None:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start = int(first)
            stop = min(content.size, int(last) + 1) if last else content.size
            if start >= content.size:
                return _s3_error(416, "InvalidRange", "The range cannot be satisfied.")
            status = 206
            headers.append(("content-range", f"bytes {start}-{stop - 1}/{content.size}"))
        cut = (stop - start) // 2 if truncate else None
        if isinstance(content, Stored) and stop - start == content.size:
            return Response(status, content.content, headers, cut_after=cut)
        blocks = _blocks(content, start, stop)
        return Response(status, b"", headers, stream=blocks, length=stop - start, cut_after=cut)

    def _object_fault(self, operation: str, key: str) -> str | None:
        faults = self.object_faults.get(key)
        if faults:
            for index, fault in enumerate(faults):
                name, _, kind = fault.partition(":")
                if name == operation:
                    del faults[index]
                    self.record({"do": "met", "fault": fault, "key": key})
                    return kind
        return self._next_fault(operation)

    # --- SES ------------------------------------------------------------------------------------

    def _ses(self, request: Request, connection: Connection) -> None:
        """Answer SES v1's query protocol: SendBounce, and SendRawEmail for forwards."""
        fields = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        action = fields.get("Action", "")
        self.calls[action or "POST /"] += 1
        fault = self._next_fault("bounce" if action == "SendBounce" else "email")
        if fault is not None and self._refuse(fault, connection, _ses_error):
            return
        answer = self._answer(fault, connection)
        if action == "SendBounce":
            now = self._clock()
            if now - self._last_bounce < 1:
                connection.respond(_ses_error(400, "Throttling", "Maximum sending rate exceeded."))
                return
            self._last_bounce = now
            self.bounces.append(fields)
            self.record({"do": "bounce", "fields": fields})
        elif action == "SendRawEmail":
            self.sent.append(fields)
            self.record({"do": "email", "fields": fields})
        else:
            connection.respond(
                _ses_error(400, "InvalidAction", f"The stub does not know {action}.")
            )
            return
        number = len(self.bounces) + len(self.sent)
        answer(
            Response(
                body=(
                    f'<{action}Response xmlns="http://ses.amazonaws.com/doc/2010-12-01/">'
                    f"<{action}Result><MessageId>stub-{number:08d}</MessageId></{action}Result>"
                    f"<ResponseMetadata><RequestId>stub</RequestId></ResponseMetadata>"
                    f"</{action}Response>"
                ).encode(),
                headers=[("content-type", "text/xml")],
            )
        )

    def _ses_v2(self, request: Request, connection: Connection) -> None:
        """SendEmail of SES v2."""
        self.calls["SendEmail"] += 1
        fault = self._next_fault("email")
        if fault is not None and self._refuse(fault, connection, _sqs_error):
            return
        fields = json.loads(request.body)
        self.sent.append(fields)
        self.record({"do": "email", "fields": fields})
        self._answer(fault, connection)(_json({"MessageId": f"stub-{len(self.sent):08d}"}))

    # --- faults ---------------------------------------------------------------------------------

    def _next_fault(self, operation: str) -> str | None:
        faults = self.next_faults.get(operation)
        return faults.popleft() if faults else None

    def _refuse(
        self, fault: str, connection: Connection, error: Callable[[int, str, str], Response]
    ) -> bool:
        """Answer the call and return True if the fault prevents it; return False otherwise."""
        self.faulted[fault] += 1
        if fault == "error500":
            connection.respond(error(500, "InternalError", "We encountered an internal error."))
        elif fault == "error503":
            connection.respond(error(503, "ServiceUnavailable", "Reduce your request rate."))
        elif fault == "throttle":
            status, code = (503, "SlowDown") if error is _s3_error else (400, "ThrottlingException")
            connection.respond(error(status, code, "Rate exceeded."))
        elif fault == "expired":
            code = "ExpiredToken" if error is _s3_error else "ExpiredTokenException"
            connection.respond(error(403, code, "The security token is expired."))
        elif fault == "drop-before":
            connection.abort()
        elif fault not in {"drop-after", "slow", "truncate"}:
            raise ValueError(f"there is no fault {fault!r}")
        return fault in {"error500", "error503", "throttle", "expired", "drop-before"}

    def _answer(self, fault: str | None, connection: Connection) -> Callable[[Response], None]:
        """Return how to send the answer under a fault that lets the call succeed."""
        if fault == "drop-after":
            return lambda _response: connection.abort()
        if fault == "slow":
            loop = asyncio.get_running_loop()
            return lambda response: _later(loop, connection, response)
        return connection.respond


def _later(loop: asyncio.AbstractEventLoop, connection: Connection, response: Response) -> None:
    loop.call_later(SLOW, connection.respond, response)


def _blocks(content: Stored | Generated, start: int, stop: int) -> Any:
    return content.blocks(start, stop)


def _json(answer: dict[str, Any]) -> Response:
    return Response(body=json.dumps(answer).encode(), headers=JSON_TYPE)


def _sqs_error(status: int, code: str, text: str) -> Response:
    return Response(
        status, json.dumps({"__type": code, "message": text}).encode(), headers=JSON_TYPE
    )


def _s3_error(status: int, code: str, text: str) -> Response:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{text}</Message></Error>"
    return Response(status, body.encode(), headers=XML_TYPE)


def _ses_error(status: int, code: str, text: str) -> Response:
    body = (
        f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{text}</Message>"
        f"</Error><RequestId>stub</RequestId></ErrorResponse>"
    )
    return Response(status, body.encode(), headers=[("content-type", "text/xml")])


def _credentials() -> Response:
    return Response(
        body=json.dumps(
            {
                "AccessKeyId": "ASIASTUB",
                "SecretAccessKey": "stub",
                "Token": "stub",
                "Expiration": "2099-01-01T00:00:00Z",
            }
        ).encode(),
        headers=[("content-type", "application/json")],
    )
