"""A mail host in a virtual machine whose mail store is real NFS 4.1: our Dovecot image on Linux's server.

Server and client are one machine. The server exports to itself what EFS would give: everybody
is 5000:5000, as by the access point, writes are on its disk when it says so, and no delegation is
handed out (EFS has none; with them the counts would flatter by half). The client mounts with the options
that EFS's mount helper uses. So a power cut ends both at once, which is more than EFS would ever do.

Dovecot's image is the machine's second disk, its indexes lie on the third, the export on the fourth.
`local` has the mail store on the export's disk itself, without NFS, for comparison.
"""

from __future__ import annotations

import imaplib
import re
import shutil
import smtplib
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from argon2 import PasswordHasher

from host.guest import Card, Guest, Volume
from host.guest_image import RootFiles, disk_from_directory, guest_image
from host.namespace import Namespace
from mail_sockets import greeted, imap_on
from service.container_engine import engine, images

ADDRESS = "10.9.0.5"
PASSWORD = "correct horse battery staple"
USERS = 20
# What the emulated processor needs once for each login: as little as Argon2 takes.
HASH = "{ARGON2ID}" + PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash(PASSWORD)
PASSWD = "".join(f"u{n}@example.org:{HASH}::::::\n" for n in range(1, USERS + 1))
# https://docs.aws.amazon.com/efs/latest/ug/mounting-fs-nfs-mount-settings.html
EFS_OPTIONS = "nfsvers=4.1,rsize=1048576,wsize=1048576,hard,timeo=600,retrans=2,noresvport"
_STORE = {
    "nfs": f"mount -t nfs4 -o {EFS_OPTIONS} 127.0.0.1:/ $C/srv/mail",
    "local": "mount --bind /export/mail $C/srv/mail",
}
# Mounts the disks, once, and starts the server.
PREPARE = r"""#!/bin/bash
set -eu
C=/container
disk() { readlink -f /dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_$1; }
if ! mountpoint -q $C; then
    sysctl -q fs.leases-enable=0
    mkdir -p $C /export /indexes
    mount $(disk export) /export
    mkdir -p /export/mail && chown 5000:5000 /export/mail && chmod 0750 /export/mail
    systemctl start nfs-server
    mount $(disk indexes) /indexes
    chown 5000:5000 /indexes && chmod 0700 /indexes
    mount $(disk image) $C
fi
"""
# What the host gives the container, as its task definition says (deployment.containers).
START_CONTAINER = r"""
# Mounts what is missing, and starts Dovecot's image as the unit `mail`.
if ! [ -d /plexus ]; then
    for name in dovecot postfix directory; do mkdir -p /plexus/run/$name; done
    mkdir -p /plexus/tls
    chown 5002 /plexus/run/postfix
    install -o 5001 -g 5003 -m 0640 /root/passwd /plexus/run/directory/dovecot-passwd
fi
mountpoint -q $C/srv/mail || @STORE@
mountpoint -q $C/srv/indexes || mount --bind /indexes $C/srv/indexes
for path in $C/run $C/tmp; do umount -R $path 2>/dev/null || :; mount -t tmpfs none $path; done
mount -t proc proc $C/proc 2>/dev/null || :
mountpoint -q $C/dev || mount --bind /dev $C/dev
for name in dovecot postfix directory; do
    mkdir -p $C/run/plexus/$name
    mount --bind /plexus/run/$name $C/run/plexus/$name
done
mountpoint -q $C/etc/plexus/tls || mount --bind /plexus/tls $C/etc/plexus/tls
systemctl reset-failed mail 2>/dev/null || :
systemd-run -q --unit=mail -p KillMode=mixed -p TimeoutStopSec=120 \
    -E PLEXUS_HOSTNAME=mail.example.org \
    chroot $C /usr/bin/tini -g -- /usr/local/bin/entrypoint
systemctl is-active -q lmtp || systemd-run -q --unit=lmtp socat \
    TCP-LISTEN:24,fork,reuseaddr UNIX-CONNECT:/plexus/run/dovecot/lmtp.sock
"""
_FILES = {
    "/etc/exports": "/export/mail *(rw,sync,no_subtree_check,fsid=0,insecure,all_squash,"
    "anonuid=5000,anongid=5000)\n",
    # By default clients wait for 90 s after the server's start.
    "/etc/nfs.conf": "[nfsd]\ngrace-time=10\nlease-time=10\nvers3=n\n",
}


