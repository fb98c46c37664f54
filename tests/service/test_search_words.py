"""Searches in scripts without blanks, and for phrases: what is found, and what is not."""

from __future__ import annotations

import base64
import imaplib
import quopri
import random
from collections.abc import Iterable, Iterator, Mapping
from email.header import Header
from unicodedata import normalize

import pytest

from service.mail_host import MailHost
from service.search_cases import PHRASES, WITHOUT_BLANKS, Case

pytestmark = pytest.mark.timeout(300)

BEN = "ben@example.org"


def header(text: str) -> str:
    """Return a header field's value as clients write it."""
    return Header(text, "utf-8", maxlinelen=70).encode(linesep="\r\n")


ENCODERS = {
    "8bit": lambda octets: octets,
    "base64": base64.encodebytes,
    "quoted-printable": quopri.encodestring,
}


def text_part(
    text: str, subtype: str = "plain", encoding: str = "8bit", charset: str = "utf-8"
) -> str:
    """Return a part with its header."""
    body = ENCODERS[encoding](text.encode(charset)).decode()
    if encoding != "8bit":
        body = body.replace("\n", "\r\n")
    return (
        f"Content-Type: text/{subtype}; charset={charset}\r\n"
        f"Content-Transfer-Encoding: {encoding}\r\n\r\n{body}\r\n"
    )


def mail(content: str, subject: str = "none") -> str:
    """Return a mail of one part."""
    return f"From: s@world.example\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\n{content}"


def multipart(*parts: str) -> str:
    """Return a part of parts."""
    inside = "".join(f"--b\r\n{part}\r\n" for part in parts)
    return f"Content-Type: multipart/mixed; boundary=b\r\n\r\n{inside}--b--\r\n"


@pytest.fixture(scope="module")
def host(idle_host: MailHost) -> MailHost:
    """Provide a host with Dovecot running."""
    idle_host.start("dovecot")
    return idle_host


def search(client: imaplib.IMAP4_SSL, *criteria: str, text: str | None = None) -> list[int]:
    """UIDs; `text` goes as a literal after the criteria."""
    if text is None:
        said = client.uid("SEARCH", *criteria)[1]
    else:
        client.literal = text.encode()  # pyright: ignore[reportAttributeAccessIssue]
        said = client.uid("SEARCH", "CHARSET", "UTF-8", *criteria)[1]
    return [int(uid) for uid in said[0].split()]


def deliver(host: MailHost, client: imaplib.IMAP4_SSL, contents: Iterable[str]) -> list[int]:
    """Empty the inbox, deliver these messages and return their UIDs; they are indexed."""
    if client.select()[1] != [b"0"]:
        client.store("1:*", "+FLAGS.SILENT", r"(\Deleted)")
        client.expunge()
    with host.lmtp() as lmtp:
        for content in contents:
            assert {} == lmtp.sendmail("s@world.example", [BEN], content.encode())
    client.noop()
    uids = search(client, "ALL")
    search(client, "BODY", text="indexed")
    return uids


@pytest.fixture
def ben(host: MailHost) -> Iterator[imaplib.IMAP4_SSL]:
    """Provide Ben's session."""
    with host.imap(BEN) as client:
        yield client


def assert_search(
    client: imaplib.IMAP4_SSL, uids: Mapping[str, int], cases: Mapping[str, Case], *keys: str
) -> None:
    """Check that each case is found by its queries and by no other."""
    for name, case in cases.items():
        for text in (*case.found, *case.not_found):
            is_found = uids[name] in search(client, *keys, text=text)
            assert (text in case.found) == is_found, f"{name}: {text!r} by {keys}"


