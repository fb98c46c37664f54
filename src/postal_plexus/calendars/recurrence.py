"""How often an event recurs: refuse what would take minutes to work out at each look. Pure.

Radicale 3.5 steps through all occurrences of a rule (RFC 5545 section 3.3.10), on the server, for
each request that names a time. A rule of one line can have millions. So such an entry is refused
with CALDAV:max-instances (RFC 4791 section 5.3.2.1) before anything is stored. The number is
estimated from above, without stepping through them.
"""

from postal_plexus.calendars.syntax import logical_lines, read_line

MOST = 250_000
"""Occurrences, in all or until `_HORIZON`: each hour for 28 years, each day for 680."""

_HORIZON = 2050
_A_DAY = {"HOURLY": 24.0, "DAILY": 1.0, "WEEKLY": 1.0, "MONTHLY": 1.0, "YEARLY": 1.0}
_DIVISIONS = {"BYHOUR": 24, "BYMINUTE": 60, "BYSECOND": 61}


def recurs_too_often(text: str) -> bool:
    """Return whether a rule of an iCalendar object has more than MOST occurrences.

    A rule that cannot be read does not: Radicale refuses it. One in quoted-printable does; no
    program writes that.
    """
    read = [each for line in logical_lines(text) if (each := read_line(line)) is not None]
    lines = [each for each in read if each[0] in {"RRULE", "EXRULE", "DTSTART"}]
    if any("QUOTED-PRINTABLE" in parameters.upper() for _, parameters, _ in lines):
        return True
    starts = [int(value[:4]) for *_, value in lines if value[:4].isascii() and value[:4].isdigit()]
    first = min(starts, default=_HORIZON)
    return any(
        _occurrences(value.upper(), first) > MOST for name, _, value in lines if name != "DTSTART"
    )


def _occurrences(rule: str, first_year: int) -> float:
    pairs = (part.strip().partition("=") for part in rule.split(";"))
    parts = {name: value for name, _, value in pairs}
    frequency = parts.get("FREQ", "")
    if frequency in {"SECONDLY", "MINUTELY"}:
        # Steps count, even where no occurrence is found.
        return float("inf")
    if frequency not in _A_DAY:
        return 0
    a_day = _A_DAY[frequency]
    for name, most in _DIVISIONS.items():
        if name in parts and not (name == "BYHOUR" and frequency == "HOURLY"):
            a_day *= min(len(parts[name].split(",")), most)
    until = parts.get("UNTIL", "")[:4]
    last = int(until) if until.isdigit() else _HORIZON
    if not until.isdigit() and "COUNT" in parts:
        # The rule may hit seldom, but it ends with the calendar: in the year 9999.
        last = 9999
    days = max(last - first_year + 1, 1) * 366
    interval = parts.get("INTERVAL", "")
    found = days * a_day / (max(int(interval), 1) if interval.isdigit() else 1)
    count = parts.get("COUNT", "")
    return min(found, float(count)) if count.isdigit() else found
