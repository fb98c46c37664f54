"""One process with one client: prints its memory, its processor time and its throughput as JSON.

python -m benchmarks.http_clients.program CLIENT HOST PORT MAILS
"""

from __future__ import annotations

import json
import queue
import sys
import threading
import time

from benchmarks.http_clients.clients import CLIENTS, Exchange
from postal_plexus.deliver.aws.signing import Credentials, Signer, payload_hash

THREADS = 20
STACK = 256 * 1024
_CREDENTIALS = Credentials("stub", "stub")
_JSON = {"content-type": "application/x-amz-json-1.0"}


class Aws:
    """One thread's calls, signed as `deliver` signs them."""

    def __init__(self, exchange: Exchange, host: str, signers: dict[str, Signer]) -> None:
        self._exchange = exchange
        self._host = host
        self._signers = signers

    def call(
        self, service: str, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> bytes:
        """Send one request; its answer's body."""
        headers = {"host": self._host, **headers}
        head = self._signers[service].head(
            method, path, headers, payload_hash(body), _CREDENTIALS, time.time()
        )
        line = head[head.rindex(b"authorization: ") + 15 :].rstrip()
        status, answer = self._exchange(
            method, path, {**headers, "authorization": line.decode()}, body
        )
        assert status == 200, (status, answer[:200])
        return answer

    def sqs(self, operation: str, **fields: object) -> dict[str, list[dict[str, str]]]:
        """Make one call of SQS."""
        url = f"http://{self._host}/000000000000/mail"
        body = json.dumps({"QueueUrl": url, **fields}).encode()
        headers = {
            **_JSON,
            "content-length": str(len(body)),
            "x-amz-target": f"AmazonSQS.{operation}",
        }
        return json.loads(self.call("sqs", "POST", "/", headers, body) or b"{}")

    def get(self, key: str) -> bytes:
        """Get one object of S3."""
        return self.call("s3", "GET", f"/{key}", {"x-amz-content-sha256": payload_hash(b"")}, b"")


def memory() -> dict[str, float]:
    """Resident and anonymous memory, in MB."""
    with open("/proc/self/status", encoding="ascii") as file:  # noqa: PTH123 (pathlib costs memory)
        fields = dict(line.split(":", 1) for line in file)
    return {
        name: int(fields[key].split()[0]) / 1024
        for name, key in (("resident_mb", "VmRSS"), ("anonymous_mb", "RssAnon"))
    }


def main() -> None:
    """Receive, GET and delete that many messages."""
    client, host, port, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    threading.stack_size(STACK)
    connect = CLIENTS[client](host, port)
    signers = {service: Signer(service, "us-east-1") for service in ("s3", "sqs")}
    authority = f"{host}:{port}"
    start = memory()
    entries: queue.SimpleQueue[dict[str, str] | None] = queue.SimpleQueue()
    octets = [0] * THREADS

    def receive() -> None:
        aws = Aws(connect(), authority, signers)
        received = 0
        while received < count:
            answer = aws.sqs("ReceiveMessage", MaxNumberOfMessages=10, VisibilityTimeout=120)
            for entry in answer.get("Messages") or ():
                entries.put(entry)
                received += 1
        for _ in range(THREADS):
            entries.put(None)

    def work(number: int) -> None:
        s3, sqs = (Aws(connect(), authority, signers) for _ in range(2))
        while entry := entries.get():
            octets[number] += len(s3.get(entry["Body"]))
            deletes = [{"Id": "0", "ReceiptHandle": entry["ReceiptHandle"]}]
            sqs.sqs("DeleteMessageBatch", Entries=deletes)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    threads.append(threading.Thread(target=receive))
    begun, used = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds, cpu = time.perf_counter() - begun, time.process_time() - used
    found = {
        "start": start,
        "end": memory(),
        "mails_per_second": count / seconds,
        "cpu_ms_per_mail": cpu / count * 1000,
        "octets": sum(octets),
    }
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