@pytest.mark.parametrize("cases", [WITHOUT_BLANKS, PHRASES], ids=["without blanks", "phrases"])
@pytest.mark.parametrize("encoding", ENCODERS)
def test_bodies(
    host: MailHost, ben: imaplib.IMAP4_SSL, cases: Mapping[str, Case], encoding: str
) -> None:
    """BODY and TEXT find words of any script, and phrases in their order, however the body is encoded."""
    contents = [mail(text_part(case.text, encoding=encoding)) for case in cases.values()]
    uids = dict(zip(cases, deliver(host, ben, contents), strict=True))
    assert_search(ben, uids, cases, "BODY")
    if encoding == "8bit":
        assert_search(ben, uids, cases, "TEXT")


def test_subjects(host: MailHost, ben: imaplib.IMAP4_SSL) -> None:
    """SUBJECT does, and TEXT finds what stands there; BODY does not."""
    cases = {
        name: case
        for name, case in (WITHOUT_BLANKS | PHRASES).items()
        if len(case.text) < 200 and "\n" not in case.text
    }
    contents = [mail(text_part("none"), header(case.text)) for case in cases.values()]
    uids = dict(zip(cases, deliver(host, ben, contents), strict=True))
    assert_search(ben, uids, cases, "SUBJECT")
    assert_search(ben, uids, cases, "TEXT")
    nowhere = {name: Case("", (), case.found) for name, case in cases.items()}
    assert_search(ben, uids, nowhere, "BODY")


def test_kinds_of_mails(host: MailHost, ben: imaplib.IMAP4_SSL) -> None:
    """HTML, parts, and other character sets; nothing goes from one part, or field, over into the next."""
    html = "<html><body><p>the <b>quick</b>\r\nbrown&nbsp;fox</p><p>明日の東京駅</p></body></html>"
    contents = {
        "html": mail(text_part(html, "html")),
        "html in base64": mail(text_part(html, "html", "base64")),
        "second part": mail(multipart(text_part("first"), text_part("the quick brown fox 東京駅"))),
        "two parts": mail(multipart(text_part("the quick"), text_part("brown fox 東")) + "京駅"),
        "alternative": mail(multipart(text_part("other"), text_part(html, "html"))),
        "forwarded": mail(
            "Content-Type: message/rfc822\r\n\r\n"
            + mail(text_part("the quick brown fox"), header("東京駅"))
        ),
        "iso-2022-jp": mail(text_part("明日の東京駅 quick brown", charset="iso-2022-jp")),
        "shift_jis": mail(text_part("明日の東京駅 quick brown", "plain", "base64", "shift_jis")),
        "gb18030": mail(text_part("明日の東京駅 quick brown", "plain", "base64", "gb18030")),
        "attachment": mail(
            multipart(
                text_part("see the file"),
                "Content-Type: application/octet-stream\r\n\r\nthe quick brown fox 東京駅",
            )
        ),
        "subject and body": mail(text_part("brown fox"), "the quick"),
    }
    uids = dict(zip(contents, deliver(host, ben, contents.values()), strict=True))
    named = {uid: name for name, uid in uids.items()}

    def found(key: str, text: str) -> set[str]:
        return {named[uid] for uid in search(ben, key, text=text)}

    whole = set(contents) - {"two parts", "attachment", "subject and body"}
    assert found("BODY", "quick brown") == whole
    assert found("TEXT", "quick brown") == whole
    assert found("TEXT", "東京駅") == whole
    assert found("TEXT", "brown fox") == (whole | {"two parts", "subject and body"}) - {
        "iso-2022-jp", "shift_jis", "gb18030"
    }  # fmt: skip
    assert found("TEXT", "subject: the quick") == {"subject and body"}