@dataclass
class NfsHost:
    """The machine; a context manager. `configuration` takes the place of the image's dovecot.conf."""

    directory: Path
    store: str = "nfs"
    configuration: str = ""
    guest: Guest = field(init=False)
    network: Namespace = field(init=False)

    def __enter__(self) -> NfsHost:
        self.directory.mkdir(parents=True, exist_ok=True)
        image = guest_image(
            RootFiles(
                packages=("nfs-kernel-server", "nfs-common", "socat", "nftables", "procps"),
                files=_FILES,
                commands=("systemctl disable nfs-server; ln -sf /proc/self/mounts /etc/mtab",),
            )
        )
        disk = image_disk(self.directory, self.configuration)
        volumes = [Volume(disk, "image")]
        for name, size in (("indexes", 512), ("export", 1024)):
            volume = Volume.blank(self.directory / f"{name}.img", size)
            subprocess.run(["mke2fs", "-q", "-t", "ext4", volume.file], check=True)
            volumes.append(volume)
        self.network = Namespace()
        self.network.__enter__()
        self.network.ip("link add br0 type bridge")
        self.network.ip("link set br0 up")
        self.network.ip("address add 10.9.0.1/24 dev br0")
        self.network.tap("tap5", "br0")
        self.guest = Guest(
            image,
            self.directory / "guest",
            self.network,
            [Card("tap5", "02:00:00:00:00:05", 5)],
            volumes,
            memory_mb=768,
            cpus=2,
        )
        self.guest.__enter__()
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.guest.__exit__()
        self.network.__exit__()

    # The machine --------------------------------------------------------------------------------

    def start(self) -> None:
        """Start Dovecot, after the machine has booted or Dovecot has ended; wait until it answers."""
        self.guest.run(f"ip address replace {ADDRESS}/24 dev ens5; ip link set ens5 up")
        self.guest.write("/root/passwd", PASSWD)
        start = PREPARE + START_CONTAINER.replace("@STORE@", _STORE[self.store])
        self.guest.write("/root/start", start, "0755")
        self.guest.run("/root/start", timeout=300)
        self.guest.await_output(
            "chroot /container /usr/local/bin/healthy && echo well; journalctl -u mail -n 20",
            "well",
            300,
        )

    def kill(self) -> None:
        """SIGKILL to all of Dovecot at once."""
        self.guest.run(
            "systemctl kill --signal=KILL mail; while systemctl is-active -q mail; do sleep 0.1; done",
            check=False,
        )

    def stop(self) -> None:
        """Stop Dovecot as ECS does."""
        self.guest.run("systemctl stop mail", timeout=150)

    def power_cut(self) -> None:
        """Pull the plug, boot again, start Dovecot."""
        self.guest.power_cut()
        self.guest.power_on()
        self.start()

    def server_away(self, *, away: bool) -> None:
        """Let nothing through to the NFS server, or again."""
        self.guest.run(
            "nft add table ip cut; nft add chain ip cut in '{ type filter hook input priority 0; }'; "
            "nft add rule ip cut in tcp dport 2049 drop"
            if away
            else "nft delete table ip cut"
        )

    def operations(self) -> dict[str, int]:
        """NFS operations of the mail store since it was mounted, by name.

        Without SEQUENCE: by it the client renews its lease, by the clock, whatever anybody does.
        """
        text = self.guest.run("cat /proc/self/mountstats")
        part = next(
            each for each in text.split("device ") if "mounted on /container/srv/mail " in each
        )
        counts = re.findall(
            r"^\s+([A-Z_]+): (\d+) ", part.partition("per-op statistics")[2], re.MULTILINE
        )
        return {name: int(count) for name, count in counts if int(count) and name != "SEQUENCE"}

    def quiet(self) -> dict[str, int]:
        """Return the operations once there are no more, after the indexer and others have ended."""
        last: dict[str, int] = {}
        while (now := self.operations()) != last:
            last = now
            time.sleep(2)
        return now

    # Clients ------------------------------------------------------------------------------------

    def connected(self, port: int, timeout: float) -> socket.socket:
        made = self.network.socket(socket.AF_INET, socket.SOCK_STREAM)
        made.settimeout(timeout)
        made.connect((ADDRESS, port))
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def lmtp(self, timeout: float = 180) -> smtplib.LMTP:
        """Return an LMTP client."""
        return greeted(smtplib.LMTP(), self.connected(24, timeout))

    def imap(self, user: int, timeout: float = 180) -> imaplib.IMAP4:
        """Return a logged-in IMAP client."""
        return imap_on(self.connected(993, timeout), f"u{user}@example.org", PASSWORD)

    def subjects(self, user: int, folder: str = "INBOX") -> list[str]:
        """Return the subjects in a folder, in order."""
        with self.imap(user) as client:
            return subjects(client, folder)


