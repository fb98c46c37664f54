"""Run calendars and contacts in the container `web`, by its program `calendars`.

From the environment: PLEXUS_CALENDARS_SOCKET, the unix socket on which nginx finds it;
PLEXUS_CALENDARS_AUTH, Dovecot's; PLEXUS_CALENDARS_STORE, where the collections are;
PLEXUS_CALENDARS_CACHE, where what can be made anew is; PLEXUS_SHARED, who shares what
(`shares.read_shares`).
"""

import json
import logging
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import radicale.log
import waitress
from radicale import config, rights
from radicale.app import Application

from postal_plexus.account.password_check import verify
from postal_plexus.calendars.bounds import Watchdog
from postal_plexus.calendars.gate import Gate
from postal_plexus.calendars.links import COMPONENTS, create_shared
from postal_plexus.calendars.shares import Share, permissions, read_shares

LARGEST_BYTES = 2 << 20
"""Of a request's body: an event with a picture, or a contact; nginx has the same limit."""

# Who waits for Dovecot's 2 s after a wrong password holds nobody else up.
_THREADS = 8
# nginx waits a little longer. A first look at 5,000 events takes a good minute on a t4g.nano.
_LONGEST_SECONDS = 120.0
_FIRST_COLLECTIONS = {
    "calendar": {
        "D:displayname": "Calendar",
        "C:supported-calendar-component-set": COMPONENTS,
        "tag": "VCALENDAR",
    },
    "contacts": {"D:displayname": "Contacts", "tag": "VADDRESSBOOK"},
}


class Calendars(Application):
    """Radicale, which answers 400 to XML that defusedxml refuses, not 500."""

    def _read_xml_request_body(self, environ: Mapping[str, Any]) -> Any:
        try:
            return super()._read_xml_request_body(environ)
        except (ValueError, RecursionError) as error:
            raise RuntimeError(f"refused XML: {type(error).__name__}") from error


def radicale_application(store: Path, cache: Path, shares: tuple[Share, ...]) -> Calendars:
    """Return Radicale with our settings, each different from its default for a reason."""

    class Rights(rights.BaseRights):
        def authorization(self, user: str, path: str) -> str:
            return permissions(user, path, shares)

    configuration = config.load()
    settings: Mapping[str, Mapping[str, object]] = {
        # The gate has checked the password, and says who it is.
        "auth": {"type": "remote_user"},
        # A PUT onto a calendar's own address would replace all of it, and needs much memory.
        "rights": {"type": Rights, "permit_overwrite_collection": False},
        "storage": {
            "filesystem_folder": str(store),
            # What can be made anew is on the host's volume: over NFS each costs a round trip.
            "filesystem_cache_folder": str(cache),
            "use_cache_subfolder_for_item": True,
            "use_cache_subfolder_for_history": True,
            "use_cache_subfolder_for_synctoken": True,
            # Otherwise each item is read at each look.
            "use_mtime_and_size_for_item_cache": True,
            # A client sees a calendar at once.
            "predefined_collections": json.dumps(_FIRST_COLLECTIONS),
        },
        "server": {"max_content_length": LARGEST_BYTES},
        # No pages.
        "web": {"type": "none"},
    }
    configuration.update(settings, "postal_plexus", privileged=True)
    return Calendars(configuration)


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
