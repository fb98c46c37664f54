"""A mailbox whose cache file is larger than the memory of a process is used like any other.

A cache of 60 MB is one of 60,000 messages whose headers clients have asked for.
"""

from __future__ import annotations

import imaplib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.mail_host import MailHost
from wire import await_true

pytestmark = pytest.mark.timeout(300)

ANN = "ann@example.org"
MAILS = 1200
LONG = 50_000  # octets of a header that the client asks for
# More than any process may take (`prlimit` in dovecot.conf).
LARGE = 55_000_000


def _limit(host: MailHost, name: bytes) -> int:
    """Return how much memory, in octets, a process of this name may take."""
    found = host.containers["dovecot"].usage().processes_of(name + b"\0")
    text = Path(f"/proc/{found[0]}/limits").read_text()
    match = re.search(r"^Max data size +(\d+) ", text, re.MULTILINE)
    assert match, text
    return int(match[1])


@pytest.fixture(scope="module")
def client(host: MailHost) -> Iterator[imaplib.IMAP4_SSL]:
    """Open a mailbox of which the header `X-Long` is in the cache."""
    filler = "\r\n ".join(["x" * 900] * (LONG // 900))
    with host.lmtp() as lmtp:
        for number in range(MAILS):
            text = (
                f"Subject: number {number % 7}\r\nMessage-ID: <{number}@large.example>\r\n"
                f"X-Long: {filler}\r\n\r\nmarbled {number}\r\n"
            )
            assert lmtp.sendmail("someone@elsewhere.example", ANN, text) == {}
    with host.imap(ANN) as client:
        client.select()
        # Dovecot caches a header as of the second time that a client asks for it.
        for _ in range(2):
            for first in range(1, MAILS, 50):
                client.fetch(f"{first}:{first + 49}", "(BODY.PEEK[HEADER.FIELDS (X-LONG)])")
        (cache,) = (host.root / "indexes").glob("example.org/ann/**/INBOX/**/dovecot.index.cache")
        assert cache.stat().st_size > LARGE
        assert max(_limit(host, b"dovecot/imap"), _limit(host, b"dovecot/lmtp")) < LARGE
        yield client


@pytest.mark.parametrize(
    "words",
    [
        ("SORT", "(SUBJECT)", "UTF-8", "ALL"),
        ("THREAD", "REFERENCES", "UTF-8", "ALL"),
        ("SEARCH", "HEADER", "X-Long", "xxx"),
        ("FETCH", "1:*", "(ENVELOPE)"),
    ],
    ids=lambda words: words[0],
)
def test_a_client_reads_it(client: imaplib.IMAP4_SSL, words: tuple[str, ...]) -> None:
    """The session goes on: no command takes a process's memory for the cache."""
    assert client.uid(*words)[0] == "OK"


def test_it_takes_messages_which_are_indexed(client: imaplib.IMAP4_SSL, host: MailHost) -> None:
    """A delivery adds to the cache, and the indexer reads what was added."""
    with host.lmtp() as lmtp:
        said = lmtp.sendmail(
            "someone@elsewhere.example", ANN, "Subject: one more\r\n\r\nwarbled\r\n"
        )
    assert said == {}
    await_true(
        "it", lambda: client.search(None, "BODY", "warbled")[1][0].split() == [b"%d" % (MAILS + 1)]
    )
