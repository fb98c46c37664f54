"""The sockets of the desk's DNS server, and the reading of the zones from Route 53's API.

Every query is answered from a state that was read after the query came in, so that a record is
seen as soon as the API call that made it has returned (DNS-01 depends on it); queries that wait at
the same time share one reading.

Fails by answering SERVFAIL, and saying why in the log, when Route 53 cannot be read or holds a
value that cannot be published. Anything that is not a DNS query gets no answer.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from typing import TYPE_CHECKING, Any, Protocol, cast

import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
from botocore.exceptions import (  # pyright: ignore[reportMissingTypeStubs]  it brings no types
    BotoCoreError,
    ClientError,
)

from awsdesk.dns.zones import Outside, Zones

if TYPE_CHECKING:
    from collections.abc import Sequence

log = logging.getLogger(__name__)

MIN_UDP = 512  # RFC 1035 section 4.2.1
MAX_UDP = 1232  # what the DNS flag day 2020 settled on: never fragmented
MAX_TCP = 65_535
TCP_IDLE_SECONDS = 10.0
_IP_FREEBIND = 15  # linux/in.h; Python names it only from 3.14


class Route53(Protocol):
    """The calls used of boto3's client."""

    def list_hosted_zones(self, **arguments: str) -> dict[str, Any]:
        """Return a page of hosted zones."""
        ...

    def list_resource_record_sets(self, **arguments: str) -> dict[str, Any]:
        """Return a page of one zone's record sets."""
        ...


