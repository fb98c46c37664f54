"""The lock for each mail."""

from __future__ import annotations

import threading
import time

from postal_plexus.deliver.keyed_lock import KeyedLock


def test_two_notifications_of_one_mail_are_never_worked_on_together() -> None:
    """One after the other; another mail is not held up, and no lock stays."""
    locks = KeyedLock()
    inside: list[str] = []
    most: list[int] = []

    def work() -> None:
        with locks.holding("m"):
            inside.append("m")
            most.append(len(inside))
            time.sleep(0.01)
            inside.remove("m")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    with locks.holding("other"):
        pass
    for thread in threads:
        thread.join()
    assert [1] * 8 == most
    assert 0 == len(locks)
