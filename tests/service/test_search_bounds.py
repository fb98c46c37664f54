"""Messages designed to exhaust memory when indexed, found or expunged do not affect others.

Dovecot has the memory of its task, and no swap.
"""

from __future__ import annotations

import base64
import contextlib
import imaplib
import re
from collections.abc import Iterator

import pytest

from service.mail_host import MailHost
from wire import await_true

pytestmark = pytest.mark.timeout(600)

ANN = "ann@example.org"
BEN = "ben@example.org"
WORDS = 110_000
HEAD = "From: Author <author@world.example>\r\nTo: ben@example.org\r\nMIME-Version: 1.0\r\n"
TEXT = "Content-Type: text/plain; charset=utf-8\r\n"


@pytest.fixture(scope="module")
def host(idle_host: MailHost) -> MailHost:
    """Provide a host with Dovecot running."""
    idle_host.start("dovecot")
    return idle_host


@pytest.fixture
def neighbour(host: MailHost) -> Iterator[imaplib.IMAP4_SSL]:
    """Provide Ann's session, which has to be there afterwards."""
    with host.imap(ANN) as client:
        client.select()
        yield client
        assert client.noop()[0] == "OK"
        assert host.containers["dovecot"].usage().killed() == 0


def words(count: int = WORDS, form: str = "w{:07d}") -> str:
    """Different words, one a line."""
    return "".join(f"{form.format(number)}\r\n" for number in range(count))


def addresses(count: int, form: str = "user{:07d}@world.example") -> str:
    """Different addresses, one a line."""
    return ",\r\n ".join(form.format(number) for number in range(count))


def parts(*contents: str) -> str:
    """Return a multipart mail of these, each with its own headers."""
    inside = "".join(f"--b\r\n{content}\r\n" for content in contents)
    return f"{HEAD}Content-Type: multipart/mixed; boundary=b\r\n\r\n{inside}--b--\r\n"


def text_in_base64(text: str) -> str:
    """Return a text part, encoded."""
    encoded = base64.encodebytes(text.encode()).decode().replace("\n", "\r\n")
    return f"{TEXT}Content-Transfer-Encoding: base64\r\n\r\n{encoded}"


LONG = "{:07d}" + "-long.example" * 18  # 241 octets, indexed whole as part of an address
POISON = {
    "words": HEAD + TEXT + "\r\n" + words(),
    "html": HEAD + "Content-Type: text/html\r\n\r\n" + words(form="<p>w{:07d}</p>"),
    "base64": HEAD + text_in_base64(words()),
    "long words": HEAD + TEXT + "\r\n" + words(8_000, f"a@{LONG}"),
    "accents": HEAD + TEXT + "\r\n" + words(form="wäéîõü{:07d}"),
    "subject": f"Subject: {words(20_000, ' w{:05d}').strip()}\r\n{HEAD}\r\nx\r\n",
    "short addresses in from": f"From: {'a@b,' * 100_000}c@d\r\n{TEXT}\r\nx\r\n",
    "many headers": HEAD + words(20_000, "X-{0:05d}: v") + "\r\nx\r\n",
    "cc": f"{HEAD}Cc: {addresses(WORDS)}\r\n\r\nx\r\n",
    "cc of a part": parts(
        f"Content-Type: message/rfc822\r\n\r\nCc: {addresses(WORDS)}\r\n{TEXT}\r\nx\r\n"
    ),
    "short addresses of a part": parts(
        f"Content-Type: message/rfc822\r\n\r\nCc: {'a@b,' * 2_400_000}c@d\r\n{TEXT}\r\nx\r\n"
    ),
    "many parts": parts(*(f"{TEXT}\r\nw{number:07d}" for number in range(20_000))),
    "name of an attachment": parts(
        f'Content-Type: application/x; name="{"n" * 3_000_000}"\r\n\r\nx'
    ),
}


def search(client: imaplib.IMAP4_SSL, *criteria: str) -> list[bytes]:
    """Return UIDs in the inbox, as the session knows it now."""
    client.noop()
    return client.uid("SEARCH", *criteria)[1][0].split()


def indexed_after(host: MailHost, client: imaplib.IMAP4_SSL, word: str) -> None:
    """Deliver a small mail and wait until it is found."""
    with host.lmtp() as lmtp:
        assert {} == lmtp.sendmail("s@world.example", [BEN], f"Subject: after\r\n\r\n{word}\r\n")
    await_true(f"{word} to be found", lambda: len(search(client, "BODY", word)) == 1, 60)


def expunge_all(client: imaplib.IMAP4_SSL) -> None:
    """Leave nothing in the inbox."""
    client.store("1:*", "+FLAGS.SILENT", r"(\Deleted)")
    assert client.expunge()[0] == "OK"
    assert search(client, "ALL") == []


@pytest.mark.parametrize("kind", POISON)
def test_poison_is_delivered_and_expunged_and_nobody_else_notices(
    host: MailHost, neighbour: imaplib.IMAP4_SSL, kind: str
) -> None:
    """It is delivered and expunged, later messages are indexed, and no other process ends."""
    with host.imap(BEN) as client:
        client.select()
        with host.lmtp() as lmtp:
            assert {} == lmtp.sendmail("author@world.example", [BEN], POISON[kind].encode())
        word = "after" + re.sub(r"\W", "", kind)
        indexed_after(host, client, word)
        assert len(search(client, "ALL")) == 2
        # What a client's list needs of it may be more than a process may take; that ends this session only.
        with contextlib.suppress(imaplib.IMAP4.error, OSError), host.imap(BEN) as reader:
            reader.select()
            reader.fetch("1", "(ENVELOPE BODYSTRUCTURE)")
        expunge_all(client)
    assert neighbour.noop()[0] == "OK"


def test_many_mails_of_many_words_are_found_and_expunged_at_once(
    host: MailHost, neighbour: imaplib.IMAP4_SSL
) -> None:
    """Changes of the index are written in portions, and a beginning that 19,000 words share is found."""
    with host.imap(BEN) as client:
        client.select()
        with host.lmtp() as lmtp:
            for number in range(12):
                content = HEAD + TEXT + "\r\n" + words(19_000, f"q{number}w{{:05d}}")
                assert {} == lmtp.sendmail("author@world.example", [BEN], content)
        indexed_after(host, client, "aftermany")
        assert len(search(client, "BODY", "q11w18999")) == 1
        assert len(search(client, "BODY", "q11")) == 1
        expunge_all(client)
    assert neighbour.noop()[0] == "OK"


@pytest.mark.usefixtures("neighbour")
def test_poison_is_logged_and_tried_once(host: MailHost) -> None:
    """One line says which mail is not searched, or not all of it; later messages and searches log no more."""
    container = host.containers["dovecot"]

    def lines() -> list[str]:
        said = re.findall(r"UID \d+: (?:more than|its header|indexing it).*", container.logs())
        return said[before:]

    before = len(re.findall(r"UID \d+: (?:more than|its header|indexing it)", container.logs()))
    with host.imap(BEN) as client:
        client.select()
        for kind in ("words", "cc", "short addresses of a part"):
            with host.lmtp() as lmtp:
                assert {} == lmtp.sendmail("author@world.example", [BEN], POISON[kind].encode())
            indexed_after(host, client, "logged" + kind[:2])
        kinds = [re.search(r"UID \d+: (\w+ \w+)", line)[1] for line in lines()]
        assert ["more than", "its header", "indexing it"] == kinds
        assert search(client, "BODY", "w0000001"), "the first words are found"
        for number in range(3):
            indexed_after(host, client, f"again{number}")
        assert 3 == len(lines())
        expunge_all(client)
