"""Entries of calendars and address books as text: split files into them, and join them again. Pure.

    lines      folded lines of iCalendar and vCard (RFC 5545, 3.1; RFC 6350, 3.2)
    reading    a file -> its entries, each with one UID, and what is broken
    vcards     one contact: a name for each, and vCard 2.1 as 3.0
    joining    the entries of a calendar -> one file

Input is hostile, and often only nearly right: programs forget UIDs, repeat entries and cut off
files. So each entry stands alone: what cannot be read is reported with its line, and costs no other
entry. Nothing here interprets times or recurrence; the server's own library does that.
"""

from postal_plexus.entries.joining import joined_calendar
from postal_plexus.entries.lines import Version, uid_of, version_of
from postal_plexus.entries.reading import CALENDAR, CARDS, Broken, Entries, Entry, read_entries

__all__ = [
    "CALENDAR",
    "CARDS",
    "Broken",
    "Entries",
    "Entry",
    "Version",
    "joined_calendar",
    "read_entries",
    "uid_of",
    "version_of",
]
