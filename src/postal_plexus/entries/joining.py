"""Join the entries of a calendar into one file, as other programs import it. Pure.

A time zone is written once, before the first entry that names it. Two that have the same name and
differ (Outlook calls each "Customized Time Zone") get names of their own.
"""

import re
from collections.abc import Iterable, Iterator

from postal_plexus.entries.lines import components, content_lines, first, folded, unfolded


def joined_calendar(name: str, entries: Iterable[str]) -> Iterator[str]:
    """Yield one VCALENDAR in pieces, with CRLF line ends.

    Args:
        name: the calendar's name.
        entries: the texts of the entries, each a VCALENDAR.
    """
    yield "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Postal Plexus//EN\r\n"
    escaped = re.sub(r"([\\;,])", r"\\\1", name)
    yield folded(f"X-WR-CALNAME:{escaped}") + "\r\n"
    zones: dict[str, str] = {}
    for entry in entries:
        yield _of_entry(entry, zones)
    yield "END:VCALENDAR\r\n"


def _of_entry(entry: str, zones: dict[str, str]) -> str:
    """Return an entry's components, and its zones as far as `zones` lacks them; add these."""
    renamed: dict[str, str] = {}
    found: list[str] = []
    inside = list(components(content_lines(entry)))
    for zone in (lines for kind, lines in inside if kind == "VTIMEZONE"):
        name = first(zone, "TZID")
        text = "\r\n".join(zone)
        free = (name if number == 1 else f"{name} {number}" for number in range(1, 10_000))
        ours = next(each for each in free if zones.get(each, text) == text)
        if ours != name:
            renamed[name] = ours
        if ours not in zones:
            zones[ours] = text
            found += [
                f"TZID:{ours}" if line.upper().startswith("TZID") else line
                for line in unfolded(zone)
            ]
    for lines in (lines for kind, lines in inside if kind != "VTIMEZONE"):
        found += _with_zones(lines, renamed) if renamed else lines
    return "".join(f"{line}\r\n" for line in found)


def _with_zones(lines: list[str], renamed: dict[str, str]) -> Iterator[str]:
    def new_name(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        return f';TZID="{renamed[name]}"' if name in renamed else match[0]

    for line in unfolded(lines):
        yield folded(re.sub(r';TZID=(?:"([^"]*)"|([^";:,]*))', new_name, line, flags=re.IGNORECASE))
