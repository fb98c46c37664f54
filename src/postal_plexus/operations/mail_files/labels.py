"""Convert Gmail's labels in a Google Takeout (`X-Gmail-Labels`) into folders and flags. Pure.

A label can be a folder, a state, or a guess by Google. A message is stored once, in the folder of
its first label that stands for one; a message without such a label was archived.
"""

import csv
import email.errors
import re
from collections.abc import Sequence
from contextlib import suppress
from email.header import decode_header, make_header

ARCHIVE = "Archive"

# Takeout writes them in the account's language.
_UNREAD = {"unread", "ungelesen", "non lu", "non lus", "no leído", "no leídos", "sin leer"} | {
    *("da leggere", "non letti", "ongelezen", "não lidas", "não lidos"),
}
_STARRED = {"starred", "markiert", "mit stern", "suivis", "suivi", "destacados", "destacado"} | {
    *("speciali", "con stella", "met ster", "com estrela"),
}
_NO_FOLDER = (
    _UNREAD
    | _STARRED
    | {"all mail", "alle nachrichten", "tous les messages", "todos", "tutti i messaggi"}
    | {
        "important",
        "wichtig",
        "importants",
        "importante",
        "importantes",
        "importanti",
        "belangrijk",
    }
    | {"opened", "geöffnet", "ouvert", "ouverts", "abierto", "abiertos", "aperto", "geopend"}
    | {"archived", "archiviert", "archivé", "archivés", "archivado", "archivados", "archiviati"}
    | {"gearchiveerd", "arquivado"}
)
_CATEGORY = re.compile(r"(category|kategorie|catégorie|categoría|categoria|categorie)[ :].*")


def read_labels(field: str) -> list[str]:
    """Return the labels in a field's value: unfolded, decoded (RFC 2047), split at commas."""
    text = re.sub(r"\r?\n[ \t]+", " ", field).strip()
    with suppress(LookupError, UnicodeError, ValueError, email.errors.HeaderParseError):
        text = str(make_header(decode_header(text)))
    text = "".join(each if each.isprintable() else " " for each in text)
    try:
        (row,) = csv.reader([text], skipinitialspace=True)
    except (ValueError, csv.Error):
        row = text.split(",")
    return [each.strip() for each in row if each.strip()]


def folders(labels: Sequence[str]) -> list[str]:
    """Return the labels that are folders, in their order; "/" separates levels. Never empty."""
    found = [
        each
        for each in labels
        if each.lower() not in _NO_FOLDER and not _CATEGORY.fullmatch(each.lower())
    ]
    return found or [ARCHIVE]


def flags(labels: Sequence[str]) -> str:
    """Return a message's flags as a Maildir's letters: it is seen unless it is unread."""
    given = {each.lower() for each in labels}
    return ("F" if given & _STARRED else "") + ("" if given & _UNREAD else "S")
