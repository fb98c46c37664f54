"""The view of a message, however hostile it is."""

from __future__ import annotations

import re
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus import cpython_mails, edge_mails
from postal_plexus.console import mailview

PNG = b"\x89PNG\r\n\x1a\nnot much of one"


def html_mail(html: str) -> bytes:
    """Return a message with this HTML and an embedded image."""
    message = EmailMessage()
    message["From"] = "Ann <ann@example.org>"
    message["Subject"] = "A <b>bold</b> one"
    message.set_content("As text.\n")
    message.add_alternative(html, subtype="html")
    message.get_payload()[1].add_related(PNG, "image", "png", cid="<pic@1>")  # type: ignore[union-attr]
    return message.as_bytes()


def test_a_mail_with_everything() -> None:
    """The view has fields, text, HTML with its image, and attachments."""
    whole = html_mail('<p style="color:red">Hi <img src="cid:pic%401"></p>')
    shown = mailview.view(whole)
    assert ("A <b>bold</b> one", "As text.\n") == (shown.subject, shown.text)
    assert ("From", "Ann <ann@example.org>") == shown.fields[0]
    assert 'style="color:red"' in shown.html
    assert 'src="data:image/png;base64,' in shown.html
    assert ((), False) == (shown.attachments, shown.remote)


@pytest.mark.parametrize(
    "html",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<svg onload=alert(1)><script>1</script></svg>",
        '<a href="javascript:alert(1)">x</a>',
        '<a href="data:text/html,<script>1</script>">x</a>',
        '<a href="/letters/1/drop">x</a>',
        "<form action=//evil.example><input><button>Go</button></form>",
        '<meta http-equiv=refresh content="0;url=//evil.example">',
        "<link rel=preconnect href=//evil.example><link rel=stylesheet href=//evil.example/x>",
        "<base href=//evil.example>",
        "<iframe src=//evil.example></iframe><object data=//evil.example></object>",
        "<embed src=//evil.example><video src=//evil.example autoplay></video>",
        "<img src=//evil.example/x.png><img srcset=//evil.example/y.png>",
        "<table background=//evil.example/x.png><tr><td>x</table>",
        '<p style="background:url(//evil.example/x)">x</p>',
        '<p style="background:url( &quot;https://evil.example/x&quot; )">x</p>',
        "<style>@import url(//evil.example/x); p{background:url('https://evil.example/y')}</style>",
        "<style>@import '//evil.example/x';</style>",
        "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=alert(1)&gt;'>",
        "<noscript><p title='</noscript><img src=x onerror=alert(1)>'></noscript>",
    ],
)
def test_nothing_acts_and_nothing_loads(html: str) -> None:
    """No script, handler, form, frame or loaded URL remains."""
    found = mailview.view(html_mail(html)).html
    assert not re.search(
        r"<(script|svg|math|form|input|button|meta|link|base|iframe|object|embed|video|noscript)\b",
        found,
    )
    tags = " ".join(re.findall(r"<[^>]*>", found))
    assert not re.search(r"\son\w+=", re.sub(r'title="[^"]*"', "", tags))
    assert "evil.example" not in found
    assert "javascript:" not in found
    assert "href=" not in found or 'href="data:' not in found


def test_remote_content_is_told_and_kept_when_wanted() -> None:
    """Remote images are removed, and kept on request."""
    for html in (
        '<img src="https://pics.example/a.png">',
        '<div style="background: url(https://pics.example/a.png)">x</div>',
        "<style>p { background: url('https://pics.example/a.png') }</style>",
    ):
        whole = html_mail(html)
        assert mailview.view(whole).remote
        assert "pics.example" not in mailview.view(whole).html
        assert "pics.example" in mailview.view(whole, remote=True).html
    assert not mailview.view(html_mail('<a href="https://pics.example/">x</a>')).remote


