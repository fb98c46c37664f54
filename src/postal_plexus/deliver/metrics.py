"""Metrics in CloudWatch's embedded metric format, on standard output among the log lines.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
One line a minute, and one at the end. Eight metrics with one dimension, of the ten that CloudWatch
offers for free. Forwarded and ForwardsBounced are included only if there is something to count.
DirectoryRefused and HostShort (`host_room`) have lines of their own, written only while there is a
problem. docs/delivery.md lists the alarms.
"""

import threading
import time
from collections.abc import Callable

from postal_plexus.deliver import host_room, maillog
from postal_plexus.mail.disposition import Disposition, Fate

NAMESPACE = "PostalPlexus"
_INTERVAL_SECONDS = 60.0
_MOST_VALUES = 100  # values of one metric in one line, by the specification
UNITS = {
    "Received": "Count",
    "Delivered": "Count",
    "Deferred": "Count",
    "Failed": "Count",
    "DeadLettered": "Count",
    "AgeAtDelivery": "Seconds",
    "OctetsDelivered": "Bytes",
    "InFlight": "Count",
}
_FORWARDED = ("Forwarded", "ForwardsBounced")


class Metrics:
    """Counters since the last line. Threads share it."""

    def __init__(
        self,
        hostname: str,
        look: Callable[[], dict[str, int]] = dict,
        counted_as: str = "",
    ) -> None:
        """Initialize the counters.

        Args:
            hostname: this mail host.
            look: returns what is short on it: percentages by name.
            counted_as: the host under whose name the minute's numbers are reported; this one if
                empty. Hosts of one stack share it, because CloudWatch bills each metric.
        """
        self._hostname = hostname
        self._counted_as = counted_as or hostname
        self._look = look
        self._lock = threading.Lock()
        self._counts = dict.fromkeys((*UNITS, *_FORWARDED), 0)
        self._ages: list[float] = []
        self._written_at = time.monotonic()

    def received(self, entries: int) -> None:
        """Count entries received from the queue."""
        with self._lock:
            self._counts["Received"] += entries

    def dispositions(self, found: list[Disposition], age: float, octets: int) -> None:
        """Count the outcome of one message in one attempt."""
        with self._lock:
            counts = self._counts
            for disposition in found:
                if disposition.fate is Fate.DELIVERED:
                    counts["Delivered"] += 1
                    counts["OctetsDelivered"] += octets
                    if len(self._ages) < _MOST_VALUES:
                        self._ages.append(round(max(0.0, age), 3))
                elif disposition.fate is Fate.FORWARDED:
                    counts["Forwarded"] += 1
                elif disposition.fate is Fate.DEFERRED:
                    counts["Deferred"] += 1
                elif disposition.fate is Fate.FAILED:
                    counts["Failed"] += 1

    def forward_bounced(self) -> None:
        """Count a forward for which SES reports a bounce or complaint."""
        with self._lock:
            self._counts["ForwardsBounced"] += 1

    def dead_lettered(self) -> None:
        """Count a dead letter."""
        with self._lock:
            self._counts["DeadLettered"] += 1

    def tick(self, in_flight: int, *, force: bool = False) -> None:
        """Write the line if a minute has passed. To be called every few seconds."""
        now = time.monotonic()
        if not force and now - self._written_at < _INTERVAL_SECONDS:
            return
        self._written_at = now
        with self._lock:
            values: dict[str, object] = {**self._counts, "InFlight": in_flight}
            if self._ages:
                values["AgeAtDelivery"] = self._ages
            else:
                del values["AgeAtDelivery"]
            for name in _FORWARDED:
                if not values[name]:
                    del values[name]
            self._counts = dict.fromkeys(self._counts, 0)
            self._ages = []
        self._write(values, Host=self._counted_as)
        if short := self._look():
            self._write({host_room.METRIC: len(short)}, used=short)

    def directory_refused(self) -> None:
        """Write that a broken directory exists and the last good one is in use."""
        self._write({"DirectoryRefused": 1})

    def _write(self, values: dict[str, object], **properties: object) -> None:
        metrics = [{"Name": name, "Unit": UNITS.get(name, "Count")} for name in values]
        maillog.metrics(
            {
                "_aws": {
                    "Timestamp": int(time.time() * 1000),
                    "CloudWatchMetrics": [
                        {"Namespace": NAMESPACE, "Dimensions": [["Host"]], "Metrics": metrics}
                    ],
                },
                "Host": self._hostname,
                **values,
                **properties,
            }
        )
