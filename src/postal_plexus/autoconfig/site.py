"""A domain's web site: the files that clients and senders fetch, and the function in front of them.

All files are static and in a bucket; CloudFront serves them for autoconfig.D, autodiscover.D and
mta-sts.D. The function (CloudFront's JavaScript 2.0) does what files cannot: answer Outlook's POST,
and find a file regardless of the letter case of its path. It cannot see a request's body.
"""

from __future__ import annotations

import html
import json
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from postal_plexus.autoconfig import apple, autodiscover, mta_sts, thunderbird
from postal_plexus.autoconfig.hosts import ClientSetup
from postal_plexus.autoconfig.services import DAV_PATH, SERVICES

if TYPE_CHECKING:
    from postal_plexus.autoconfig.mta_sts import MtaStsPolicy

_PLACEHOLDER = ClientSetup(domain="DOMAIN.invalid", host="HOST.invalid")
MAX_FUNCTION_BYTES = 10_240
"""https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/cloudfront-limits.html"""


@dataclass(frozen=True)
class SiteFile:
    """One file of the site; `path` begins with a slash."""

    path: str
    content_type: str
    content: bytes
    max_age: int = 3600


def site_files(setup: ClientSetup, policy: MtaStsPolicy) -> tuple[SiteFile, ...]:
    """Return all files of one domain's site; each is available under all of the site's names."""
    config = thunderbird.autoconfig(setup)
    return (
        SiteFile(thunderbird.PATH, "text/xml; charset=utf-8", config),
        SiteFile(thunderbird.WELL_KNOWN_PATH, "text/xml; charset=utf-8", config),
        SiteFile(autodiscover.PATH, "text/xml; charset=utf-8", autodiscover.autodiscover(setup)),
        SiteFile(apple.PATH, apple.CONTENT_TYPE, apple.apple_profile(setup)),
        # text/plain: RFC 8461 section 3.2. A short time, so that a cache does not hide a new
        # policy.
        SiteFile(mta_sts.PATH, "text/plain; charset=utf-8", policy.text, max_age=300),
        SiteFile("/index.html", "text/html; charset=utf-8", _page(setup)),
    )


def edge_function(*, shared_host: str | None = None) -> str:
    """Return the JavaScript that CloudFront runs on each request; one for all domains of a stack.

    `shared_host` is the client host if all domains use one, or None for mail.<domain>.
    """
    source = (
        resources.files("postal_plexus.autoconfig").joinpath("edge_function.js").read_text("utf-8")
    )
    answer = "".join(
        line.strip() for line in autodiscover.autodiscover(_PLACEHOLDER).decode().splitlines()
    )
    code = source.replace("@SHARED_HOST@", json.dumps(shared_host or ""))
    code = code.replace("@AUTODISCOVER@", json.dumps(answer))
    if len(code.encode()) > MAX_FUNCTION_BYTES:
        raise ValueError(f"the edge function has more than {MAX_FUNCTION_BYTES} bytes")
    return code


def _page(setup: ClientSetup) -> bytes:
    """Return the page for people: what to enter, and Apple's profile to install."""
    rows = "".join(
        f"<tr><td>{service.name}<td>{html.escape(setup.host)}<td>{service.port}"
        f"<td>{service.tls.value}"
        for service in SERVICES
    )
    domain = html.escape(setup.domain)
    dav = f"https://{html.escape(setup.host)}{DAV_PATH}"
    calendars = f"<p>Calendars and contacts (CalDAV, CardDAV): {dav}" if setup.calendars else ""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>Mail for {domain}</title>'
        f"<h1>Mail for {domain}</h1>"
        f"<p>iPhone, iPad, Mac: <a href={apple.PATH}>install the profile</a>. "
        f"Thunderbird and most others: address and password are enough."
        f"<p>By hand: user name is the whole address."
        f"<table><tr><th>service<th>server<th>port<th>security{rows}</table>{calendars}</html>\n"
    ).encode()