@pytest.mark.parametrize(
    ("given", "safe"),
    [
        ("plan.pdf", "plan.pdf"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("C:\\Windows\\x.exe", "C__Windows_x.exe"),
        (".bashrc", "bashrc"),
        ("a\r\nSet-Cookie: x", "a  Set-Cookie_ x"),
        ("gnp.\u202eexe", "gnp. exe"),
        ('"><script>.txt', "___script_.txt"),
        ("x" * 300 + ".pdf", "x" * 117 + ".pdf"),
        ("...", "part-1"),
        ("", "part-1"),
        ("réunion ☃.pdf", "réunion ☃.pdf"),
    ],
)
def test_names_of_attachments_are_safe(given: str, safe: str) -> None:
    """Names contain no path, line end or bidirectional control, and are not hidden files."""
    message = EmailMessage()
    message.set_content("x")
    message.add_attachment(b"abc", "application", "octet-stream")
    part = message.get_payload()[1]  # type: ignore[index]
    encoded = "".join(f"%{octet:02X}" for octet in given.encode())
    del part["Content-Disposition"]  # type: ignore[attr-defined]
    whole = message.as_bytes().replace(
        b"Content-Transfer-Encoding: base64",
        f"Content-Transfer-Encoding: base64\nContent-Disposition: attachment; filename*=utf-8''{encoded}".encode(),
    )
    (listed,) = mailview.view(whole).attachments
    assert safe == listed.name
    assert (1, "application/octet-stream", 3) == (listed.number, listed.type, listed.size)
    assert (listed, b"abc") == mailview.attachment(whole, 1)
    assert None is mailview.attachment(whole, 7)


def test_an_attachment_that_acts_is_only_octets() -> None:
    """HTML, SVG and scripts are served with a type that no browser opens."""
    message = EmailMessage()
    message.set_content("x")
    for kind, sub in (("text", "html"), ("image", "svg+xml"), ("text", "javascript")):
        message.add_attachment(b"<script>1</script>", kind, sub, filename=f"x.{sub}")
    message.add_attachment(b"%PDF", "application", "pdf", filename="x.pdf")
    types = [each.type for each in mailview.view(message.as_bytes()).attachments]
    assert [*["application/octet-stream"] * 3, "application/pdf"] == types


def test_an_attached_mail_can_be_saved() -> None:
    """A forwarded message is a part like others."""
    inner, outer = EmailMessage(), EmailMessage()
    inner["Subject"] = "inner"
    inner.set_content("hello")
    outer.set_content("see below")
    outer.add_attachment(inner)
    (listed,) = mailview.view(outer.as_bytes()).attachments
    assert "mail.eml" == listed.name
    found = mailview.attachment(outer.as_bytes(), listed.number)
    assert found is not None
    assert b"Subject: inner" in found[1]


def test_nested_without_end() -> None:
    """Thousands of nested multiparts give a view without a body, not an error."""
    lines = [b"Subject: deep"]
    for depth in range(3000):
        lines += [b"Content-Type: multipart/mixed; boundary=b%d" % depth, b"", b"--b%d" % depth]
    assert "deep" == mailview.view(b"\r\n".join(lines)).subject


def test_mails_that_have_broken_parsers_have_a_view() -> None:
    """Messages that broke other parsers are shown, and their parts can be saved."""
    for mail in (cpython_mails() | edge_mails()).values():
        shown = mailview.view(mail)
        for each in shown.attachments:
            found = mailview.attachment(mail, each.number)
            assert found is not None
            assert each == found[0]


@given(
    st.binary(max_size=300), st.sampled_from([b"", b"Content-Type: multipart/mixed; boundary=b\n"])
)
def test_any_octets_have_a_view(octets: bytes, header: bytes) -> None:
    """Any octets give a view."""
    shown = mailview.view(header + octets.replace(b"zz", b"--b\n"))
    assert shown.subject.isprintable()
    assert all(text.isprintable() for text in mailview.summary(octets).values())


def test_a_subject_is_one_line() -> None:
    """A folded, encoded subject with control characters becomes one printable line."""
    found = mailview.summary(
        b"Subject: =?utf-8?B?YQ0KYgdj?=\r\n x\r\nFrom: =?x?Q?y?= <a@b.c>\r\n\r\n"
    )
    assert found["subject"].isprintable()
    assert found["from"]
