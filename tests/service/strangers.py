"""Strangers who open connections and never log in, and thieves who do, from addresses that a test chooses.

    nsenter --net=/proc/PID/ns/net python3 strangers.py PORT HOW SOURCE...

One connection from each SOURCE, in order; each address is first added to the loopback interface of the
network namespace that this runs in. Prints a line when all have been tried; then for each line that it
reads one with the number of connections that are still open, by source: `{"127.0.1.1": 60}`.

HOW is `silent` (TCP only), `rush` (TCP only, and nobody waits until the other side has it), `half` (half a TLS handshake), `drip` (the same,
an octet at a time), `tls` (TLS, then silent), `auth` (TLS and 4 KB of
an AUTHENTICATE without end), `more` (TLS and 8 KB of a continuation without end), `line` (TLS and
a LOGIN without end), `starttls` (SMTP or ManageSieve: TLS after STARTTLS, then silent), `user=ADDRESS`
(IMAP: logged in with the PASSWORD of the environment, and a mailbox open).
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import ipaddress
import json
import os
import select
import socket
import ssl
import struct
import sys
import threading
import time
from collections import Counter
from pathlib import Path

SIOCSIFADDR = 0x8916


def add_address(source: str) -> None:
    """Give the loopback interface an IPv6 address; it has all of 127.0.0.0/8 already."""
    if ipaddress.ip_address(source).version == 4:
        return
    Path("/proc/sys/net/ipv6/conf/lo/disable_ipv6").write_text("0")
    packed = ipaddress.ip_address(source).packed
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as any_socket:
        request = packed + struct.pack("=Ii", 128, socket.if_nametoindex("lo"))
        with contextlib.suppress(FileExistsError):
            fcntl.ioctl(any_socket, SIOCSIFADDR, request)
        # The kernel first asks whether somebody else has it.
        while True:
            try:
                any_socket.bind((source, 0))
            except OSError:
                time.sleep(0.01)
            else:
                return


@functools.cache
def trusting() -> ssl.SSLContext:
    """TLS that believes any certificate."""
    # Not the default one: it would read all of the machine's authorities each time.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def drip(plain: socket.socket, octets: bytes) -> None:
    """Send an octet every half second, for as long as the other side listens."""
    with contextlib.suppress(OSError):
        for octet in octets:
            plain.sendall(bytes([octet]))
            time.sleep(0.5)


def connected(port: int, how: str, source: str) -> socket.socket:
    """Return a connection that has gone as far as HOW says."""
    here = "127.0.0.1" if ipaddress.ip_address(source).version == 4 else "::1"
    if how == "rush":
        plain = socket.socket(socket.AF_INET if here == "127.0.0.1" else socket.AF_INET6)
        plain.bind((source, 0))
        plain.setblocking(False)
        plain.connect_ex((here, port))
        return plain
    plain = socket.create_connection((here, port), timeout=20, source_address=(source, 0))
    if how in {"half", "drip"}:
        begin_handshake(plain, how)
    if how in {"silent", "half", "drip"}:
        return plain
    if how == "starttls" and not asked_for_tls(plain, port):
        return plain
    secure = trusting().wrap_socket(plain)
    if how not in {"tls", "starttls"}:
        secure.recv(4096)
        say(secure, how)
    return secure


def begin_handshake(plain: socket.socket, how: str) -> None:
    """Send the first part of a TLS handshake."""
    coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        trusting().wrap_bio(coming, going).do_handshake()
    if how == "half":
        plain.sendall(going.read())
    else:
        threading.Thread(target=drip, args=(plain, going.read()), daemon=True).start()


def asked_for_tls(plain: socket.socket, port: int) -> bool:
    """Send STARTTLS, and what has to come before it; whether it was granted."""
    last = b"TLS\r\n" if port == 587 else b'Begin TLS negotiation now."\r\n'
    commands = [b"EHLO stranger\r\n", b"STARTTLS\r\n"] if port == 587 else [b"STARTTLS\r\n"]
    for command in commands:  # Postfix refuses who does not wait for the answer
        plain.recv(4096)
        plain.sendall(command)
    while not (said := plain.recv(4096)).endswith(last):
        if not said:
            return False
    return True


def say(secure: ssl.SSLSocket, how: str) -> None:
    """Send what HOW says inside TLS, to IMAP."""
    name, _, value = how.partition("=")
    if name == "user":
        login = f'a LOGIN "{value}" "{os.environ["PASSWORD"]}"\r\nb SELECT INBOX\r\n'
        secure.sendall(login.encode())
        while (said := secure.recv(4096)) and b"\r\nb OK" not in said:
            pass
    elif how == "auth":
        secure.sendall(b"a AUTHENTICATE PLAIN " + b"A" * 4000)
    elif how == "more":
        secure.sendall(b"a AUTHENTICATE PLAIN\r\n")
        secure.recv(4096)
        secure.sendall(b"A" * 8000)
    else:
        secure.sendall(b"a LOGIN " + b"x" * 900)


def is_open(client: socket.socket) -> bool:
    """Return whether the server has neither closed the connection nor sent BYE."""
    descriptor = client.fileno()
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | select.POLLRDHUP)
    return not any(
        events & (select.POLLRDHUP | select.POLLHUP | select.POLLERR) for _, events in poll.poll(0)
    )


def main(port: int, how: str, sources: list[str]) -> None:
    """Open all, then tell."""
    clients: list[tuple[str, socket.socket]] = []
    for source in dict.fromkeys(sources):
        add_address(source)
    for source in sources:
        with contextlib.suppress(OSError):
            clients.append((source, connected(port, how, source)))
    print(len(clients), flush=True)
    for _ in sys.stdin:
        print(json.dumps(Counter(at for at, client in clients if is_open(client))), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
