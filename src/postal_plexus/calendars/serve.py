"""Run calendars and contacts in the container `web`, by its program `calendars`.

From the environment: PLEXUS_CALENDARS_SOCKET, the unix socket on which nginx finds it;
PLEXUS_CALENDARS_AUTH, Dovecot's; PLEXUS_CALENDARS_STORE, where the collections are;
PLEXUS_CALENDARS_CACHE, where what can be made anew is; PLEXUS_SHARED, who shares what
(`shares.read_shares`).
"""

import logging
import os
import sys
import threading
from pathlib import Path

import radicale.log
import waitress

from postal_plexus.account.password_check import verify
from postal_plexus.calendars.application import radicale_application
from postal_plexus.calendars.bounds import LARGEST_BYTES, Watchdog
from postal_plexus.calendars.gate import Gate
from postal_plexus.calendars.links import create_shared
from postal_plexus.calendars.shares import read_shares

# Who waits for Dovecot's 2 s after a wrong password holds nobody else up.
_THREADS = 8
# nginx waits a little longer. A first look at 5,000 events takes a good minute on a t4g.nano.
_LONGEST_SECONDS = 120.0


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _end(what: str) -> None:
    _say(f"calendars: {what} has run for {_LONGEST_SECONDS:g} s: ending")
    os._exit(75)


def main() -> None:
    """Serve until the end."""
    environment = os.environ
    os.umask(0o077)
    store = Path(environment.get("PLEXUS_CALENDARS_STORE", "/srv/calendars"))
    cache = Path(environment.get("PLEXUS_CALENDARS_CACHE", "/var/lib/webmail/calendars"))
    dovecot = environment.get("PLEXUS_CALENDARS_AUTH", "/run/plexus/web/calendars.sock")
    shares = read_shares(environment.get("PLEXUS_SHARED", ""))
    create_shared(store, shares)
    # Its warnings are about what clients send, and quote it.
    logging.disable(logging.WARNING)
    radicale.log.setup()
    # Each thread's stack counts as memory, which the entrypoint bounds; it would be 8 MB.
    threading.stack_size(1 << 20)
    watchdog = Watchdog(_LONGEST_SECONDS, _end)
    gate = Gate(
        radicale_application(store, cache, shares),
        lambda name, password, remote: verify(dovecot, "calendars", name, password, remote),
        store,
        shares,
        watchdog=watchdog,
    )
    threading.Thread(target=watchdog.follow, daemon=True).start()
    waitress.serve(
        gate,
        unix_socket=environment.get("PLEXUS_CALENDARS_SOCKET", "/run/calendars/page.sock"),
        # nginx's group is this one's.
        unix_socket_perms="660",
        threads=_THREADS,
        max_request_body_size=LARGEST_BYTES,
        channel_timeout=150,
        ident=None,
        # MOVE names its destination by scheme and host; nginx alone talks to this socket.
        url_scheme="https",
    )


if __name__ == "__main__":
    main()
