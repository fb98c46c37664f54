"""What an authoritative server answers from a set of zones (RFC 1034 section 4.3.2). No I/O.

Takes zones and record sets in the form in which Route 53's API returns them. Alias records are
resolved where their target is known; of record sets with a routing policy the first one counts;
private zones are not served. DNSSEC, zone transfers and dynamic updates are not implemented; Route
53 does not have the last two either.

Fails by ValueError (dnspython's exceptions are such) on a record value that no DNS server could
publish: Route 53 refuses such values, an emulator may have stored them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

Name = dns.name.Name
Type = dns.rdatatype.RdataType

Outside = Callable[[str, str], "tuple[str, ...] | None"]
"""Names that others than our zones serve: (name in lower case without trailing dot, record type)
to values; an empty tuple where the name has no such record; None where the name is not known."""

ALIAS_TTL = 60  # what Route 53 answers for an alias of another AWS resource
MAX_CNAMES = 16
_WILDCARD = dns.name.from_text("*", origin=None)


@dataclass(frozen=True)
class _Records:
    ttl: int
    values: tuple[str, ...]
    alias: Name | None = None


@dataclass
class _Zone:
    origin: Name
    nodes: dict[Name, dict[Type, _Records]] = field(
        default_factory=dict[Name, "dict[Type, _Records]"]
    )
    inner: set[Name] = field(default_factory=set[Name])
    """All names that exist, with the empty ones between the apex and a node (RFC 4592 2.2.2)."""

    def add(self, name: Name, kind: Type, records: _Records) -> None:
        self.nodes.setdefault(name, {}).setdefault(kind, records)
        while name != self.origin:
            self.inner.add(name)
            name = name.parent()
        self.inner.add(self.origin)

    def cut(self, name: Name) -> Name | None:
        """Return the delegation above `name`, if any: the NS records nearest to the apex."""
        below = name.relativize(self.origin).labels
        for depth in range(1, len(below) + 1):
            candidate = dns.name.Name(below[-depth:]).derelativize(self.origin)
            if dns.rdatatype.NS in self.nodes.get(candidate, {}):
                return candidate
        return None

    def node(self, name: Name) -> dict[Type, _Records] | None:
        """Return the records at the name, its own or a wildcard's; None if it does not exist."""
        if name in self.inner:
            return self.nodes.get(name, {})
        encloser = name
        while encloser not in self.inner:
            encloser = encloser.parent()
        return self.nodes.get(_WILDCARD.derelativize(encloser))


