"""The order of the files: longest first, so that no worker is left with a long one at the end.

pytest-xdist hands whole files out in this order (`--dist loadfile --no-loadscope-reorder`). Seconds
are a rough measure on two cores; a file that is not named here is short. `make test
PYTEST_ARGS=--durations=50` shows when one should be.
"""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent
SECONDS = {
    "chaos/test_exactly_once.py": 230,
    "service/pulumi_engine/test_engine.py": 200,
    "service/test_certificates.py": 200,
    "chaos/test_harness.py": 200,
    "system/test_people.py": 180,
    "system/test_hardening.py": 160,
    "system/test_failures.py": 150,
    "system/test_weekly_build.py": 130,
    "service/pulumi_engine/test_stack.py": 120,
    "service/pulumi_engine/test_published.py": 110,
    "service/test_logins.py": 100,
    "service/deliver/test_deliver_service.py": 100,
    "service/test_dovecot.py": 90,
    "pulumi/test_registrations.py": 80,
    "service/test_postfix.py": 80,
    "service/desk/test_agent.py": 80,
    "service/test_submission_flood.py": 80,
    "service/desk/test_restart.py": 80,
    "service/test_memory.py": 70,
    "service/test_mailboxes.py": 70,
    "system/test_directory_live.py": 70,
    "service/test_door.py": 60,
    "service/test_tls.py": 60,
    "system/test_incoming.py": 60,
    "service/test_certificate_change.py": 60,
    "service/test_limits.py": 45,
    "system/test_outgoing.py": 45,
    "system/test_console.py": 45,
    "service/host/test_host_boot.py": 40,
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the files, and keep the order within each. Raise UsageError for a name that is gone."""
    gone = [name for name in SECONDS if not (ROOT / name).is_file()]
    if gone:
        raise pytest.UsageError(f"tests/conftest.py names files that are gone: {', '.join(gone)}")
    seconds = {ROOT / name: each for name, each in SECONDS.items()}
    items.sort(key=lambda item: -seconds.get(item.path, 0))
