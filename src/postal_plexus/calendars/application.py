"""Radicale with our settings, for the running server and for tasks beside it."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radicale import config, rights, storage
from radicale.app import Application

from postal_plexus.calendars.bounds import LARGEST_BYTES
from postal_plexus.calendars.links import COMPONENTS
from postal_plexus.calendars.shares import Share, permissions

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

FIRST_COLLECTIONS: Mapping[str, Mapping[str, str]] = {
    "calendar": {
        "D:displayname": "Calendar",
        "C:supported-calendar-component-set": COMPONENTS,
        "tag": "VCALENDAR",
    },
    "contacts": {"D:displayname": "Contacts", "tag": "VADDRESSBOOK"},
}
"""What each user has from the first login."""


_EXPAND = "{urn:ietf:params:xml:ns:caldav}expand"
_LONGEST_EXPANSION = timedelta(days=1500)


class Calendars(Application):
    """Radicale, which answers 400, not 500, to XML that defusedxml refuses.

    It answers the same to a request for all occurrences of each event (RFC 4791, 9.6.5) within more
    than four years, because Radicale 3.5 would work them out for as long as it takes.
    """

    def _read_xml_request_body(self, environ: Mapping[str, Any]) -> Any:
        try:
            body = super()._read_xml_request_body(environ)
        except (ValueError, RecursionError) as error:
            raise RuntimeError(f"refused XML: {type(error).__name__}") from error
        if body is not None and any(map(_is_too_long, body.iter(_EXPAND))):
            raise RuntimeError("refused to expand events over more than four years")
        return body

    @property
    def storage(self) -> storage.BaseStorage:
        """The store, with its lock."""
        return self._storage


def _is_too_long(expand: "Element") -> bool:
    try:
        start, end = (
            datetime.strptime(expand.get(name, ""), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            for name in ("start", "end")
        )
    except ValueError:
        # Radicale refuses it.
        return False
    return end - start > _LONGEST_EXPANSION


def radicale_application(store: Path, cache: Path, shares: tuple[Share, ...]) -> Calendars:
    """Return Radicale with our settings, each different from its default for a reason."""

    class Rights(rights.BaseRights):
        def authorization(self, user: str, path: str) -> str:
            return permissions(user, path, shares)

    configuration = config.load()
    settings: Mapping[str, Mapping[str, object]] = {
        # The gate has checked the password, and says who it is.
        "auth": {"type": "remote_user"},
        # A PUT onto a calendar's own address would replace all of it, and needs much memory.
        "rights": {"type": Rights, "permit_overwrite_collection": False},
        "storage": {
            "filesystem_folder": str(store),
            # What can be made anew is on the host's volume: over NFS each costs a round trip.
            "filesystem_cache_folder": str(cache),
            "use_cache_subfolder_for_item": True,
            "use_cache_subfolder_for_history": True,
            "use_cache_subfolder_for_synctoken": True,
            # Otherwise each item is read at each look.
            "use_mtime_and_size_for_item_cache": True,
            # A client sees a calendar at once.
            "predefined_collections": json.dumps(FIRST_COLLECTIONS),
        },
        "server": {"max_content_length": LARGEST_BYTES},
        # No pages.
        "web": {"type": "none"},
    }
    configuration.update(settings, "postal_plexus", privileged=True)
    return Calendars(configuration)
