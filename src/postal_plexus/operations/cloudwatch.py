"""Read metrics from CloudWatch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from postal_plexus.operations.system import told

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric to read, and the statistic for each period (`Maximum`)."""

    namespace: str
    name: str
    statistic: str
    dimensions: Mapping[str, str]


def datapoints(
    client: Any, metric: Metric, since: datetime, until: datetime, *, period: int
) -> list[dict[str, Any]]:
    """Return a metric's values, unordered; `period` in seconds. Raise OperationError."""
    with told("CloudWatch"):
        return client.get_metric_statistics(
            Namespace=metric.namespace,
            MetricName=metric.name,
            Dimensions=[{"Name": key, "Value": value} for key, value in metric.dimensions.items()],
            StartTime=since,
            EndTime=until,
            Period=period,
            Statistics=[metric.statistic],
        )["Datapoints"]


def newest(
    client: Any, metric: Metric, since: datetime, until: datetime, *, period: int
) -> float | None:
    """Return a metric's newest value; None if there is none. Raise OperationError."""
    found = datapoints(client, metric, since, until, period=period)
    last = max(found, key=lambda each: each["Timestamp"], default=None)
    return None if last is None else float(last[metric.statistic])
