"""Small values of the mail core: envelopes, replies, verdicts."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postal_plexus.mail.envelope import (
    Envelope,
    EnvelopeError,
    ascii_domain,
    is_address,
    wire_sender,
)
from postal_plexus.mail.reply import Reply, ReplyError, ReplyReader
from postal_plexus.mail.verdicts import Verdict, Verdicts, read_verdict


@pytest.mark.parametrize(
    "address",
    ["ann@example.org", "o'brien+a/b@x", '"a b"@example.org', "a@[192.0.2.1]", "=?x?=@a_b.c"],
)
def test_addresses_of_the_world_can_be_sent(address: str) -> None:
    """What SES accepts goes on the wire."""
    assert is_address(address)


@given(st.text(max_size=30), st.sampled_from("\r\n <>\0\x7fé"), st.text(max_size=30))
def test_no_address_can_end_the_command(before: str, evil: str, after: str) -> None:
    """Outside quotes none of these characters passes, so none can close the angle bracket."""
    assert not is_address(f"{before}{evil}{after}@example.org") or '"' in before + after


@pytest.mark.parametrize("evil", ["\r", "\n", "\0", "é"])
def test_quotes_hide_no_control_character(evil: str) -> None:
    """Inside quotes neither."""
    assert not is_address(f'"a{evil}b"@example.org')


def test_an_envelope_has_recipients_each_once() -> None:
    """None, or one twice, is no envelope."""
    with pytest.raises(EnvelopeError, match="needs a recipient"):
        Envelope("", ())
    with pytest.raises(EnvelopeError, match="twice"):
        Envelope("", ("a@b", "a@b"))


@given(st.text())
def test_any_sender_becomes_one_that_can_be_put_on_the_wire(sender: str) -> None:
    """Whatever SES calls the sender: an envelope can be made of it, and no command ended early."""
    wire = wire_sender(sender)
    assert wire == Envelope(wire, ("u@example.org",)).sender
    assert '"' in wire or not set("\r\n <>\0\x7f\x85\u2028\u00a0") & set(wire)
    assert wire_sender(wire) == wire


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("Example.ORG.", "example.org"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("bu\u0308cher.example", "xn--bcher-kva.example"),
        ("straße.example", "xn--strae-oqa.example"),  # IDNA 2008: not strasse
        ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
        ("\u212aate.example", "\u212aate.example"),  # the Kelvin sign is nobody's k
        ("", ""),
    ],
)
def test_domains_are_compared_as_a_labels(domain: str, expected: str) -> None:
    """As `idna` makes them, without its tables."""
    assert expected == ascii_domain(domain)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_replies_are_whole_whatever_the_pieces(sizes: list[int]) -> None:
    """One, several lines, with and without enhanced code."""
    octets = b"250-2.1.0 first\r\n250 2.1.0 last\r\n550 5.1.1 no\r\n354\r\n452 5.2.2 odd\n"
    reader = ReplyReader()
    found: list[Reply] = []
    turn = 0
    while octets:
        size = sizes[turn % len(sizes)]
        found += reader.feed(octets[:size])
        octets = octets[size:]
        turn += 1
    assert [
        Reply(250, "2.1.0", "first\nlast"),
        Reply(550, "5.1.1", "no"),
        Reply(354, "", ""),
        Reply(452, "", "5.2.2 odd"),  # RFC 2034: classes that differ are no enhanced code
    ] == found


@pytest.mark.parametrize(
    "octets", [b"hello\r\n", b"250-a\r\n251 b\r\n", b"99 x\r\n", b"2500 x\r\n"]
)
def test_what_is_no_reply_is_an_error(octets: bytes) -> None:
    """And says so."""
    with pytest.raises(ReplyError):
        ReplyReader().feed(octets)


def test_a_reply_without_end_is_an_error() -> None:
    """Memory stays bounded whatever a server sends."""
    lines = (b"250-" + b"x" * 100 + b"\r\n") * 10_000
    with pytest.raises(ReplyError, match="without end"):
        ReplyReader().feed(lines)


@given(st.binary(max_size=100))
def test_arbitrary_octets_are_replies_or_an_error(octets: bytes) -> None:
    """Nothing else comes out."""
    with contextlib.suppress(ReplyError):
        assert all(200 <= reply.code < 600 for reply in ReplyReader().feed(octets))


def test_verdicts_become_authentication_results() -> None:
    """RFC 8601, with SES's words as its results, and the DMARC policy where DMARC failed."""
    verdicts = Verdicts(
        spf=Verdict.PASS, dkim=Verdict.PROCESSING_FAILED, dmarc=Verdict.FAIL, dmarc_policy="REJECT"
    )
    expected = "mail.example.org; spf=pass; dkim=temperror; dmarc=fail (p=reject)"
    assert expected == verdicts.authentication_results("mail.example.org")


def test_a_policy_of_the_senders_words_is_left_out() -> None:
    """Only policies that exist are passed on."""
    verdicts = Verdicts(dmarc_policy="none); evil=pass (")
    assert "evil" not in verdicts.authentication_results("h")


@given(st.one_of(st.none(), st.text(), st.integers(), st.lists(st.text())))
def test_an_unknown_verdict_is_unknown_and_not_passed(status: object) -> None:
    """Whatever SES may say some day."""
    known = {verdict.value for verdict in Verdict}
    if not (isinstance(status, str) and status in known):
        assert Verdict.UNKNOWN is read_verdict(status)
