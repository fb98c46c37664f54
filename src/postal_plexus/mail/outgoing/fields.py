"""Header fields of an outgoing message: which may occur only once, and which are removed. Pure.

Names are in lower case. Values are octets as Postfix passes them: folds are LF and white space.
"""

from collections.abc import Iterable

# https://docs.aws.amazon.com/ses/latest/dg/header-fields.html, read in November 2026: a second one
# is answered with 554 "Duplicate header".
# fmt: off
ONCE_ONLY = frozenset((
    "accept-language", "acceptlanguage", "archived-at", "auto-submitted", "bounces-to",
    "comments", "content-alternative", "content-base", "content-class", "content-description",
    "content-disposition", "content-duration", "content-id", "content-language",
    "content-length", "content-location", "content-md5", "content-transfer-encoding",
    "content-type", "date", "delivered-to", "disposition-notification-options",
    "disposition-notification-to", "dkim-signature", "domainkey-signature", "errors-to", "from",
    "importance", "in-reply-to", "keywords", "list-archive", "list-help", "list-id",
    "list-owner", "list-post", "list-subscribe", "list-unsubscribe", "list-unsubscribe-post",
    "message-context", "message-id", "mime-version", "organization", "original-from",
    "original-message-id", "original-recipient", "original-subject", "precedence", "priority",
    "references", "reply-to", "return-path", "return-receipt-to", "sender", "solicitation",
    "sensitivity", "subject", "thread-index", "thread-topic", "user-agent", "vbr-info",
))
# fmt: on
# SES acts on X-SES-*; the others are what Sieve and `deliver` trust, and what forged ones are
# renamed to.
NEVER = ("x-ses-", "x-plexus-", "x-forged-")
# Claims of former hops. Anyone may have written them, so they do not leave in our name.
VERDICTS = frozenset(
    ("authentication-results", "received-spf", "x-sieve", "x-sieve-redirected-from")
)
# A signature over a replaced From can only fail; the others concern a message that ended here.
NOT_IN_OUR_NAME = frozenset(
    ("dkim-signature", "domainkey-signature", "sender", "bcc", "return-path")
)
ADDRESSES = ("to", "cc", "reply-to")
LOOP = "X-Loop"
LONGEST_LINE = 998
"""Maximum octets of a line without its CRLF (RFC 5322, 2.1.1)."""


class Field:
    """One field: its name as written, and in lower case; its value with folds."""

    __slots__ = ("key", "name", "value")

    def __init__(self, name: str, value: bytes) -> None:
        self.name = name
        self.key = name.strip().lower()
        self.value = value


class Change:
    """Replace the `nth` field of a name (from 1), or remove it (value None); nth 0 adds one."""

    __slots__ = ("name", "nth", "value")

    def __init__(self, name: str, nth: int, value: str | None) -> None:
        self.name = name
        self.nth = nth
        self.value = value

    def __repr__(self) -> str:
        return f"Change({self.name!r}, {self.nth}, {self.value!r})"


class Header:
    """A header block being edited; `changes` returns the edits in the order to apply them."""

    def __init__(self, fields: Iterable[Field]) -> None:
        self._fields = list(fields)
        self._places: dict[str, list[int]] = {}
        for place, field in enumerate(self._fields):
            self._places.setdefault(field.key, []).append(place)
        self._new: dict[int, str | None] = {}
        self._added: list[Change] = []

    def names(self) -> tuple[str, ...]:
        """Names of the existing fields, in lower case, each once."""
        return tuple(self._places)

    def count(self, key: str) -> int:
        """Return how many there were originally."""
        return len(self._places.get(key, ()))

    def first(self, key: str) -> bytes | None:
        """Return the first one's original value."""
        places = self._places.get(key)
        return self._fields[places[0]].value if places else None

    def all(self, key: str) -> list[bytes]:
        """Return every one's original value."""
        return [self._fields[place].value for place in self._places.get(key, ())]

    def remove(self, key: str, keep: int = 0) -> None:
        """Remove all but the first `keep`."""
        for place in self._places.get(key, ())[keep:]:
            self._new[place] = None

    def set(self, name: str, value: str) -> None:
        """Set the first one's value and remove the others; add one if there is none."""
        places = self._places.get(name.lower(), ())
        if places:
            self.remove(name.lower(), keep=1)
            self._new[places[0]] = value
        else:
            self._added = [each for each in self._added if each.name != name]
            self._added.append(Change(name, 0, value))

    def refold(self, key: str, nth: int, value: str) -> None:
        """Set the nth one's value (from 0) unless it is changed or removed already."""
        self._new.setdefault(self._places[key][nth], value)

    def changes(self) -> list[Change]:
        """Return the changes from the last to the first, so that field numbers stay valid."""
        made: list[Change] = []
        for places in self._places.values():
            made += [
                Change(self._fields[place].name, nth, self._new[place])
                for nth, place in reversed(list(enumerate(places, 1)))
                if place in self._new
            ]
        return made + self._added


def is_well_folded(name: str, value: bytes) -> bool:
    """Return whether no line is too long or blank (some take a blank line for the header's end)."""
    first, *others = value.split(b"\n")
    longest = max((len(name) + 2 + len(first), *map(len, others)))
    return longest <= LONGEST_LINE and all(line.strip() for line in others)