def test_header_fields(host: MailHost, ben: imaplib.IMAP4_SSL) -> None:
    """Names and addresses are found in any script, other fields as they are written."""
    content = (
        f"From: {header('山田太郎')} <taro.yamada@world.example>\r\n"
        f'To: "Ann Böhm" <ann@example.org>, {header("กรุงเทพ")} <ben@example.org>\r\n'
        "Message-ID: <a.b$c@mail.world.example>\r\nX-Ticket: [Plexus #4711] Über open\r\n"
        "Subject: Re: none\r\n\r\nnone\r\n"
    )
    (uid,) = deliver(host, ben, [content])
    for keys, text in (
        (("FROM",), "太郎"),
        (("FROM",), "taro.yamada@world.example"),
        (("FROM",), "taro.yam"),
        (("FROM",), "world.example"),
        (("FROM",), "山田太郎 <taro.yamada@world.example>"),
        (("TO",), "Ann Böhm"),
        (("TO",), "ann bohm"),
        (("TO",), "กรุงเทพ"),
        (("HEADER", "MESSAGE-ID"), "<a.b$c@mail.world.example>"),
        (("HEADER", "X-TICKET"), "[Plexus #4711]"),
        (("HEADER", "X-TICKET"), "Über open"),
        (("TEXT",), "plexus 4711"),
        (("TEXT",), "Re: none"),
    ):
        assert search(ben, *keys, text=text) == [uid], (keys, text)
    for keys, text in (
        (("FROM",), "yamada taro"),
        (("TO",), "Böhm Bohm"),
        (("TO",), "ann ben"),
        (("HEADER", "X-TICKET"), "[4711 Plexus]"),
        (("HEADER", "SUBJECT"), "none Re"),
    ):
        assert search(ben, *keys, text=text) == [], (keys, text)


def test_conditions_together(host: MailHost, ben: imaplib.IMAP4_SSL) -> None:
    """Phrases within NOT, OR, flags, ranges, threads; sorted, saved, counted."""
    bodies = ("the quick brown fox", "brown quick", "lazy dog", "quick brown and lazy dog")
    one, two, three, four = deliver(host, ben, [mail(text_part(body)) for body in bodies])
    ben.uid("STORE", str(one), "+FLAGS", r"(\Flagged)")
    quick, lazy = ("BODY", '"quick brown"'), ("BODY", '"lazy dog"')
    assert search(ben, *quick) == [one, four]
    assert search(ben, "NOT", *quick) == [two, three]
    assert search(ben, "OR", *quick, *lazy) == [one, three, four]
    assert search(ben, *quick, *lazy) == [four]
    assert search(ben, *quick, "NOT", *lazy) == [one]
    assert search(ben, "NOT", "OR", *quick, *lazy) == [two]
    assert search(ben, "OR", "NOT", *quick, *lazy) == [two, three, four]
    assert search(ben, *quick, "NOT", *quick) == []
    assert search(ben, *quick, "FLAGGED") == [one]
    assert search(ben, *quick, "UID", f"{two}:*") == [four]
    assert search(ben, *quick, "LARGER", "100000") == []
    assert search(ben, "OR", *quick, "BODY", "quick") == [one, two, four]
    assert search(ben, "BODY", '"!!!"') == []
    assert search(ben, "SUBJECT", '""') == [one, two, three, four]
    assert ben.uid("SORT", "(REVERSE SIZE)", "UTF-8", *quick)[1] == [f"{four} {one}".encode()]
    assert len(ben.uid("THREAD", "REFERENCES", "UTF-8", *quick)[1]) == 1
    assert search(ben, "INTHREAD", "REFS", *lazy)
    assert ben.uid("SEARCH", "RETURN", "(SAVE)", *quick)[0] == "OK"
    assert search(ben, "UID", "$") == [one, four]
    assert ben.uid("SEARCH", "RETURN", "(UPDATE)", *quick)[0] == "OK"
    with host.lmtp() as lmtp:
        for body in ("brown quick bear", "quick brown bear"):
            content = mail(text_part(body)).encode()
            assert {} == lmtp.sendmail("s@world.example", [BEN], content)
    ben.untagged_responses.clear()
    ben.noop()
    assert f"UID ADDTO (0 {four + 2})" in str(ben.untagged_responses["ESEARCH"])


