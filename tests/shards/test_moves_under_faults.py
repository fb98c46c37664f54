"""Two hosts in the fault harness, short: mailboxes move while parts of both are killed or cut off.

`make chaos` has the long version.
"""

import asyncio
import os
from dataclasses import replace

import pytest
from tests.chaos.__main__ import told
from tests.chaos.plan import READ, Outage, PlannedOutage, Stage, make
from tests.chaos.run import Run

SEED = int(os.environ.get("PLEXUS_CHAOS_SEED", "20261129"))
ANN, JON = READ
OUTAGES = (
    PlannedOutage(2, Stage.MAIL, Outage.MOVE, 0, 1, ANN),
    PlannedOutage(4, Stage.DOT, Outage.KILL_DELIVER, 0.3, 1),
    PlannedOutage(6, Stage.ANSWERED, Outage.STALE_DIRECTORY, 4.0, 2),
    PlannedOutage(8, Stage.CONTENT, Outage.MOVE, 0, 2, JON),
    PlannedOutage(12, Stage.DOT, Outage.KILL_DOVECOT, 0.3, 1),
    PlannedOutage(16, Stage.PASSED, Outage.SUSPEND_DELIVER, 6.0, 2),
    PlannedOutage(24, Stage.MAIL, Outage.PARTITION, 2.0, 1),
    PlannedOutage(30, Stage.DOT, Outage.KILL_DOVECOT, 0.3, 2),
    PlannedOutage(36, Stage.MAIL, Outage.MOVE, 0, 2, ANN),
)


@pytest.mark.timeout(300)
def test_moves_under_faults_lose_and_double_nothing(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Each message once, each flag that a client was told is kept, no UID is another message."""
    plan = make(SEED, 100, 20, outages=False, hosts=2)
    directory = tmp_path_factory.mktemp("chaos") / "run"
    run = Run(replace(plan, outages=OUTAGES), directory, name="plexus-chaos-two")
    report = asyncio.run(run.go())
    print(told(report))
    assert report.good, f"seed {SEED}, logs in {directory}\n{told(report)}"
    assert len(OUTAGES) == sum(report.outages.values())
    assert report.flagged > 0
