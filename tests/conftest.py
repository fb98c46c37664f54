"""Which tests run beside each other, and in which order.

pytest-xdist hands whole files out (`--dist loadfile --no-loadscope-reorder`), longest first, so that
no worker is left with a long one at the end. Seconds are a rough measure on two cores; a file that
is not named here is short. `make test PYTEST_ARGS=--durations=50` shows when one should be.

Files that share what is dear to make go to one worker: the system tests in two parts, with one desk
for each (a start takes half a minute of a core); the program's tests, for which the template is
recorded once.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from xdist.scheduler import LoadFileScheduling

# The engine's command is started thousands of times. It is a Go program, and collects garbage all
# along its tenth of a second: a fifth of its processor time.
os.environ.setdefault("GOGC", "1000")

ROOT = Path(__file__).resolve().parent
SECONDS = {
    "service/test_import.py": 220,
    "chaos/test_exactly_once.py": 230,
    "service/pulumi_engine/test_engine.py": 60,
    "service/test_certificates.py": 200,
    "chaos/test_harness.py": 200,
    "system/test_people.py": 180,
    "system/test_hardening.py": 160,
    "system/test_failures.py": 150,
    "service/pulumi_engine/test_stack.py": 80,
    "service/pulumi_engine/test_published.py": 40,
    "service/test_two_hosts.py": 100,
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
    "service/test_door.py": 40,
    "service/test_import_gmail.py": 60,
    "service/test_tls.py": 60,
    "system/test_incoming.py": 60,
    "service/test_certificate_change.py": 60,
    "service/test_limits.py": 45,
    "system/test_outgoing.py": 45,
    "system/test_console.py": 45,
    "service/test_calendars.py": 60,
    "service/test_webmail.py": 40,
    "service/test_account.py": 40,
    "service/test_account_browser.py": 35,
    "service/test_restored.py": 40,
    "service/host/test_host_boot.py": 40,
}


SYSTEM_PARTS = 2
# A file of the system tests that has no name above.
SHORT = 20


def parts() -> dict[str, str]:
    """The part of the suite that a file belongs to, where that is not the file alone."""
    found = {f"tests/pulumi/{path.name}": "pulumi" for path in (ROOT / "pulumi").glob("test_*.py")}
    system = [f"system/{path.name}" for path in sorted((ROOT / "system").glob("test_*.py"))]
    loads = [0] * SYSTEM_PARTS
    for name in sorted(system, key=lambda name: -SECONDS.get(name, 0)):
        part = loads.index(min(loads))
        loads[part] += SECONDS.get(name, SHORT)
        found[f"tests/{name}"] = f"system {part}"
    return found


def pytest_configure() -> None:
    """Take Control-C, which tests send, and set no property a deadline.

    A shell has what runs in its background ignore Control-C. A busy machine takes its time.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    hypothesis.settings.register_profile("suite", deadline=None)
    hypothesis.settings.load_profile("suite")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the files, and keep the order within each. Raise UsageError for a name that is gone."""
    gone = [name for name in SECONDS if not (ROOT / name).is_file()]
    if gone:
        raise pytest.UsageError(f"tests/conftest.py names files that are gone: {', '.join(gone)}")
    part = parts()
    of_file = {ROOT / name: each for name, each in SECONDS.items()}
    of_part: dict[str, int] = {}
    for name, each in SECONDS.items():
        file = f"tests/{name}"
        of_part[part.get(file, file)] = of_part.get(part.get(file, file), 0) + each

    def order(item: pytest.Item) -> tuple[int, str, int]:
        file = item.path.relative_to(ROOT.parent).as_posix()
        whole = part.get(file, file)
        return -of_part.get(whole, 0), whole if whole in of_part else "", -of_file.get(item.path, 0)

    items.sort(key=order)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadFileScheduling | None:
    """Hand out the parts of the suite, where whole files are asked for."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    part = parts()

    class LoadPartScheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return part.get(file, file)

    return LoadPartScheduling(config, log)