def test_mails_that_are_not_indexed_yet_are_read(host: MailHost, ben: imaplib.IMAP4_SSL) -> None:
    """A search in header fields does not wait for the index (fts_search_add_missing)."""
    deliver(host, ben, [])
    container = host.containers["dovecot"]
    subjects = ("明日の東京駅", "Grüße aus Überlingen", "quick brown", "brown quick", "Müller")
    ben.create("Raw")
    for subject in subjects:
        content = mail(text_part("none"), header(subject)).encode()
        assert ben.append("Raw", "", "", content)[0] == "OK"
    ben.select("Raw")
    try:
        container.exec("doveadm", "fts", "flatcurve", "remove", "-u", BEN, "Raw")
        assert search(ben, "SUBJECT", text="東京駅") == [1]
        assert search(ben, "SUBJECT", text="京駅東") == []
        assert search(ben, "SUBJECT", text="uberl") == [2]
        assert search(ben, "SUBJECT", text="gruße aus") == [2]
        assert search(ben, "SUBJECT", text="quick brown") == [3]
        assert search(ben, "NOT", "SUBJECT", text="mull") == [1, 2, 3, 4]
    finally:
        ben.select()
        ben.delete("Raw")


def test_what_is_found_is_what_contains_it(host: MailHost, ben: imaplib.IMAP4_SSL) -> None:
    """Of few characters, or words, at random: searches find exactly the messages that have them in that order."""
    chance = random.Random(27)
    runs = ["東京都駅", "กุ่เทพ", "한국어가", "ကန်ုမြ", "かがキｷ"]
    texts = [
        "".join(chance.choices(chance.choice(runs), k=chance.randint(1, 25))) for _ in range(40)
    ]
    words = [
        " ".join(chance.choices(("aa", "aab", "b", "ba"), k=chance.randint(1, 12)))
        for _ in range(30)
    ]
    uids = deliver(host, ben, [mail(text_part(text)) for text in texts + words])
    for _ in range(150):
        text = chance.choice(texts)
        begin = chance.randrange(len(text))
        asked = "".join(
            chance.choice((text[begin : begin + 5], chance.choices(chance.choice(runs), k=3)))
        )
        wanted = [
            uid
            for uid, text in zip(uids, texts, strict=False)
            if normalize("NFKC", asked) in normalize("NFKC", text)
        ]
        assert search(ben, "BODY", text=asked) == wanted, asked
    for _ in range(100):
        asked = " ".join(chance.choices(("aa", "aab", "b", "ba"), k=chance.randint(1, 4)))
        wanted = [
            uid
            for uid, text in zip(uids[len(texts) :], words, strict=True)
            if f" {asked}" in f" {text}"
        ]
        assert search(ben, "BODY", text=asked) == wanted, asked


def odd_bodies() -> dict[str, bytes]:
    """Return bodies that could take much time or memory, or cause errors."""
    chance = random.Random(8)
    pool = [*range(1, 0x250), *range(0xE00, 0x10A0), *range(0x1780, 0x1800), *range(0x2000, 0x2070)]
    pool += [*range(0x3000, 0x3130), 0xAC00, 0xFEFF, 0xFF76, 0xFF9E, 0xFFFD, 0x1F600, 0x20000]
    noise = "".join(map(chr, chance.choices(pool, k=30_000)))
    return {
        "han": ("".join(map(chr, chance.choices(range(0x4E00, 0x9FA0), k=350_000)))).encode(),
        "thai": "".join(map(chr, chance.choices(range(0xE01, 0xE3A), k=350_000))).encode(),
        "hangul in letters": "\u1112\u1161\u11ab".encode() * 110_000,
        "one han": "字".encode() * 2_000_000,
        "marks": ("a" + "\u0301" * 500_000).encode(),
        "thai marks": ("ก" + "\u0e49" * 300_000).encode(),
        "invisible": ("ก\u200b\u200b東\u00ad\ufeff" * 60_000).encode(),
        "latin": b"x" * 1_000_000,
        "line breaks": "東\r\n".encode() * 200_000,
        "carriage returns": "東\r".encode() * 200_000,
        "ligatures": "ﷺ".encode() * 100_000,
        "squares": "㌔㍍".encode() * 100_000,
        "cut characters": bytes(chance.choices(range(0xE0, 0xF8), k=200_000)),
        "octets": bytes(chance.choices(range(256), k=300_000)),
        "noise": noise.encode(),
        "pieces": b"\r\n".join(
            bytes(chance.choices([0xE4, 0xB8, 0x80, 0x20, 0xE0, 0xB8, 0x81], k=70))
            for _ in range(4000)
        ),
    }


