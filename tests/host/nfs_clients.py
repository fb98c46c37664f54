"""Two mail hosts whose mail store is one NFS server, in one virtual machine: two NFS clients.

The kernel keeps an NFS client for each network namespace. Each host has one, with an address, a host
name, mounts and a Dovecot of its own; the server is in the machine's own namespace. So the two share
a kernel, and nothing that NFS remembers: neither attributes nor names nor pages nor state. Mount
options and server are those of `nfs_host`.
"""

from __future__ import annotations

import imaplib
import smtplib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from host.nfs_host import ADDRESS, EFS_OPTIONS, HASH, PASSWORD, PREPARE, NfsHost
from mail_sockets import greeted, imap_on
from postal_plexus.config.lists import read_stack
from postal_plexus.directory import TABLES, Host
from service.certificates import Authority

ANN, BEN = "ann@example.org", "ben@example.org"
HOSTS = (Host("mail.example.org", "10.9.1.1"), Host("mail-2.example.org", "10.9.1.2"))
_SERVER = "10.9.1.254"
_START = (
    PREPARE
    + rf"""
# Namespaces of two hosts, and Dovecot's image in each as the units `mail-1` and `mail-2`.
if ! ip link show hosts 2>/dev/null; then
    ip link add hosts type bridge
    ip address add {_SERVER}/24 dev hosts
    ip link set hosts up
    for number in 1 2; do
        ip netns add h$number
        ip link add h$number type veth peer name eth0 netns h$number
        ip link set h$number master hosts up
        ip -n h$number link set lo up
        ip -n h$number address add 10.9.1.$number/24 dev eth0
        ip -n h$number link set eth0 up
        mkdir -p /indexes/$number && chown 5000:5000 /indexes/$number && chmod 0700 /indexes/$number
        systemd-run -q socat TCP-LISTEN:24$number,fork,reuseaddr \
            UNIX-CONNECT:/plexus-$number/run/dovecot/lmtp.sock
        systemd-run -q socat TCP-LISTEN:993$number,fork,reuseaddr TCP:10.9.1.$number:993
    done
fi
for number in 1 2; do
    systemctl reset-failed mail-$number 2>/dev/null || :
    systemd-run -q --unit=mail-$number -p KillMode=mixed -p TimeoutStopSec=120 \
        ip netns exec h$number unshare --uts /root/host $number
done
"""
)
_HOST = rf"""#!/bin/bash
# One host: in a network namespace of its own, and by `ip netns exec` in a mount namespace of its own.
set -eu
C=/container number=$1
hostname h$number
mount -t nfs4 -o {EFS_OPTIONS} {_SERVER}:/ $C/srv/mail
mount --bind /indexes/$number $C/srv/indexes
for path in $C/run $C/tmp; do mount -t tmpfs none $path; done
mount -t proc proc $C/proc
mount --bind /dev $C/dev
for name in dovecot postfix directory; do
    mkdir -p $C/run/plexus/$name
    mount --bind /plexus-$number/run/$name $C/run/plexus/$name
done
mount --bind /plexus-$number/tls $C/etc/plexus/tls
name=mail.example.org
[ $number = 1 ] || name=mail-$number.example.org
exec env PLEXUS_HOSTNAME=$name PLEXUS_SHARD=$number "PLEXUS_PEERS=10.9.1.1 10.9.1.2" \
    chroot $C /usr/bin/tini -g -- /usr/local/bin/entrypoint
"""


class NfsClients(NfsHost):
    """The machine; a context manager."""

    def start(self) -> None:
        """Start both hosts, each the home of one mailbox; wait until both answer."""
        run, write = self.guest.run, self.guest.write
        run(f"ip address replace {ADDRESS}/24 dev ens5; ip link set ens5 up")
        authority = Authority(self.directory)
        for number, host in enumerate(HOSTS, 1):
            run(
                f"cd /; mkdir -p plexus-{number}/run/{{dovecot,postfix,directory}} plexus-{number}/tls;"
                f"chown 5002 plexus-{number}/run/postfix"
            )
            for file, name in zip(authority.issue(host.name), ("certificate", "key"), strict=True):
                path = f"/plexus-{number}/tls/{name}.pem"
                write(path, Path(file).read_text(), "0640")
                run(f"chown 5004:5003 {path}")
            self.publish(number, {ANN: 1, BEN: 2})
        write("/root/host", _HOST, "0755")
        write("/root/start", _START, "0755")
        write("/root/authority.pem", authority.file.read_text())
        run(
            PREPARE + "cp /root/authority.pem $C/etc/ssl/certs/ca-certificates.crt; /root/start",
            timeout=300,
        )
        for number in (1, 2):
            self.guest.await_output(
                f"{self._inside(number)} /usr/local/bin/healthy && echo well; "
                f"journalctl -u mail-{number} -n 20",
                "well",
                300,
            )

    def _inside(self, number: int) -> str:
        """Return the command line that runs another one in a host's container."""
        leader = f"$(systemctl show -p MainPID --value mail-{number})"
        return f"nsenter -t {leader} -n -m -u chroot /container"

    def publish(self, number: int, homes: Mapping[str, int]) -> None:
        """Write a host's tables with these homes."""
        stack: dict[str, Any] = {
            "hosts": len(HOSTS),
            "domains": ["example.org"],
            "mailboxes": [
                {"address": address, "password-hash": HASH, "host": home}
                for address, home in homes.items()
            ],
        }
        directory = read_stack(stack).on_hosts(HOSTS)
        for table, render in TABLES.items():
            path = f"/plexus-{number}/run/directory/{table}"
            self.guest.write(f"{path}.new", render(directory), "0640")
            self.guest.run(f"chown 5001:5003 {path}.new; mv {path}.new {path}")

    def leases(self, *, on: bool) -> None:
        """Allow leases in this kernel, or not.

        The server hands out no delegations without them, as EFS; but `indexes` asks for one when a
        mailbox moves.
        """
        self.guest.run(f"sysctl -q fs.leases-enable={int(on)}")

    def record(self, address: str) -> str:
        """Return who has a mailbox, as the server has it."""
        return self.guest.run(f"cat /export/mail/.homes/{address}", check=False)

    def log(self, number: int) -> str:
        """Return what a host's container has printed."""
        return self.guest.journal(f"-u mail-{number}")

    def hosts(self) -> list[OneClient]:
        """Return both, as their clients see them."""
        return [OneClient(self, number) for number in (1, 2)]


@dataclass(frozen=True)
class OneClient:
    """One of both hosts, for `service.two_hosts.Load`."""

    machine: NfsClients
    number: int

    def lmtp(self) -> smtplib.LMTP:
        """Return an LMTP client."""
        return greeted(smtplib.LMTP(), self.machine.connected(240 + self.number, 180))

    def imap(self, address: str) -> imaplib.IMAP4:
        """Return a logged-in IMAP client."""
        return imap_on(self.machine.connected(9930 + self.number, 180), address, PASSWORD)
