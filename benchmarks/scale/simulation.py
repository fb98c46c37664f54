"""A day of mail on several hosts, calculated from measured costs: how old the queue becomes. Pure.

Every host takes the messages of its own mailboxes, in their order, over `connections` at once to
Dovecot. A message takes the latency of the mail store and processor time. The two processors of an
instance are shared with what clients do and with the notifications of other hosts' messages, which
each `deliver` receives and drops.

In unlimited mode an instance of type t4g is never throttled: whatever it uses above its baseline in
the mean of a day is billed. So too small an instance shows in `surplus_usd` and not in the ages.

Not simulated: SES, SNS and SQS on the way to `deliver`, which are the same for one host and for
many; mailboxes of very different size; a slow mail store.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from functools import lru_cache
from heapq import heapreplace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

DAY_SECONDS = 86400
MONTH_DAYS = 30
# https://aws.amazon.com/ec2/pricing/on-demand/: T4g in unlimited mode, each vCPU-hour, Linux.
SURPLUS_USD = 0.04
PROCESSORS = 2
# The share of a day's messages in each hour of a company: a third of the mean at night, and two
# peaks. A guess, like every profile; a busiest hour of 8.5 % is above what is usual.
OFFICE_DAY = (
    *(1.2, 1.0, 0.9, 0.9, 1.0, 1.5, 2.5, 4.5, 7.5, 8.5, 8.4, 7.8),
    *(6.3, 6.8, 8.0, 7.9, 7.2, 5.8, 3.9, 2.9, 2.2, 1.6, 1.2, 0.5),
)


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance type: its memory, and its baseline as a share of each of its two processors."""

    memory_mb: int
    baseline: float

    @property
    def processors(self) -> float:
        """Processors that it may use in the mean of a day without a surplus."""
        return PROCESSORS * self.baseline


# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/burstable-credits-baseline-concepts.html
INSTANCES = {
    "t4g.nano": Instance(512, 0.05),
    "t4g.micro": Instance(1024, 0.10),
    "t4g.small": Instance(2048, 0.20),
    "t4g.medium": Instance(4096, 0.20),
}


@dataclass(frozen=True, slots=True)
class Costs:
    """Processor milliseconds of each kind of work, and the waits of a delivery.

    `slowness`: how many times as long a processor of the instance takes as the measuring machine's.
    `idle`: processors that a host uses while nothing happens.
    """

    own_ms: float
    foreign_ms: float
    client_ms: float
    store_ms: float
    slowness: float
    idle: float
    connections: int = 3


@dataclass(frozen=True, slots=True)
class Load:
    """A day: mailboxes, messages to them, the share of each hour, and a message to everybody.

    `readers`: how many clients fetch each message. `to_all_at`: the second at which one message to
    all mailboxes arrives.
    """

    mailboxes: int
    messages: int
    hours: tuple[float, ...] = OFFICE_DAY
    readers: float = 1.5
    to_all_at: float = 9.5 * 3600


@dataclass(frozen=True, slots=True)
class Outage:
    """The first host is away for a time, in seconds of the day."""

    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """The ages of messages when they are in their mailboxes, in seconds, and what hosts use.

    `busiest_hour`: the share of both processors that the busiest host uses in its busiest hour.
    `mean_processors`: processors in use in the mean of the day, of the busiest host.
    """

    p50: float
    p99: float
    worst: float
    busiest_hour: float
    mean_processors: float
    surplus_usd: float


@lru_cache(maxsize=1)
def arrivals(load: Load, seed: int) -> tuple[float, ...]:
    """Return the seconds of the day at which messages arrive, in order."""
    chosen = random.Random(seed)
    hours = chosen.choices(range(len(load.hours)), weights=load.hours, k=load.messages)
    each = DAY_SECONDS / len(load.hours)
    times = [(hour + chosen.random()) * each for hour in hours]
    times += [load.to_all_at] * load.mailboxes
    times.sort()
    return tuple(times)


