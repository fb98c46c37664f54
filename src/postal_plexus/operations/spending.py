"""What an account has cost since the first of the month, by service (AWS Cost Explorer).

Each request costs $0.01, so it is made only on demand.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from postal_plexus.operations.system import told

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from postal_plexus.operations.system import System


@dataclass(frozen=True, slots=True)
class Spending:
    """Dollars of the whole account since the first of the month, by service, highest first."""

    since: date
    services: tuple[tuple[str, float], ...]

    @property
    def total(self) -> float:
        """The sum."""
        return sum(usd for _, usd in self.services)


def so_far(system: System, today: date) -> Spending:
    """Ask Cost Explorer. Raise OperationError as `System.client` does."""
    first = today.replace(day=1)
    client: Any = system.client("ce")
    with told("Cost Explorer"):
        answer = client.get_cost_and_usage(
            TimePeriod={"Start": f"{first}", "End": f"{today + timedelta(days=1)}"},
            Granularity="MONTHLY",
            Metrics=["UnblendedCost"],
            GroupBy=[{"Type": "DIMENSION", "Key": "SERVICE"}],
        )
    return Spending(first, tuple(by_service(answer["ResultsByTime"])))


def by_service(results: Iterable[Mapping[str, Any]]) -> list[tuple[str, float]]:
    """Add up GetCostAndUsage's results by service, the highest first, without zeros."""
    sums: dict[str, float] = {}
    for each in results:
        for group in each["Groups"]:
            (service,) = group["Keys"]
            usd = float(group["Metrics"]["UnblendedCost"]["Amount"])
            sums[service] = sums.get(service, 0.0) + usd
    found = [(service, usd) for service, usd in sums.items() if abs(usd) >= 0.005]
    return sorted(found, key=lambda each: -each[1])
