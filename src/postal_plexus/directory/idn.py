"""Convert domain names between U-labels, as people write them, and A-labels (RFC 5891).

Only this module uses the library `idna`; the service on the small host never imports it. Names are
first mapped by UTS 46 (capitals, full-width dots), so that `Bücher.example` is the same domain
however it was typed. Raises AddressError.
"""

import idna

from postal_plexus.directory.address import Address, AddressError, is_domain


def kept_domain(text: str) -> str:
    """Return the stored form of the domain `text`. Raise AddressError, to complete "it ..."."""
    if text.endswith("."):
        raise AddressError("ends in a dot")
    try:
        name = idna.encode(text, uts46=True, std3_rules=True).decode()
    except (idna.IDNAError, UnicodeError) as error:
        raise AddressError(f"is not a domain name ({error})") from error
    if "." not in name:
        raise AddressError("is a single word, and a mail domain has at least two")
    if not is_domain(name):
        number = "" if name.rpartition(".")[2].isalpha() else ", or is an IPv4 address"
        raise AddressError(f"is not a domain name{number}")
    return name


def kept_address(text: str) -> Address:
    """Parse an address whose domain may be written in any script. Raise AddressError."""
    local, at, domain = text.rpartition("@")
    if not at:
        raise AddressError("has no @")
    return Address.parse(f"{local}@{kept_domain(domain)}")


def shown(text: str) -> str:
    """Return an address or a domain for people to read, with U-labels if there are any."""
    local, at, domain = text.rpartition("@")
    try:
        return local + at + idna.decode(domain)
    except (idna.IDNAError, UnicodeError):
        return text
