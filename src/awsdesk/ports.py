"""Choose the desk's ports: those it had, else the preferred ones, else free ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from awsdesk import sockets
from awsdesk.settings import PREFERRED_PORTS, Ports

if TYPE_CHECKING:
    from collections.abc import Callable


def choose(
    had: Ports,
    preferred: Ports = PREFERRED_PORTS,
    is_free: Callable[[str, int], bool] = sockets.is_free,
    free_port: Callable[[], int] = sockets.free_port,
) -> Ports:
    """Return a port for every name in either; each is free now, and no port occurs twice."""
    chosen: dict[str, int] = {}
    before, usual = had.named(), preferred.named()
    for name in {**before, **usual}:
        for wanted in (before.get(name), usual.get(name)):
            if wanted and wanted not in chosen.values() and is_free(sockets.LOOPBACK, wanted):
                chosen[name] = wanted
                break
        else:
            port = free_port()
            while port in chosen.values():
                port = free_port()
            chosen[name] = port
    return Ports.of(chosen)
