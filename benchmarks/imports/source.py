"""The messages of the benchmark: put into Courier's Maildir as files, and counted on both sides."""

from __future__ import annotations

import os
import re
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import imaplib

    from service.imap_source import ImapSource

FOLDERS = ("INBOX", ".Work", ".Work.2020", ".M&APw-ller &- S&APY-hne", ".Family", ".Sent Items")
LARGE = 40_000_000
# Theirs -> ours, where the name does not stay.
_RENAMED = {"Sent Items": "Sent"}
_OCTETS = range(1_000, 12_000)


def fill(source: ImapSource, mails: int, *, with_large: bool) -> None:
    """Replace all that Courier has by `mails` messages of 1 to 12 KB, one of them of 40 MB."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "Maildir"
        for folder in FOLDERS:
            below = root if folder == "INBOX" else root / folder
            for part in ("cur", "new", "tmp"):
                (below / part).mkdir(parents=True)
            if folder != "INBOX":
                (below / "maildirfolder").touch()
        for number in range(mails):
            folder = FOLDERS[number % len(FOLDERS)]
            below = root if folder == "INBOX" else root / folder
            flags = ("", "S", "RS", "FS", "D")[number % 5]
            path = below / "cur" / f"{1_600_000_000 + number}.M{number}.bench:2,{flags}"
            octets = _OCTETS[number * 7919 % len(_OCTETS)]
            if with_large and number == mails // 2:
                octets = LARGE
            head = f"From: a@x.example\nSubject: {number}\nMessage-ID: <{number}@x.example>\n"
            path.write_text(f"{head}\n" + ("x" * 70 + "\n") * (octets // 71))
            os.utime(path, (1_600_000_000 + number, 1_600_000_000 + number))
        source.container.exec("rm", "-rf", "/home/ann/Maildir")
        target = f"{source.container.id}:/home/ann/Maildir"
        source.container.engine("cp", str(root), target, timeout=120)
        source.container.exec("chown", "-R", "ann:ann", "/home/ann/Maildir")


def counted(client: imaplib.IMAP4) -> dict[str, Counter[str]]:
    """Return octets and flags of all messages by folder, under our names."""
    found: dict[str, Counter[str]] = {}
    for line in client.list()[1]:
        assert isinstance(line, bytes)
        listed = re.search(rb' "?[./]"? "?(.*?)"?$', line)
        assert listed
        name = listed[1].decode()
        if client.select(f'"{name}"', readonly=True)[1] == [b"0"]:
            continue
        ours = re.sub(r"^INBOX\.", "", name).replace(".", "/")
        lines = client.fetch("1:*", "(RFC822.SIZE FLAGS)")[1]
        found[_RENAMED.get(ours, ours)] = Counter(
            _sized(each) for each in lines if isinstance(each, bytes)
        )
    client.logout()
    return found


def _sized(line: bytes) -> str:
    size = re.search(rb"SIZE (\d+)", line)
    assert size
    flags = set(re.findall(rb"\\(\w+)", line)) - {b"Recent"}
    return f"{int(size[1])} {sorted(flags)}"
