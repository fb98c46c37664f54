"""`deliver` in the fault harness, short. `make chaos` is the long version."""

import asyncio
import os
from pathlib import Path

import pytest
from tests.chaos.__main__ import told
from tests.chaos.plan import make
from tests.chaos.run import Run

SEED = int(os.environ.get("PLEXUS_CHAOS_SEED", "20261124"))


@pytest.mark.usefixtures("mail_host")
@pytest.mark.timeout(600)
def test_nothing_is_lost_and_nothing_doubled(tmp_path: Path) -> None:
    """Each (mail, mailbox) exactly once or accounted for, whatever is killed, cut or full."""
    plan = make(SEED, 300, 80)
    report = asyncio.run(Run(plan, tmp_path / "run", name="plexus-chaos-short").go())
    print(told(report))
    assert report.good, f"seed {SEED}, logs in {tmp_path}\n{told(report)}"
    assert report.faults_met() >= 60
    assert max(report.stops) < 25