@pytest.mark.parametrize("encoding", ["8bit", "base64"])
def test_odd_mails(host: MailHost, ben: imaplib.IMAP4_SSL, encoding: str) -> None:
    """They are indexed, read and expunged within the memory that the processes have; none ends."""
    bodies = odd_bodies()
    container = host.containers["dovecot"]
    before = len(container.logs())
    deliver(host, ben, [])
    begin = mail(
        f"Content-Type: text/{'html' if encoding == 'base64' else 'plain'}; charset=utf-8\r\n"
        f"Content-Transfer-Encoding: {encoding}\r\n\r\n"
    ).encode()
    with host.lmtp() as lmtp:
        for body in bodies.values():
            content = begin + ENCODERS[encoding](body).replace(b"\n", b"\r\n") + b"\r\n"
            assert {} == lmtp.sendmail("s@world.example", [BEN], content)
    ben.noop()
    uids = dict(zip(bodies, search(ben, "ALL"), strict=True))
    han = bodies["han"].decode()
    assert search(ben, "BODY", text=han[5000:5008]) == [uids["han"]]
    assert uids["one han"] in search(ben, "BODY", text="字" * 500)
    assert search(ben, "BODY", text="字" * 500 + "東") == []
    assert search(ben, "TEXT", text="no such words") == []
    for text in (
        "東ก",
        "한한한한",
        "aaaaaaaa",
        "x" * 5000,
        "キロメートル",
        "\u0e49\u0e49",
        "\u0301",
    ):
        search(ben, "TEXT", text=text)
        search(ben, "NOT", "TEXT", text=text)
    ben.store("1:*", "+FLAGS.SILENT", r"(\Deleted)")
    assert ben.expunge()[0] == "OK"
    said = container.logs()[before:]
    for sign in ("Panic", "Fatal", "killed with signal", "did not come to an end", "Error"):
        assert sign not in said, said[said.index(sign) - 500 : said.index(sign) + 500]
    assert container.usage().killed() == 0


def test_long_searches(host: MailHost, ben: imaplib.IMAP4_SSL) -> None:
    """A phrase of ten thousand words, and many phrases in one search, are answered."""
    words = [f"w{number}" for number in range(9_000)]
    (uid,) = deliver(host, ben, [mail(text_part("\r\n".join(words)))])
    assert search(ben, "BODY", text=" ".join(words)) == [uid]
    assert search(ben, "BODY", text=" ".join(words[:-1]) + " w0") == []
    assert search(ben, "BODY", text="字" * 20_000) == []
    assert search(ben, "BODY", text="b " * 30_000) == []
    many = [item for number in range(300) for item in ("BODY", f'"w{number} w{number + 1}"')]
    assert search(ben, *many) == [uid]


def test_indexes_of_before_are_made_anew(host: MailHost) -> None:
    """An index that lacks words of what it has is dropped at the start; the next search has all."""
    container = host.containers["dovecot"]
    with host.imap(BEN) as client:
        deliver(host, client, [mail(text_part("明日の東京駅"))])
    index = host.root / "indexes/example.org/ben/sdbox/mailboxes/INBOX/dbox-Mails/fts-flatcurve"
    made = index.stat().st_ino
    (host.root / "indexes/.search").unlink()
    container.stop()
    container = host.start("dovecot")
    assert "search has learned more: " in container.logs()
    with host.imap(BEN) as client:
        client.select()
        assert len(search(client, "BODY", text="東京駅")) == 1
    assert index.stat().st_ino != made
    container.stop()
    assert "search has learned more" not in host.start("dovecot").logs()
