"""What SES takes from those who send: the table, rule by rule, and any bytes at all."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from awsdesk.ses import addresses, header, notification, sending_rules
from awsdesk.ses.addresses import Mailbox

AUTHOR = b"From: Ann <ann@example.org>\r\n"


def refusal(head: bytes = AUTHOR, body: bytes = b"x\r\n", **envelope: object) -> str | None:
    """Judge a mail whose envelope is right unless the test says otherwise."""
    sender = str(envelope.get("sender", "ann@example.org"))
    to: object = envelope.get("to", ("friend@elsewhere.example",))
    assert isinstance(to, tuple)
    return sending_rules.refusal(sender, to, head + b"\r\n" + body)


def test_a_plain_mail_is_taken() -> None:
    """With what mail programs write."""
    head = (
        AUTHOR + b'Sender: ann@example.org\r\nReply-To: "Doe, Ann" <ann+x@example.org>\r\n'
        b"To: friends: Bo <bo@e.example>, c@e.example;, (a (nested) comment) d@[192.0.2.1]\r\n"
        b"Cc: undisclosed-recipients:;\r\nReceived: a\r\nReceived: b\r\nX-Spam: a\r\nX-Spam: b\r\n"
    )
    assert refusal(head) is None


@pytest.mark.parametrize("name", sorted(sending_rules.ONCE_ONLY))
def test_a_field_that_stands_once_is_refused_twice(name: str) -> None:
    """Whatever its case, wherever it stands; the text names it as the second one is written."""
    value = b"ann@example.org"
    once = name.encode() + b": " + value + b"\r\n"
    twice = name.upper().encode() + b":" + value + b"\r\n"
    first = b"" if name == "from" else AUTHOR
    assert refusal(first + once) is None
    reply = refusal(first + once + b"X-Between: y\r\n" + twice)
    assert f"554 Transaction failed: Duplicate header '{name.upper()}'." == reply


def test_the_list_is_aws_s() -> None:
    """Sixty fields; those that real mail most often has twice are among them."""
    assert 60 == len(sending_rules.ONCE_ONLY)
    assert {"delivered-to", "dkim-signature", "list-unsubscribe-post"} < sending_rules.ONCE_ONLY
    assert {"received", "arc-seal", "x-original-to"}.isdisjoint(sending_rules.ONCE_ONLY)
    assert all(rule.page.startswith("https://docs.aws.amazon.com/") for rule in sending_rules.RULES)


@pytest.mark.parametrize(
    "sender", ["", "<>", "MAILER-DAEMON", "@example.org", "j\u00f6@example.org", "a b@example.org"]
)
def test_an_envelope_sender_is_an_address(sender: str) -> None:
    """The null sender above all."""
    assert "501 Invalid MAIL FROM address provided" == refusal(sender=sender)


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("a@b.example", None),
        ("a+b=c@b.example", None),
        ('"a b"@b.example', None),
        ('"a@b"@b.example', None),
        ("a@[192.0.2.1]", None),
        ("a@xn--mchine-bua.example", None),
        ("a", "Missing final '@domain'"),
        ("a@", "Missing domain"),
        ("@b.example", "Missing local name"),
        (".a@b.example", "Local address starts with dot"),
        ("a.@b.example", "Local address ends with dot"),
        ("a..b@b.example", "Local address contains dot-dot"),
        ("a b@b.example", "Local address contains control or whitespace"),
        ("j\u00f6@b.example", "Local address contains control or whitespace"),
        ("a:b@b.example", "Local address contains illegal character"),
        ("a\\@b.example", "Local address contains illegal character"),
        ("a@m\u00e4chine.example", "Domain contains illegal character"),
        ("a@b_c.example", "Domain contains illegal character"),
        ("a@b@c.example", "Domain contains illegal character"),
        ("a@b.example.", "Domain ends with dot"),
        ("a@.example", "Domain starts with dot"),
        ("a@b..example", "Domain contains dot-dot"),
        ("a@b c", "Domain contains control or whitespace"),
        ("a@gmail.com.0927", "Invalid domain name: 'gmail.com.0927'"),
    ],
)
def test_the_syntax_of_an_address(address: str, problem: str | None) -> None:
    """As the service says it; the same in the envelope and in the fields."""
    assert problem == addresses.problem_of(address)
    expected = None if problem is None else f"554 Transaction failed: {problem}."
    assert expected == refusal(to=("ok@e.example", address))
    field = AUTHOR + b"Cc: X <" + address.encode() + b">\r\n"
    assert (expected is None) == (refusal(field) is None)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("a@b.example; c@d.example", "Illegal semicolon, not in group"),
        ("<a@b.example", "Missing '>'"),
        ("a@b.example>", "Missing '<'"),
        ('"Ann <a@b.example>', "Missing '\"'"),
        ("one: two: a@b.example;;", "Nested group"),
        ("(Ann a@b.example", "Missing ')'"),
        ("Ann", "Missing final '@domain'"),
        ("Ann Smith", "Local address contains control or whitespace"),
        ("<>", "Empty address"),
        ('"J\u00f6" \u2039j\u00f6@m\u00e4chine.example>', "Missing '<'"),
        ("a:" * 300 + "x@y.example" + ";" * 300, "Nested group"),
    ],
)
@pytest.mark.parametrize("field", ["To", "Cc", "Bcc", "Reply-To", "Sender"])
def test_the_syntax_of_a_field(field: str, value: str, problem: str) -> None:
    """Each field with addresses is read as a whole."""
    reply = refusal(AUTHOR + f"{field}: {value}\r\n".encode())
    assert f"554 Transaction failed: {problem}." == reply


@pytest.mark.parametrize("head", [b"", b"Subject: x\r\n", b"From: \r\n", b"From: friends:;\r\n"])
def test_a_mail_has_an_author(head: bytes) -> None:
    """A From without an address does not count as an author."""
    assert "554 Transaction failed: Missing final '@domain'." == refusal(head)


def test_an_empty_return_path_is_nobodys_address() -> None:
    """Mail that was delivered once has one."""
    assert refusal(b"Return-Path: <>\r\n" + AUTHOR) is None


@pytest.mark.parametrize(
    ("line", "is_taken"),
    [(b"x" * 998, True), (b"x" * 999, False), ("\u00e4".encode() * 499, True), (b"", True)],
)
def test_a_line_has_at_most_1000_characters(line: bytes, *, is_taken: bool) -> None:
    """With its CRLF, in the header and in the body."""
    assert is_taken == (refusal(body=line + b"\r\nx\r\n") is None)
    assert is_taken == (refusal(AUTHOR + b"X:\r\n " + line[1:] + b"\r\n") is None)


def test_size_and_number_of_recipients() -> None:
    """40 MB and 50."""
    fifty = tuple(f"u{n}@e.example" for n in range(50))
    assert refusal(to=fifty) is None
    assert "Recipient count exceeds 50." in str(refusal(to=(*fifty, "one-more@e.example")))
    assert "552 Message is too long." == refusal(body=b"x\r\n" * (14 * 1024 * 1024))


@pytest.mark.parametrize(
    ("part", "is_taken"),
    [
        (b'Content-Disposition: attachment; filename="photo.jpg"', True),
        (b'Content-Disposition: attachment; filename="a.exe"', False),
        (b"Content-Disposition: attachment;\r\n filename=A.EXE", False),
        (b'Content-Type: text/plain; name="=?utf-8?B?csO8bi5iYXQ=?="', False),
        (b"Content-Disposition: attachment; filename*=utf-8''r%C3%BCn.js", False),
        (b'Content-Type: multipart/mixed; boundary=in\r\n\r\n--in\r\nX: "a.exe"', True),
        (
            b"Content-Type: multipart/mixed; boundary=in\r\n\r\n--in\r\nContent-Type: a/b; name=a.vbs",
            False,
        ),
        (b'Content-Type: text/plain\r\n\r\nfilename="a.exe"', True),
    ],
)
def test_some_attachments_are_refused(part: bytes, *, is_taken: bool) -> None:
    """By the extension of their names, at any depth of parts; text that speaks of one is none."""
    head = AUTHOR + b'Content-Type: multipart/mixed; boundary="out"\r\n'
    body = (
        b"--out\r\nContent-Type: text/plain\r\n\r\nx\r\n--out\r\n"
        + part
        + b"\r\n\r\ny\r\n--out--\r\n"
    )
    assert is_taken == (refusal(head, body) is None)


@pytest.mark.parametrize(
    ("value", "is_taken"),
    [("a=b, c=d", True), ("a=b c", False), ("a", False), ("\u00e4=b", False)],
)
def test_message_tags(value: str, *, is_taken: bool) -> None:
    """A stranger's X-SES-MESSAGE-TAGS can make SES refuse a mail."""
    head = AUTHOR + f"X-SES-MESSAGE-TAGS: {value}\r\n".encode()
    assert is_taken == (refusal(head) is None)