class Zones:
    """A state of all zones at one moment, and the answers it gives."""

    def __init__(
        self,
        zones: Iterable[tuple[Mapping[str, Any], Iterable[Mapping[str, Any]]]],
        outside: Outside = lambda _name, _type: None,
    ) -> None:
        """`zones`: pairs of a hosted zone and its record sets, both as Route 53 returns them."""
        self._zones: dict[Name, _Zone] = {}
        self._outside = outside
        for hosted_zone, record_sets in zones:
            if hosted_zone.get("Config", {}).get("PrivateZone"):
                continue
            origin = _name(hosted_zone["Name"])
            if origin in self._zones:
                continue  # a second zone of the same name: only one of them can be delegated to
            zone = self._zones[origin] = _Zone(origin)
            for record_set in record_sets:
                kind = dns.rdatatype.from_text(record_set["Type"])
                zone.add(_name(record_set["Name"]), kind, _records(record_set))

    def respond(self, query: dns.message.Message) -> dns.message.Message:
        """Return the response to a query with one question; the caller limits its size."""
        response = dns.message.make_response(query)
        if len(query.question) != 1:
            response.set_rcode(dns.rcode.FORMERR)
            return response
        question = query.question[0]
        meta = dns.rdatatype.is_metatype(question.rdtype) and question.rdtype != dns.rdatatype.ANY
        if question.rdclass != dns.rdataclass.IN or meta:
            response.set_rcode(dns.rcode.REFUSED)
            return response
        self._answer(response, question.name, question.rdtype)
        return response

    def _answer(self, response: dns.message.Message, name: Name, kind: Type) -> None:
        for step in range(MAX_CNAMES):
            zone = self._zone_of(name)
            if zone is None:
                known = self._ask_outside(response, name, kind)
                if not known and step == 0:
                    response.set_rcode(dns.rcode.REFUSED)  # as Route 53 does for foreign names
                return
            following = self._answer_in(zone, response, name, kind)
            if following is None:
                return
            name = following
        response.set_rcode(dns.rcode.SERVFAIL)  # a loop of CNAMEs

    def _answer_in(
        self, zone: _Zone, response: dns.message.Message, name: Name, kind: Type
    ) -> Name | None:
        """Add the zone's records. Return the name to continue with if the record is a CNAME."""
        cut = zone.cut(name)
        if cut is not None and not (cut == name and kind == dns.rdatatype.NS):
            delegation = _rrset(cut, dns.rdatatype.NS, zone.nodes[cut][dns.rdatatype.NS])
            response.authority.append(delegation)
            return None
        response.flags |= dns.flags.AA
        node = zone.node(name)
        if node is None:
            response.set_rcode(dns.rcode.NXDOMAIN)  # of the last name in a chain: RFC 6604
            _add_soa(response, zone)
            return None
        if dns.rdatatype.CNAME in node and kind not in (dns.rdatatype.CNAME, dns.rdatatype.ANY):
            response.answer.append(_rrset(name, dns.rdatatype.CNAME, node[dns.rdatatype.CNAME]))
            return dns.name.from_text(node[dns.rdatatype.CNAME].values[0])
        if kind == dns.rdatatype.ANY:
            # RFC 8482 section 4.2: one small answer, of no use for amplification.
            found = _rrset(name, dns.rdatatype.HINFO, _Records(3600, ('"RFC8482" ""',)))
        else:
            found = self._resolved(name, kind, node[kind]) if kind in node else None
        if found is None:
            _add_soa(response, zone)
        else:
            response.answer.append(found)
        return None

    def _zone_of(self, name: Name) -> _Zone | None:
        while name not in self._zones:
            if name == dns.name.root:
                return None
            name = name.parent()
        return self._zones[name]

    def _ask_outside(self, response: dns.message.Message, name: Name, kind: Type) -> bool:
        values = self._outside(_text(name), dns.rdatatype.to_text(kind))
        if values is None:
            return False
        response.flags |= dns.flags.AA
        if values:
            response.answer.append(_rrset(name, kind, _Records(ttl=300, values=values)))
        return True

    def _resolved(self, name: Name, kind: Type, records: _Records) -> dns.rrset.RRset | None:
        """Return the record set under its own name; an alias gets its target's records."""
        for _ in range(MAX_CNAMES):
            if records.alias is None:
                return _rrset(name, kind, records)
            target = records.alias
            zone = self._zone_of(target)
            if zone is None:
                values = self._outside(_text(target), dns.rdatatype.to_text(kind))
                return _rrset(name, kind, _Records(ALIAS_TTL, values)) if values else None
            found = (zone.node(target) or {}).get(kind)
            if found is None:
                return None
            records = found
        raise ValueError(f"a loop of alias records at {name}")


def _records(record_set: Mapping[str, Any]) -> _Records:
    target = record_set.get("AliasTarget")
    if target is not None:
        return _Records(ttl=ALIAS_TTL, values=(), alias=_name(target["DNSName"]))
    values = tuple(_decimal_escapes(value["Value"]) for value in record_set["ResourceRecords"])
    return _Records(ttl=int(record_set["TTL"]), values=values)


def _rrset(name: Name, kind: Type, records: _Records) -> dns.rrset.RRset:
    # Route 53 takes host names as absolute, whether or not they end in a dot.
    return dns.rrset.from_text_list(
        name,
        records.ttl,
        dns.rdataclass.IN,
        kind,
        records.values,
        origin=dns.name.root,
        relativize=False,
    )


def _add_soa(response: dns.message.Message, zone: _Zone) -> None:
    """Add the SOA record, which limits the age of a negative answer (RFC 2308 section 3)."""
    soa = zone.nodes.get(zone.origin, {}).get(dns.rdatatype.SOA)
    if soa is not None:
        response.authority.append(_rrset(zone.origin, dns.rdatatype.SOA, soa))


def _name(text: str) -> Name:
    """Return a name; dnspython compares and hashes names without regard to case."""
    return dns.name.from_text(_decimal_escapes(text))


def _text(name: Name) -> str:
    return name.to_text(omit_final_dot=True).lower()


def _decimal_escapes(text: str) -> str:
    r"""Route 53 escapes a byte as three octal digits (`\052` is `*`), master files as decimal."""
    return re.sub(r"\\([0-3][0-7]{2})", lambda match: f"\\{int(match[1], 8):03d}", text)
