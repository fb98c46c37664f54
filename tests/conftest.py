"""Which tests run beside each other, and in which order.

pytest-xdist hands whole files out (`--dist loadfile --no-loadscope-reorder`), longest first, so that
no worker is left with a long one at the end. Seconds are a rough measure on two cores; a file that
is not named here is short. `make test PYTEST_ARGS=--durations=50` shows when one should be.

A fifth worker has a lower priority and takes only what computes, without containers or limits by the
clock: it uses what the four others, which wait for mail and containers, leave of two cores.

Files that share what is dear to make go to one worker: the system tests in two parts, with one desk
for each (a start takes half a minute of a core); the program's tests, for which the template is
recorded once.
"""

from __future__ import annotations

import gc
import os
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from xdist.scheduler import LoadFileScheduling
    from xdist.workermanage import WorkerController

# The engine's command is started thousands of times. It is a Go program, and collects garbage all
# along its tenth of a second: a fifth of its processor time.
os.environ.setdefault("GOGC", "1000")

# On Debian 13 /tmp is memory: what containers write to the tests' directories would count as theirs.
if "/tmp tmpfs " in Path("/proc/mounts").read_text():
    os.environ.setdefault("TMPDIR", "/var/tmp")
    tempfile.tempdir = None  # pytest has asked for it already

ROOT = Path(__file__).resolve().parent
SECONDS = {
    # With the images of its servers, which are built once on a machine.
    "service/test_import.py": 220,
    "pulumi/test_registrations.py": 110,
    "service/test_indexes.py": 110,
    "service/test_certificates.py": 95,
    "service/pulumi_engine/test_stack.py": 90,
    "service/test_logins.py": 80,
    "service/test_restored.py": 80,
    "service/deliver/test_deliver_service.py": 75,
    "service/test_two_hosts.py": 70,
    "service/test_image_patches.py": 65,
    "service/test_account.py": 60,
    "chaos/test_exactly_once.py": 60,
    "chaos/test_harness.py": 60,
    "system/test_console.py": 60,
    "system/test_moving.py": 60,
    "service/desk/test_agent.py": 55,
    "service/test_import_gmail.py": 55,
    "system/test_restore.py": 55,
    "service/test_postfix.py": 50,
    "service/test_postfix_endings.py": 50,
    "service/test_webmail.py": 50,
    "service/host/test_host_boot.py": 45,
    "service/test_dovecot.py": 45,
    "system/test_trace.py": 45,
    "system/test_directory_live.py": 40,
    "service/desk/test_restart.py": 35,
    "service/test_calendars.py": 35,
    "service/test_imap_extensions.py": 35,
    "service/test_memory.py": 35,
    "system/test_patch.py": 35,
    "system/test_people.py": 35,
    "system/test_queue_and_mailboxes.py": 35,
    "service/pulumi_engine/test_engine.py": 30,
    "service/test_mailboxes.py": 30,
    "service/test_account_browser.py": 25,
    "service/test_certificate_change.py": 25,
    "service/test_dns.py": 25,
    "service/test_push.py": 25,
    "service/test_search_words.py": 25,
    "service/test_submission_flood.py": 25,
    "system/test_dead_letters.py": 25,
    "system/test_hardening.py": 25,
    "system/test_replay.py": 25,
    "system/test_up_again.py": 25,
    "pulumi/test_host.py": 20,
    "service/deliver/test_deliver_held.py": 20,
    "service/deliver/test_deliver_replay.py": 20,
    "service/deliver/test_deliver_two_hosts.py": 20,
    "service/host/test_index_volume.py": 20,
    "service/test_images.py": 20,
    "service/test_sieve_outgoing.py": 20,
    "service/test_way_out.py": 20,
}


SYSTEM_PARTS = 2
# The worker beside four others that fills the processors' idle time.
FILLER, NICENESS = "gw4", 5
# What it is not given of the unit tests: those that must end within seconds by the clock.
TIMED = (
    "tests/unit/autoconfig/test_edge_function.py",
    "tests/unit/benchmarks/",
    "tests/unit/cli/test_cli_main.py",
    "tests/unit/deliver/",
)
# A file of the system tests that has no name above.
SHORT = 10


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


def fills(part: str) -> bool:
    """Whether a part of the suite only computes: no container that would have the filler's priority."""
    return part == "pulumi" or (part.startswith("tests/unit/") and not part.startswith(TIMED))


def pytest_configure() -> None:
    """Take Control-C, which tests send, and set no property a deadline.

    A shell has what runs in its background ignore Control-C. A busy machine takes its time.
    """
    if os.environ.get("PYTEST_XDIST_WORKER") == FILLER:
        os.nice(NICENESS)
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


def pytest_collection_finish() -> None:
    """Leave all that is imported and collected by now out of the garbage collections."""
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


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

        def _assign_work_unit(self, node: WorkerController) -> None:
            if any(each.gateway.id == FILLER for each in self.nodes):
                # The others leave these to it as long as they have something else.
                is_filler = node.gateway.id == FILLER
                fitting = next((each for each in self.workqueue if fills(each) == is_filler), None)
                if fitting:
                    self.workqueue.move_to_end(fitting, last=False)
                elif is_filler:
                    node.shutdown()
                    return
            super()._assign_work_unit(node)

    return LoadPartScheduling(config, log)
