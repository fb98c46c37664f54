"""The simulated day of many mailboxes: what it must get right without any measured figure."""

import pytest
from benchmarks.scale.simulation import (
    DAY_SECONDS,
    INSTANCES,
    Costs,
    Load,
    Outage,
    ages,
    arrivals,
    hosts_for,
    mean_processors,
    simulate,
)

SMALL = INSTANCES["t4g.small"]
COSTS = Costs(own_ms=10, foreign_ms=1, client_ms=5, store_ms=20, slowness=1, idle=0.01)
LOAD = Load(mailboxes=100, messages=20_000)


def test_a_message_that_meets_nobody_waits_for_nothing() -> None:
    """Its age is the time of its delivery."""
    assert ages([0.0, 10.0], [2.0], 1, None) == [2.0, 2.0]


def test_messages_that_come_at_once_wait_for_each_other() -> None:
    """Four at once over two connections: two wait for the first two."""
    assert ages([5.0] * 4, [2.0], 2, None) == [2.0, 2.0, 4.0, 4.0]


def test_a_host_that_is_away_delivers_when_it_is_back() -> None:
    """A message that comes in the middle waits for the rest of the outage, one before it does not."""
    away = Outage(100.0, 700.0)
    assert ages([10.0, 400.0], [1.0], 3, away) == [1.0, 301.0]


def test_the_day_has_each_message_and_one_to_everybody() -> None:
    """In order, within the day, as many as asked for; night hours have fewer than the busiest."""
    times = arrivals(LOAD, seed=3)
    assert len(times) == LOAD.messages + LOAD.mailboxes
    assert list(times) == sorted(times)
    assert 0 <= times[0] <= times[-1] < DAY_SECONDS
    assert sum(3 * 3600 <= t < 4 * 3600 for t in times) < sum(
        9 * 3600 <= t < 9.4 * 3600 for t in times
    )


def test_the_same_seed_is_the_same_day() -> None:
    """So that a figure can be had again."""
    assert simulate(LOAD, COSTS, 2, SMALL, seed=7) == simulate(LOAD, COSTS, 2, SMALL, seed=7)


def test_more_hosts_make_the_queue_younger_but_not_for_nothing() -> None:
    """Half of the work of a message's delivery, and all of the notifications."""
    busy = Load(mailboxes=2000, messages=400_000)
    one, four = (simulate(busy, COSTS, hosts, SMALL) for hosts in (1, 4))
    assert four.worst < one.worst
    assert one.mean_processors / 4 < four.mean_processors < one.mean_processors


def test_only_the_lost_hosts_own_messages_wait() -> None:
    """With ten hosts a tenth of them: the 99th percentile rises only if an hour is long enough."""
    away = Outage(3 * 3600, 3 * 3600 + 600)
    usual = simulate(LOAD, COSTS, 10, SMALL)
    lost = simulate(LOAD, COSTS, 10, SMALL, outage=away)
    assert lost.worst > 500
    assert lost.p99 == pytest.approx(usual.p99, rel=0.2)


def test_a_surplus_is_billed_only_above_the_baseline() -> None:
    """A nano's baseline is a tenth of a processor; the same work is within that of a small."""
    load = Load(mailboxes=1000, messages=600_000)
    used = mean_processors(load, COSTS, 1)
    assert INSTANCES["t4g.nano"].processors < used < SMALL.processors
    nano, small = (simulate(load, COSTS, 1, INSTANCES[f"t4g.{size}"]) for size in ("nano", "small"))
    assert small.surplus_usd == 0
    assert nano.surplus_usd == pytest.approx((used - 0.1) * 720 * 0.04, rel=0.05)


def test_hosts_are_counted_by_processors_and_by_sessions() -> None:
    """The larger of both is needed; beyond sixteen there is no answer."""
    assert hosts_for(LOAD, COSTS, SMALL, sessions=1200, sessions_a_host=500) == (1, 3)
    assert hosts_for(LOAD, COSTS, SMALL, sessions=9000, sessions_a_host=500) == (1, None)
    heavy = Load(mailboxes=10, messages=50_000_000)
    assert hosts_for(heavy, COSTS, SMALL, sessions=10, sessions_a_host=500)[0] is None
