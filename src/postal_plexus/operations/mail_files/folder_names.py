"""Convert a source's folder names into folder names here. Pure.

Every result is a name that Dovecot accepts: at most 15 levels of at most 200 octets in modified
UTF-7, none of which a Maildir reserves. Two names of a source may become one name; their messages
are then in one folder.
"""

import hashlib
import unicodedata
from collections.abc import Iterable, Sequence

from postal_plexus.maintenance.mail_records import INBOX, is_reserved
from postal_plexus.maintenance.modified_utf7 import encode

_INBOXES = {
    *("inbox", "posteingang", "boîte de réception", "bandeja de entrada", "recibidos"),
    *("posta in arrivo", "postvak in", "caixa de entrada"),
}
_MOST_LEVELS = 15
_LONGEST_LEVEL = 200


def is_inbox(name: str) -> bool:
    """Return whether the name is one that programs use for the inbox."""
    return unicodedata.normalize("NFC", name).lower() in _INBOXES


def text_of(name: bytes) -> str:
    """Return a file's name as text; if it is not UTF-8, decode it as Windows's code page."""
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode("cp1252", "replace")


def folder(levels: Iterable[str]) -> str:
    """Return the folder for a source's levels, joined by "/".

    Folders inside an inbox become siblings of it; no level is `.` or `..`.
    """
    given = [each for each in levels if each.strip() not in {"", ".", ".."}]
    if given and is_inbox(given[0].strip()):
        del given[0]
    found = [each for each in map(_level, given) if each]
    if len(found) > _MOST_LEVELS:
        found[_MOST_LEVELS - 1 :] = [_short("_".join(found[_MOST_LEVELS - 1 :]))]
    return "/".join(found) or INBOX


def common_root(folders: Iterable[Sequence[str]]) -> int:
    """Return how many levels above the inbox are shared by all folders, and so mean nothing.

    A zip file has `Takeout/Mail/Inbox`, or a mailbox's name above all folders. Without an inbox
    the result is 0: the only folder that was exported keeps its name.
    """
    given = {tuple(each) for each in folders}
    shared = 0
    for step in zip(*given, strict=False):
        if len(set(step)) > 1 or is_inbox(step[0]):
            break
        shared += 1
    while shared and not (
        all(len(each) > shared for each in given) and any(is_inbox(each[shared]) for each in given)
    ):
        shared -= 1
    return shared


def _level(name: str) -> str:
    text = unicodedata.normalize("NFC", name.encode("utf-8", "replace").decode())
    text = "".join(
        "_" if unicodedata.category(each)[0] == "C" or each == "/" else each for each in text
    )
    text = text.strip()
    if text in {"", ".", ".."}:
        return ""
    return _short(f"_{text}" if is_reserved(text) else text)


def _short(text: str) -> str:
    if len(encode(text)) <= _LONGEST_LEVEL:
        return text
    mark = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8]
    while len(encode(text)) > _LONGEST_LEVEL - len(mark) - 1:
        text = text[:-1]
    return f"{text.rstrip()}-{mark}"