class DnsServer:
    """A DNS server for the zones of one AWS account. Start it inside a running event loop."""

    def __init__(self, route53: Route53, *, outside: Outside = lambda _name, _type: None) -> None:
        self._route53 = route53
        self._outside = outside
        self._reading: asyncio.Task[Zones] | None = None
        self._next: asyncio.Task[Zones] | None = None
        self._transports: list[asyncio.DatagramTransport] = []
        self._servers: list[asyncio.Server] = []
        self._pending: set[asyncio.Task[None]] = set()

    async def start(self, addresses: Sequence[str] = ("127.0.0.1",), port: int = 0) -> int:
        """Bind UDP and TCP at each address, with one port for all. Return the port.

        Addresses may not exist yet (a container network's gateway). Raises OSError when a given
        port is taken.
        """
        sockets = _bind(addresses, port)
        loop = asyncio.get_running_loop()
        for udp, tcp in sockets:
            transport, _ = await loop.create_datagram_endpoint(lambda: _Udp(self), sock=udp)
            self._transports.append(transport)
            self._servers.append(await asyncio.start_server(self._serve_tcp, sock=tcp))
        return int(sockets[0][0].getsockname()[1])

    async def stop(self) -> None:
        """Close the sockets and cancel unfinished answers."""
        for transport in self._transports:
            transport.close()
        for server in self._servers:
            server.close()
        for task in self._pending:
            task.cancel()
        await asyncio.gather(*self._pending, return_exceptions=True)
        self._transports.clear()
        self._servers.clear()

    def receive(self, wire: bytes, peer: Any, transport: asyncio.DatagramTransport) -> None:
        """Answer one datagram in its own task."""

        async def answer() -> None:
            response = await self.respond(wire, udp=True)
            if response is not None and not transport.is_closing():
                transport.sendto(response, peer)

        self._run(asyncio.get_running_loop().create_task(answer()))

    async def respond(self, wire: bytes, *, udp: bool) -> bytes | None:
        """Return the response's bytes, or None if this is not a query."""
        try:
            query = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            return _format_error(wire)
        if query.flags & dns.flags.QR:
            return None
        response = await self._response(query)
        limit = MAX_TCP
        if udp:
            limit = min(max(query.payload, MIN_UDP), MAX_UDP) if query.edns >= 0 else MIN_UDP
        return response.to_wire(max_size=limit, prefer_truncation=True)

    async def _response(self, query: dns.message.Message) -> dns.message.Message:
        response = dns.message.make_response(query)
        if query.opcode() != dns.opcode.QUERY:
            response.set_rcode(dns.rcode.NOTIMP)
            return response
        if query.edns > 0:
            response.set_rcode(dns.rcode.BADVERS)  # RFC 6891 section 6.1.3
            return response
        try:
            zones = await self._zones()
            return zones.respond(query)
        except (BotoCoreError, ClientError, OSError) as error:
            log.warning("dns.route53_unreadable", extra={"error": str(error)})
        except (ValueError, dns.exception.DNSException) as error:
            log.warning("dns.record_unpublishable", extra={"error": str(error)})
        response.set_rcode(dns.rcode.SERVFAIL)
        return response

    async def _zones(self) -> Zones:
        """Return the zones by a read that begins after this call, not by one in progress."""
        if self._next is None:
            self._next = asyncio.create_task(self._read_after(self._reading))
        return await asyncio.shield(self._next)

    async def _read_after(self, previous: asyncio.Task[Zones] | None) -> Zones:
        if previous is not None:
            await asyncio.wait([previous])
        self._reading, self._next = self._next, None
        return await asyncio.to_thread(self._read)

    def _read(self) -> Zones:
        zones = [
            (zone, list(self._record_sets(zone["Id"])))
            for page in self._pages(self._route53.list_hosted_zones, {"NextMarker": "Marker"}, {})
            for zone in page["HostedZones"]
        ]
        return Zones(zones, self._outside)

    def _record_sets(self, zone_id: str) -> list[Any]:
        following = {
            "NextRecordName": "StartRecordName",
            "NextRecordType": "StartRecordType",
            "NextRecordIdentifier": "StartRecordIdentifier",
        }
        call = self._route53.list_resource_record_sets
        return [
            record_set
            for page in self._pages(call, following, {"HostedZoneId": zone_id})
            for record_set in page["ResourceRecordSets"]
        ]

    @staticmethod
    def _pages(call: Any, following: dict[str, str], arguments: dict[str, str]) -> list[Any]:
        pages = [call(**arguments)]
        while pages[-1]["IsTruncated"]:
            start = {
                argument: pages[-1][marker]
                for marker, argument in following.items()
                if marker in pages[-1]
            }
            pages.append(call(**arguments, **start))
        return pages

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve any number of queries on a connection, each preceded by its length (RFC 7766)."""
        try:
            while True:
                async with asyncio.timeout(TCP_IDLE_SECONDS):
                    (length,) = struct.unpack("!H", await reader.readexactly(2))
                    wire = await reader.readexactly(length)
                response = await self.respond(wire, udp=False)
                if response is None:
                    return
                writer.write(struct.pack("!H", len(response)) + response)
                await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    def _run(self, task: asyncio.Task[None]) -> None:
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # asyncio's own class does not derive from this one before Python 3.12.
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._server.receive(data, addr, self._transport)


def _format_error(wire: bytes) -> bytes | None:
    """Return FORMERR with the query's id, if the datagram has a query's header with one."""
    if len(wire) < 12 or wire[2] & 0x80:
        return None
    response = dns.message.Message(id=int.from_bytes(wire[:2], "big"))
    response.flags |= dns.flags.QR
    response.set_rcode(dns.rcode.FORMERR)
    return response.to_wire()


def _bind(addresses: Sequence[str], port: int) -> list[tuple[socket.socket, socket.socket]]:
    """Return UDP and TCP sockets with one port at every address; 0 means any free port."""
    attempts = 1 if port else 20
    for attempt in range(attempts):
        opened: list[socket.socket] = []
        chosen = port
        try:
            for address in addresses:
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    opened.append(_socket(kind, address, chosen))
                    chosen = opened[0].getsockname()[1]
        except OSError:
            for bound in opened:
                bound.close()
            if attempt == attempts - 1:
                raise
            continue
        return list(zip(opened[1::2], opened[::2], strict=True))
    raise AssertionError("at least one attempt")


def _socket(kind: socket.SocketKind, address: str, port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, kind)
    try:
        if kind == socket.SOCK_STREAM:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.setsockopt(socket.SOL_IP, _IP_FREEBIND, 1)
        except OSError:
            log.debug("dns.no_freebind")  # not Linux: the address must exist already
        bound.bind((address, port))
    except OSError:
        bound.close()
        raise
    bound.setblocking(False)  # noqa: FBT003  # the standard library's signature
    return bound