def ages(
    times: Sequence[float], service: list[float], connections: int, outage: Outage | None
) -> list[float]:
    """Return the age of each message of one host when it is in its mailbox.

    Args:
        times: when they arrive, in order.
        service: how long a delivery takes, by the hour of the day in which it begins.
        connections: how many are delivered at once.
        outage: when the host is away.
    """
    free = [0.0] * connections
    found: list[float] = []
    hour = DAY_SECONDS / len(service)
    last = len(service) - 1
    for time in times:
        begin = max(time, free[0])
        if outage is not None and outage.begin <= begin < outage.end:
            begin = outage.end
        end = begin + service[min(int(begin / hour), last)]
        heapreplace(free, end)
        found.append(end - time)
    return found


def processors(costs: Costs, own: float, foreign: float, readers: float) -> float:
    """Return the processors that a host uses at these rates of messages a second."""
    work = own * (costs.own_ms + readers * costs.client_ms) + foreign * costs.foreign_ms
    return costs.idle * costs.slowness + work * costs.slowness / 1000


def mean_processors(load: Load, costs: Costs, hosts: int) -> float:
    """Return the processors that each host uses in the mean of a day."""
    rate = (load.messages + load.mailboxes) / DAY_SECONDS
    return processors(costs, rate / hosts, rate - rate / hosts, load.readers)


def simulate(
    load: Load,
    costs: Costs,
    hosts: int,
    instance: Instance,
    *,
    outage: Outage | None = None,
    seed: int = 1,
) -> Outcome:
    """Return a day's outcome; mailboxes and their messages are spread evenly over the hosts."""
    times = arrivals(load, seed)
    chosen = random.Random(seed + 1)
    by_host: list[list[float]] = [[] for _ in range(hosts)]
    for time in times:
        by_host[chosen.randrange(hosts)].append(time)
    hour = DAY_SECONDS / len(load.hours)
    everything = _by_hour(times, load)
    found: list[float] = []
    busiest, means = 0.0, []
    for number, own_times in enumerate(by_host):
        own = _by_hour(own_times, load)
        used = [
            processors(costs, mine / hour, (every - mine) / hour, load.readers)
            for mine, every in zip(own, everything, strict=True)
        ]
        others = [
            each - mine / hour * costs.own_ms * costs.slowness / 1000
            for each, mine in zip(used, own, strict=True)
        ]
        service = [_service(costs, each) for each in others]
        found += ages(own_times, service, costs.connections, None if number else outage)
        busiest = max(busiest, *(each / PROCESSORS for each in used))
        means.append(sum(used) / len(used))
    found.sort()
    surplus = sum(max(0.0, mean - instance.processors) for mean in means)
    return Outcome(
        _rank(found, 50),
        _rank(found, 99),
        found[-1],
        busiest,
        max(means),
        surplus * 24 * MONTH_DAYS * SURPLUS_USD,
    )


def hosts_for(
    load: Load,
    costs: Costs,
    instance: Instance,
    sessions: float,
    sessions_a_host: int,
    most: int = 16,
) -> tuple[int | None, int | None]:
    """Return how many hosts the processors need without surplus, and how many the sessions need.

    None stands for more than `most`.
    """
    enough = (
        n for n in range(1, most + 1) if mean_processors(load, costs, n) <= instance.processors
    )
    by_sessions = math.ceil(sessions / sessions_a_host)
    return next(enough, None), by_sessions if by_sessions <= most else None


def _service(costs: Costs, others: float) -> float:
    """Return the seconds of a delivery while all connections are in use."""
    share = min(1.0, max(0.05, PROCESSORS - others) / costs.connections)
    return (costs.store_ms + costs.own_ms * costs.slowness / share) / 1000


def _by_hour(times: Sequence[float], load: Load) -> list[int]:
    counts = [0] * len(load.hours)
    hour = DAY_SECONDS / len(load.hours)
    for time in times:
        counts[min(int(time / hour), len(counts) - 1)] += 1
    return counts


def _rank(ordered: list[float], percent: float) -> float:
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
