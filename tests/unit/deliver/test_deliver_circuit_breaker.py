"""The circuit breaker: open while the thing is away, closed again by itself."""

from __future__ import annotations

import threading

from postal_plexus.deliver.circuit_breaker import CircuitBreaker


def test_it_opens_once_and_closes_when_the_probe_finds_the_thing() -> None:
    """However many threads report that it is away, one probes."""
    answers = iter([False, True])
    probes: list[str] = []

    def probe() -> bool:
        probes.append(threading.current_thread().name)
        return next(answers)

    breaker = CircuitBreaker("thing", probe, threading.Event())
    assert breaker.closed
    for _ in range(3):
        breaker.trip("gone")
    assert not breaker.closed
    assert breaker.wait_closed()
    assert breaker.closed
    assert ["breaker thing"] * 2 == probes


def test_nobody_waits_for_it_when_the_service_stops() -> None:
    """The mail at hand goes back to the queue."""
    stopping = threading.Event()
    breaker = CircuitBreaker("thing", lambda: False, stopping)
    breaker.trip("gone")
    stopping.set()
    assert not breaker.wait_closed()
