"""The directories on the host that the containers share, and their owners.

The numeric ids are the contract between the containers (each image has users with these ids): 5000
vmail, 5001 deliver, 5002 postfix, 5003 the shared group `plexus`, 5004 certbot, 5005 the web
container's nginx, 5006 its PHP, 5007 its calendars, 5008 the account page. The host's user data
creates the directories; the desk creates the same ones under its own.
"""

from dataclasses import dataclass

VMAIL = 5000
DELIVER = 5001
POSTFIX = 5002
SHARED_GROUP = 5003
CERTBOT = 5004
WEB = 5005
CALENDARS = 5007


@dataclass(frozen=True)
class HostDirectory:
    """One directory: its path on the host and in a container, its owner and mode."""

    name: str
    path: str
    mount_path: str
    uid: int
    gid: int
    mode: str


HOST_DIRECTORIES = (
    HostDirectory(
        "run-dovecot", "/var/lib/plexus/run/dovecot", "/run/plexus/dovecot", 0, 0, "0755"
    ),
    HostDirectory(
        "run-postfix",
        "/var/lib/plexus/run/postfix",
        "/run/plexus/postfix",
        POSTFIX,
        POSTFIX,
        "0755",
    ),
    HostDirectory(
        "run-sieve", "/var/lib/plexus/run/sieve", "/run/plexus/sieve", POSTFIX, POSTFIX, "0755"
    ),
    HostDirectory(
        "run-directory",
        "/var/lib/plexus/run/directory",
        "/run/plexus/directory",
        DELIVER,
        SHARED_GROUP,
        "0755",
    ),
    HostDirectory("tls", "/var/lib/plexus/tls", "/etc/plexus/tls", CERTBOT, SHARED_GROUP, "0750"),
    HostDirectory(
        "certbot", "/var/lib/plexus/certbot", "/var/lib/certbot", CERTBOT, SHARED_GROUP, "0700"
    ),
    # A file system of its own on the state volume: see host_boot.sh.
    HostDirectory("indexes", "/var/lib/plexus/indexes", "/srv/indexes", VMAIL, VMAIL, "0700"),
    HostDirectory("queue", "/var/lib/plexus/queue", "/var/spool/postfix", 0, 0, "0755"),
    HostDirectory(
        "deliver",
        "/var/lib/plexus/deliver",
        "/var/lib/plexus/deliver",
        DELIVER,
        SHARED_GROUP,
        "0700",
    ),
)

# Only in a stack with a web container.
WEB_DIRECTORIES = (
    # Postfix creates its socket as its own user, Dovecot as root; nginx has access by its group.
    HostDirectory("run-web", "/var/lib/plexus/run/web", "/run/plexus/web", POSTFIX, WEB, "0750"),
    HostDirectory("webmail", "/var/lib/plexus/webmail", "/var/lib/webmail", 0, 0, "0711"),
)

BY_NAME = {directory.name: directory for directory in (*HOST_DIRECTORIES, *WEB_DIRECTORIES)}


def host_directories(*, web: bool) -> tuple[HostDirectory, ...]:
    """Return all of a stack's host; with `web`, those of the web container too."""
    return HOST_DIRECTORIES + WEB_DIRECTORIES * web
