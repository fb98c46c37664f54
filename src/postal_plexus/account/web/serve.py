"""Run the account page: `python3 -m postal_plexus.account.web.serve`, in the container `web`.

From the environment: PLEXUS_ACCOUNT_SOCKET, the unix socket on which nginx finds it;
PLEXUS_KEEPER_SOCKET, the keeper's; PLEXUS_CLIENT_HOST, the mail host of all domains, if they share
one; PLEXUS_WEB_PARTS, what the container serves.
"""

import os

import waitress

from postal_plexus.account import messages
from postal_plexus.account.web.app import App

# While one waits for Dovecot's 2 s after a wrong password, others can continue.
_THREADS = 4


def main() -> None:
    """Serve until the process ends."""
    app = App(
        socket=os.environ.get("PLEXUS_KEEPER_SOCKET", messages.SOCKET),
        client_host=os.environ.get("PLEXUS_CLIENT_HOST", ""),
        calendars="calendars" in os.environ.get("PLEXUS_WEB_PARTS", "").split(),
    )
    waitress.serve(
        app,
        unix_socket=os.environ.get("PLEXUS_ACCOUNT_SOCKET", "/run/account/page.sock"),
        # nginx has the same group.
        unix_socket_perms="660",
        threads=_THREADS,
        max_request_body_size=64 * 1024,
        channel_timeout=30,
        ident=None,
    )


if __name__ == "__main__":
    main()
