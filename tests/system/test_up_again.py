"""Another `up` of a desk: after its daemon was killed, and after ten wrong passwords."""

from __future__ import annotations

import contextlib
import imaplib
import os
import signal
import ssl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from system.desk import Desk
from wire import await_true


def said_in(path: Path) -> str:
    """Return the text of a file that may not be there."""
    return path.read_text() if path.exists() else ""


def test_a_killed_daemon_leaves_ports_and_containers_as_they_were(desk: Desk) -> None:
    """A mail client's settings stay right, and nobody is cut off."""
    before, started = desk.told(check=False)["endpoints"], desk.started()
    queues, registry = (desk.directory / f"aws/state/{name}.json" for name in ("sqs", "ecr"))
    desk.client("ecr").create_repository(repositoryName="saved-once")
    await_true("the registry to be saved", lambda: "saved-once" in said_in(registry))
    os.kill(int((desk.directory / "daemon.pid").read_text().split()[0]), signal.SIGKILL)
    of_queues, of_registry = queues.stat().st_mtime_ns, registry.stat().st_mtime_ns
    desk.up()
    assert (before, started) == (desk.told(check=False)["endpoints"], desk.started())
    # To write the registry's images takes seconds, in which the daemon answers nobody.
    await_true("the state to be saved", lambda: queues.stat().st_mtime_ns > of_queues)
    assert of_registry == registry.stat().st_mtime_ns
    desk.client("ecr").delete_repository(repositoryName="saved-once")


def test_ten_wrong_passwords_are_told_and_lifted(desk: Desk) -> None:
    """All clients of a desk share an address: `status` reports the block, and `up` lifts it."""

    def guess(number: int) -> None:
        context = ssl.create_default_context(cafile=desk.ca_file)
        with (
            contextlib.suppress(imaplib.IMAP4.error),
            imaplib.IMAP4_SSL(*desk.endpoint("imaps"), ssl_context=context, timeout=60) as client,
        ):
            client.login(desk.ann, f"wrong {number}")

    assert "" == desk.told(check=False)["locked_out"]
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(guess, range(10)))
    assert "ten wrong passwords" in desk.told(check=False)["locked_out"]
    demonstration = desk.plexus("demo", check=False)
    assert (69, True) == (demonstration.returncode, "ten wrong passwords" in demonstration.stderr)
    assert "lifted" in desk.plexus("up", "--ports", "ephemeral").stderr
    assert "" == desk.told(check=False)["locked_out"]
    with desk.mailbox(desk.ann):
        pass
