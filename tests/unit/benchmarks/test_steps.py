"""The steps of a message that the benchmark times are still those of the service."""

from __future__ import annotations

from benchmarks.deliver.steps import main


def test_each_step_runs_and_takes_time() -> None:
    """Once each: what `python -m benchmarks.deliver.steps` measures."""
    assert all(taken > 0 for taken in main(times=1).values())
