"""Domain names as people write them, and as they are kept: U-labels and A-labels (RFC 5891).

Only this module knows the library `idna`; the service on the small host never imports it. Names
are mapped as UTS 46 says before (capitals, full-width dots), so that `Bücher.example` is the same
domain however it was typed. Fails with AddressError.
"""

import idna

from postal_plexus.directory.address import Address, AddressError, is_domain


def kept_domain(text: str) -> str:
    """The form in which the domain `text` is kept. Raises AddressError, to complete "it ..."."""
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
    """Parse an address whose domain may be written in any script. Raises AddressError."""
    local, at, domain = text.rpartition("@")
    if not at:
        raise AddressError("has no @")
    return Address.parse(f"{local}@{kept_domain(domain)}")


def shown(text: str) -> str:
    """An address or a domain as a person reads it, with U-labels where there are any."""
    local, at, domain = text.rpartition("@")
    try:
        return local + at + idna.decode(domain)
    except (idna.IDNAError, UnicodeError):
        return text
