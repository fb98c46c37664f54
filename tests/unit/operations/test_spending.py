"""Cost Explorer's answers are added up."""

from __future__ import annotations

from datetime import date
from typing import Any

from postal_plexus.operations.spending import Spending, by_service


def group(service: str, usd: str) -> dict[str, Any]:
    """Return one group of GetCostAndUsage (AWS Billing API reference)."""
    return {"Keys": [service], "Metrics": {"UnblendedCost": {"Amount": usd, "Unit": "USD"}}}


def test_services_are_added_up_the_most_first() -> None:
    """Over all periods, with credits, without amounts below half a cent."""
    results = [
        {"Groups": [group("Amazon EC2", "1.25"), group("Amazon SES", "0.004")]},
        {"Groups": [group("Amazon EC2", "0.5"), group("EFS", "2.0"), group("Refund", "-3")]},
    ]
    found = by_service(results)
    assert [("EFS", 2.0), ("Amazon EC2", 1.75), ("Refund", -3.0)] == found
    assert 0.75 == Spending(date(2026, 11, 1), tuple(found)).total
    assert [] == by_service([])
