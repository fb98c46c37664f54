"""An e-mail address as in RFC 5321, and the form in which this system compares it.

There are two kinds of addresses. **Hosted** ones are ours: their local part is a plain dot-string,
compared without regard to case and therefore stored in lower case, never with a subaddress. All
**others** keep their local part unchanged, because only its host may interpret it (RFC 5321, 2.4).
Domains are A-labels ("xn--...") in lower case in both; `idn` converts them.

`user+tag` is the subaddress `tag` of `user`. It is split as by Postfix and Dovecot with
`recipient_delimiter = +`: at the first plus sign, unless nothing would be left before it.

Raises AddressError, whose text completes the sentence "the address ...". No I/O.
"""

import re
from dataclasses import dataclass

from postal_plexus.mail.envelope import ascii_domain

ADDRESS_LIMIT = 254
"""Maximum octets of an address: RFC 5321, 4.5.3.1.3 allows 256 with two angle brackets."""

LOCAL_PART_LIMIT = 64
"""Maximum octets of a local part, including the subaddress and quotes: RFC 5321, 4.5.3.1.1."""

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
# The last label must not be a number in any spelling: a name that ends in one is an IPv4 address,
# or programs regard it as one (https://url.spec.whatwg.org/#ends-in-a-number-checker).
_NUMBER = r"(?:[0-9]+|0x[0-9a-f]*)"
_DOMAIN = re.compile(rf"(?=.{{1,253}}\Z)(?!.*\.{_NUMBER}\Z){_LABEL}(?:\.{_LABEL})+")
_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]"
_DOT_STRING = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*")
_QUOTED_STRING = re.compile(r'"((?:[ !#-\[\]-~]|\\[ -~])*)"')
_PRINTABLE = re.compile(r"[ -~]*")

# The name of a local mailbox or alias is more restricted than atext: "/" would leave the user's
# directory, "+" starts a subaddress, a leading "#" turns the line into a comment in Postfix's and
# Dovecot's tables, and Postfix refuses a leading "-" (allow_min_user).
_HOSTED_ATEXT = r"[a-z0-9!#$%&'*=?^_`{|}~-]"
_HOSTED = re.compile(rf"(?![#-])(?=[^@]{{1,64}}@){_HOSTED_ATEXT}+(?:\.{_HOSTED_ATEXT}+)*@")


class AddressError(ValueError):
    """A text is not an address. The error's text completes "the address ..."."""


@dataclass(frozen=True, slots=True)
class Address:
    """A mailbox's address (RFC 5321, Mailbox), split and without quotes.

    Raises:
        AddressError: it is not an address; the text completes "the address ...".
    """

    local_part: str
    domain: str
    subaddress: str | None = None

    def __post_init__(self) -> None:
        if not is_domain(self.domain):
            raise AddressError("has no domain name of at least two labels after the @")
        if not self.local_part:
            raise AddressError("has nothing before the @")
        plus = self.local_part.find("+")
        if plus > 0 or (plus == 0 and self.subaddress is not None):
            raise AddressError("has its subaddress inside the local part")
        if not _PRINTABLE.fullmatch(self.local_part + (self.subaddress or "")):
            raise AddressError("has characters before the @ that are not printable ASCII")
        if len(self._quoted()) > LOCAL_PART_LIMIT:
            raise AddressError(f"has more than {LOCAL_PART_LIMIT} characters before the @")
        if len(str(self)) > ADDRESS_LIMIT:
            raise AddressError(f"has more than {ADDRESS_LIMIT} characters")

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Parse `text`. Unnecessary quotes are removed (RFC 5321, 4.1.2).

        Raises AddressError. Address literals (`ann@[192.0.2.1]`) and non-ASCII texts are refused:
        the former belong to no domain, and `idn` converts the latter to ASCII before.
        """
        local, at, domain = text.rpartition("@")
        if not at:
            raise AddressError("has no @")
        if quoted := _QUOTED_STRING.fullmatch(local):
            local = re.sub(r"\\(.)", r"\1", quoted[1])
        elif not _DOT_STRING.fullmatch(local):
            raise AddressError(_fault_of(local))
        name, subaddress = split_subaddress(local)
        return cls(name, _lower(domain), subaddress)

    def without_subaddress(self) -> "Address":
        """The address of the mailbox to which this one belongs."""
        return self if self.subaddress is None else Address(self.local_part, self.domain)

    def _quoted(self) -> str:
        local = self.local_part
        if self.subaddress is not None:
            local += f"+{self.subaddress}"
        if _DOT_STRING.fullmatch(local):
            return local
        return '"' + re.sub(r'(["\\])', r"\\\1", local) + '"'

    def __str__(self) -> str:
        return f"{self._quoted()}@{self.domain}"


def split_subaddress(local_part: str) -> tuple[str, str | None]:
    """Split `user+tag` into user and tag, as Postfix's split_addr(3) does."""
    name, plus, tag = local_part.partition("+")
    return (name, tag) if plus and name else (local_part, None)


def without_subaddress(address: str) -> str:
    """Return the mailbox of a hosted address: `user@d` for `user+tag@d`."""
    local, _, domain = address.rpartition("@")
    return f"{split_subaddress(local)[0]}@{domain}"


def envelope_parts(recipient: str) -> tuple[str, str | None, str]:
    """Parse an envelope recipient leniently.

    Returns local part and domain in lower case, and the subaddress as written, or None if there is
    none or it cannot be part of an address. Angle brackets, a source route and a trailing dot are
    removed, and U-labels in the domain are converted to A-labels. Never raises: for an invalid
    address it returns parts that no directory contains. Only ASCII letters of a local part are
    converted to lower case, because capital letters of other scripts could be folded to ASCII
    letters, and so to another person's address.
    """
    local, _, domain = recipient.strip(" <>").rpartition("@")
    if local.startswith("@"):
        local = local.partition(":")[2]  # RFC 5321, appendix F.2
    if local.startswith('"') and (quoted := _QUOTED_STRING.fullmatch(local)):
        local = re.sub(r"\\(.)", r"\1", quoted[1])
    name, subaddress = split_subaddress(local)
    if subaddress is not None:
        whole = f"{name}+{subaddress}"
        if len(whole) > LOCAL_PART_LIMIT or not _DOT_STRING.fullmatch(whole):
            subaddress = None
    return _lower(name), subaddress, ascii_domain(domain)


def is_domain(text: str) -> bool:
    """Return whether `text` is a domain name in its stored form: A-labels, lower case."""
    return _DOMAIN.fullmatch(text) is not None


def is_hosted(text: str) -> bool:
    """Return whether `text` is a hosted address: lower case, no subaddress, a safe dot-string."""
    local = _HOSTED.match(text)
    return local is not None and len(text) <= ADDRESS_LIMIT and is_domain(text[local.end() :])


def _lower(text: str) -> str:
    return text.lower() if text.isascii() else text


def _fault_of(local_part: str) -> str:
    """Return why `local_part` is not a dot-string."""
    if not local_part:
        return "has nothing before the @"
    if not local_part.isascii():
        return "has characters before the @ that are not ASCII"
    if local_part.startswith(".") or local_part.endswith(".") or ".." in local_part:
        return "has a dot before the @ that does not stand between two other characters"
    if "@" in local_part:
        return "has more than one @"
    strange = sorted(set(re.sub(_ATEXT + r"|\.", "", local_part)))
    named = " ".join(map(repr, strange[:5]))
    return f"has characters before the @ that need quotes there: {named}"
