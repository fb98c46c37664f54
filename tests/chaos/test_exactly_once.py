"""`deliver` in the fault harness, short. `make chaos` is the long version."""

import asyncio
import os

import pytest
from tests.chaos.__main__ import told
from tests.chaos.plan import make
from tests.chaos.run import Run

SEED = int(os.environ.get("PLEXUS_CHAOS_SEED", "20261124"))


@pytest.mark.usefixtures("mail_host")
@pytest.mark.timeout(600)
def test_nothing_is_lost_and_nothing_doubled(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each (mail, mailbox) exactly once or accounted for, whatever is killed, cut or full."""
    plan = make(SEED, 300, 80)
    # Not tmp_path: with the test's name, a socket's path has more than the 107 octets that Linux takes.
    directory = tmp_path_factory.mktemp("chaos") / "run"
    report = asyncio.run(Run(plan, directory, name="plexus-chaos-short").go())
    print(told(report))
    assert report.good, f"seed {SEED}, logs in {directory}\n{told(report)}"
    assert report.faults_met() >= 60
    assert max(report.stops) < 25
