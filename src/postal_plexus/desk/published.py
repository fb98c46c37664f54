"""The ports of what the tasks publish on their host, by the names that a desk has for them."""

from __future__ import annotations

from dataclasses import replace

from awsdesk.settings import PREFERRED_PORTS, Ports

PUBLISHED = {
    "993": "imaps",
    "465": "submissions",
    "587": "submission",
    "4190": "sieve",
    "443": "https",
}
# Above 1024, and near the real ones.
_USUAL = {"imaps": 1993, "submissions": 1465, "submission": 1587, "sieve": 4190, "https": 8443}
USUAL_PORTS = replace(PREFERRED_PORTS, tasks=_USUAL)
ANY_PORTS = Ports(tasks=dict.fromkeys(PUBLISHED.values(), 0))