def image_disk(directory: Path, configuration: str = "") -> Path:
    """Return the file system of Dovecot's image as a disk, made in a directory."""
    run = engine()
    container = run("create", images("dovecot")["dovecot"])
    tree = directory / "tree"
    tree.mkdir()
    exported = directory / "image.tar"
    try:
        run("export", "--output", str(exported), container)
    finally:
        run("rm", container)
    subprocess.run(["tar", "-x", "-f", exported, "-C", tree], check=True)
    exported.unlink()
    if configuration:
        (tree / "etc/dovecot/dovecot.conf").write_text(configuration)
    for mount in ("proc", "dev", "run", "tmp", "etc/plexus/tls"):
        (tree / mount).mkdir(parents=True, exist_ok=True)
    disk = disk_from_directory(tree, directory / "image.img", 1024)
    shutil.rmtree(tree)
    return disk


def subjects(client: imaplib.IMAP4, folder: str = "INBOX") -> list[str]:
    """Return the subjects in a folder, in order."""
    answer, text = client.select(folder, readonly=True)
    assert answer == "OK", text
    _, parts = client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    return [
        part[1].decode().removeprefix("Subject: ").strip()
        for part in parts
        if isinstance(part, tuple)
    ]


def difference(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """Return what was counted between two looks."""
    found = {name: after[name] - before.get(name, 0) for name in after}
    return {name: count for name, count in found.items() if count}


def mail(subject: str, size: int = 4000) -> bytes:
    """Return a mail of about this number of octets."""
    body = "The quick brown fox jumps over the lazy dog.\r\n" * (size // 46)
    return f"From: s@elsewhere.example\r\nSubject: {subject}\r\n\r\n{body}".encode()


def deliver(client: smtplib.LMTP, user: int, subject: str) -> None:
    """Deliver one mail. Raises smtplib.SMTPException when it is not taken."""
    client.sendmail("s@elsewhere.example", [f"u{user}@example.org"], mail(subject))


# Counting ---------------------------------------------------------------------------------------


def counted(host: NfsHost) -> dict[str, dict[str, int]]:
    """NFS operations of each action, by their names; the least of three where it is steady.

    The least: an emulated machine that is busy takes longer than attributes are believed for, and
    then asks for them again.
    """
    found: dict[str, dict[str, int]] = {}

    def count(action: str, act: Callable[[], object]) -> None:
        before = host.quiet()
        act()
        counts = difference(before, host.quiet())
        if action not in found or sum(counts.values()) < sum(found[action].values()):
            found[action] = counts

    with host.lmtp() as lmtp:
        count("delivery, first message of a mailbox", lambda: deliver(lmtp, 1, "first"))
        for number in range(3):
            count("delivery, steady", lambda number=number: deliver(lmtp, 1, f"mail {number}"))
    host.imap(1).logout()
    clients: list[imaplib.IMAP4] = []
    # Each in a session of its own: the second SELECT of a session asks for nothing.
    for _ in range(3):
        count("login", lambda: clients.append(host.imap(1)))
        count("SELECT", lambda: clients[-1].select("INBOX"))
    client = clients.pop()
    for each in clients:
        each.logout()
    count("FETCH of a message", lambda: client.fetch("2", "(BODY.PEEK[])"))
    for flag in (r"(\Flagged)", r"(\Answered)", r"(\Seen)"):
        count("STORE of a flag", lambda flag=flag: client.store("1", "+FLAGS", flag))
    for _ in range(3):
        count("APPEND", lambda: client.append("INBOX", None, None, mail("appended")))
    for _ in range(3):
        count("MOVE to Trash, steady", lambda: client.xatom("MOVE", "1", "Trash"))
    client.select("INBOX")
    for _ in range(3):
        client.store("1", "+FLAGS", r"(\Deleted)")
        count("EXPUNGE", client.expunge)
    for _ in range(2):
        count("search in bodies", lambda: client.search(None, "BODY", "lazy"))
    client.logout()
    # Each folder's index is copied once; the copy before has taken what changed until now.
    copy = "setpriv --reuid=5000 --regid=5000 --clear-groups indexes copy"
    for number in range(3):
        host.guest.run(f"chroot /container {copy}", timeout=300)
        with host.imap(1) as again:
            again.select("INBOX")
            again.store("1", ("+FLAGS", "-FLAGS")[number % 2], r"(\Answered)")
        count(
            "copy of a changed index",
            lambda: host.guest.run(f"chroot /container {copy}", timeout=300),
        )
    _furnish(host, 2)
    with host.lmtp() as lmtp:
        for number in range(3):
            host.guest.run("sync; echo 3 >/proc/sys/vm/drop_caches")
            count(
                "delivery among 30 folders, nothing remembered",
                lambda number=number: deliver(lmtp, 2, f"mail {number}"),
            )
    return found


def _furnish(host: NfsHost, user: int) -> None:
    """Give a user 30 folders with a message each, known to their list, as clients do."""
    with host.imap(user) as client:
        for number in range(30):
            client.create(f"Folder{number}")
            client.append(f"Folder{number}", None, None, mail("filed"))
        client.xatom("LIST", '""', "*", "RETURN", "(STATUS (MESSAGES))")