def test_names_and_comments_are_read() -> None:
    """Names in quotes, as comments, beside routes; groups give their members."""
    value = (
        'g: "Doe\\, J" <@r.example:j@e.example>, k@e.example (Kay (K.)), <l@e.example>; m@e.example'
    )
    reading = addresses.read(value)
    assert reading.problem is None
    assert (
        Mailbox("Doe, J", "j@e.example"),
        Mailbox("Kay (K.)", "k@e.example"),
        Mailbox("", "l@e.example"),
        Mailbox("", "m@e.example"),
    ) == reading.mailboxes


_HOSTILE = st.text(
    st.sampled_from(
        list('<>()[],:;"\\@. \t=?_-ab0') + ["\u00e4", "\u2039", "\ufffd", "\x00", "\x7f"]
    ),
    max_size=60,
)


@given(_HOSTILE)
@example("(" * 5000)
@example("a:" * 5000)
@example("<" * 5000)
@example('"J\u00f6" \u2039j\u00f6@m\u00e4chine.example>')
def test_any_address_list_can_be_read(value: str) -> None:
    """Reading, judging and showing never fail, and what is shown is one line."""
    addresses.read(value)
    addresses.problem_of(value)
    found = header.fields(b"To: " + value.encode("utf-8", "surrogatepass") + b"\r\n\r\n")
    assert all("\n" not in one for one in header.displayed(found, "To"))


@given(st.binary(max_size=300), st.text(max_size=30), st.text(max_size=30))
def test_any_bytes_are_judged_and_described(content: bytes, sender: str, to: str) -> None:
    """The judge answers, and the notification's objects can be made, whatever a mail is."""
    sending_rules.refusal(sender, (to,), content)
    notification.common_headers(header.fields(content), return_path=sender)


def test_a_hostile_header_is_read_in_one_pass() -> None:
    """A megabyte of brackets, quotes or boundaries ends."""
    for octets in (b"(", b"<", b'"', b"a:", b"\\", b"=?", b"a,", b"--x\r\n"):
        head = AUTHOR + b"Content-Type: multipart/mixed; boundary=x\r\nTo: " + octets * 200_000
        assert sending_rules.refusal("a@b.example", ("c@d.example",), head) is not None
