"""DNS lookups for `plexus dns`.

Raises CommandError (USAGE) for an invalid resolver, and LookupError with the library's message for
a lookup without an answer.
"""

from collections.abc import Callable

import dns.exception
import dns.rdtypes.ANY.TXT
import dns.resolver

from postal_plexus.autoconfig.records import Record
from postal_plexus.certificates.delegation import resolver
from postal_plexus.cli.exits import CommandError, Exit

_SECONDS = 5.0


def look_up_by(given: str | None) -> Callable[[Record], tuple[str, ...]]:
    """Return a function that looks up a record set at `address:port`, or at the machine's resolver.

    It returns values in zone file format, except that texts are whole and without quotes.
    """
    try:
        ask = resolver(given)
    except (ValueError, dns.exception.DNSException) as error:
        line = f"--resolver {given}: {error}; give an address, such as 9.9.9.9 or 127.0.0.1:5353"
        raise CommandError(Exit.USAGE, line) from error

    def look_up(record: Record) -> tuple[str, ...]:
        try:
            answer = ask.resolve(record.name, record.type, lifetime=_SECONDS, search=False)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return ()
        except dns.exception.DNSException as error:
            raise LookupError(str(error) or type(error).__name__) from error
        return tuple(
            b"".join(each.strings).decode("utf-8", "replace")
            if isinstance(each, dns.rdtypes.ANY.TXT.TXT)
            else each.to_text()
            for each in answer
        )

    return look_up
