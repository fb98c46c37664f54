"""What a value of the stack file must be, beyond its type: the validators of `model`.

Those that depend on the stack's domains get them as pydantic's context. If it is None, the domains
are not known, and the check is skipped. Each raises RefusedError.
"""

import ipaddress
import re
from collections.abc import Callable, Collection
from typing import Any

from pydantic import AfterValidator, ValidationInfo

from postal_plexus.directory.address import AddressError
from postal_plexus.directory.idn import kept_address, kept_domain

NO_IMAGE = "none"
"""The value for certbot's image if something else provides the mail host's certificate."""

# RFC 1918. Any other address space belongs to somebody.
_PRIVATE = tuple(map(ipaddress.IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
IMAGE_NAMES = ("certbot", "deliver", "dovecot", "postfix")


class RefusedError(ValueError):
    """A validator refuses a value.

    `what` says what is wrong and `remedy` what to do; "" means the key's own text.
    """

    def __init__(self, what: str = "", remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


def only(allowed: Callable[[Any], object]) -> AfterValidator:
    """Refuse values for which `allowed` returns something false."""

    def check(value: object) -> object:
        if not allowed(value):
            raise RefusedError
        return value

    return AfterValidator(check)


def matches(pattern: re.Pattern[str]) -> AfterValidator:
    """Refuse texts that the pattern does not match whole."""
    return only(pattern.fullmatch)


def one_of(choices: Collection[int]) -> AfterValidator:
    """Refuse other numbers."""
    return only(choices.__contains__)


def _kept(domain: str) -> str:
    """Return a domain name in its stored form, or "" if it is not a domain name."""
    try:
        return kept_domain(domain)
    except AddressError:
        return ""


def domain_of_the_stack(name: str, info: ValidationInfo) -> str:
    """Return the stored form of a domain of the stack."""
    domains: Collection[str] | None = info.context
    kept = _kept(name)
    if not kept or (domains is not None and kept not in domains):
        raise RefusedError
    return kept


def host_of_the_stack(host: str, info: ValidationInfo) -> str:
    """Return the stored form of a host name below a domain of the stack."""
    domains: Collection[str] | None = info.context
    kept = _kept(host)
    if domains is not None and not kept.endswith(tuple(f".{domain}" for domain in domains)):
        such_as = next(iter(domains))
        remedy = f"Name a host in one of the domains, such as mail.{such_as}."
        raise RefusedError("", remedy)
    return kept


def outside_the_stack(address: str, info: ValidationInfo) -> str:
    """Return an address that is not in a domain of the stack."""
    domains: Collection[str] | None = info.context
    try:
        is_ours = kept_address(address).domain in (domains or ())
    except AddressError as error:
        raise RefusedError from error
    if is_ours:
        raise RefusedError
    return address


def is_private_network(block: str) -> bool:
    """Whether the block is private and large enough for a VPC of sixteen subnets."""
    try:
        network = ipaddress.IPv4Network(block)
    except ValueError:
        return False
    return 16 <= network.prefixlen <= 24 and any(network.subnet_of(part) for part in _PRIVATE)


def is_other_text(text: str) -> bool:
    """Whether this TXT record can coexist with ours: a second SPF record cannot."""
    return text != "" and not text.lower().startswith("v=spf1")


def all_images(images: dict[str, str]) -> dict[str, str]:
    """Require all images or none. Only certbot's may be NO_IMAGE, and is then left out."""
    absent = [name for name, image in images.items() if image == NO_IMAGE and name != "certbot"]
    if absent:
        raise RefusedError(f"has {', '.join(f'{name!r}: {NO_IMAGE!r}' for name in absent)}")
    if images and not images.keys() >= set(IMAGE_NAMES):
        missing = ", ".join(name for name in IMAGE_NAMES if name not in images)
        remedy = f"Name all {len(IMAGE_NAMES)} images, or none to have them built."
        if missing == "certbot":
            remedy += f" If something else provides the certificate: certbot: {NO_IMAGE}."
        raise RefusedError(f"lacks {missing}", remedy)
    return {name: image for name, image in images.items() if image != NO_IMAGE}
