"""What ends `deliver`: SIGTERM and SIGINT, and nothing else."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from wire import await_true

WAIT = 0.3
PROGRAM = f"""
import signal
from postal_plexus.deliver import service
signal.pthread_sigmask(signal.SIG_BLOCK, service.STOP_SIGNALS)
print("waiting", flush=True)
print(repr(service.stop_signal({WAIT})), flush=True)
"""


def test_a_pause_longer_than_the_wait_does_not_end_the_service() -> None:
    """Paused (`docker pause`, a debugger) and continued, it waits on; CPython returns a signal."""
    command = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "waiting\n" == process.stdout.readline()
        state = Path(f"/proc/{process.pid}/stat")
        await_true("it to wait", lambda: state.read_text().rpartition(")")[2].split()[0] == "S")
        process.send_signal(signal.SIGSTOP)
        time.sleep(2 * WAIT)
        process.send_signal(signal.SIGCONT)
        assert "''\n" == process.stdout.read()
