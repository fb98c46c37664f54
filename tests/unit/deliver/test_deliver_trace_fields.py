"""The trace fields of a mail: what its mailbox gets to know, and what filters may rely on."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postal_plexus.deliver.recipients import resolve
from postal_plexus.deliver.trace_fields import is_addressed, mailbox_copies, mailbox_policy
from postal_plexus.directory import Alias, Directory, Domain, Mailbox
from postal_plexus.mail.content import HeaderBlock
from postal_plexus.mail.envelope import RawEnvelope, is_address
from postal_plexus.mail.receipt import Receipt
from postal_plexus.mail.verdicts import Verdict, Verdicts

ANN, BEN = "ann@example.org", "ben@example.org"
DIRECTORY = Directory(
    (Domain("example.org"), Domain("example.net", ANN), Domain("xn--bcher-kva.example", BEN)),
    (Mailbox(ANN, "{PLAIN}x"), Mailbox(BEN, "{PLAIN}x")),
    (Alias("info@example.org", (ANN, BEN)), Alias("out@example.org", ("x@else.example",))),
)


def receipt(verdicts: Verdicts | None = None, **headers: str) -> Receipt:
    """Return a mail with these headers."""
    return Receipt(
        "m",
        RawEnvelope("a@b.c", (ANN,)),
        "bucket",
        "key",
        verdicts or Verdicts(),
        0.0,
        tuple((name.lower().replace("_", "-"), text) for name, text in headers.items()),
    )


def disowned(policy: str) -> Verdicts:
    """DMARC failed under that policy."""
    failed = Verdict.FAIL
    return Verdicts(Verdict.PASS, Verdict.PASS, failed, failed, failed, policy)


@pytest.mark.parametrize(
    ("policy", "written_by", "expected"),
    [
        ("REJECT", "A <a@else.example>", "dmarc=junk"),
        ("quarantine", "A <a@else.example>", "dmarc=junk"),
        ("REJECT", "Ann <ann@example.org>", "dmarc=junk-always"),
        ("REJECT", "Ann <ANN@Example.ORG.>", "dmarc=junk-always"),
        ("REJECT", "Ann <ann@(c)example.org>", "dmarc=junk-always"),
        ("REJECT", "Ann <ann@ example . org>", "dmarc=junk-always"),
        ("REJECT", "Boss <boss@mail.example.org>", "dmarc=junk-always"),
        ("REJECT", "b@bücher.example", "dmarc=junk-always"),
        ("REJECT", "b@xn--bcher-kva.example", "dmarc=junk-always"),
        ("REJECT", "a@notexample.org", "dmarc=junk"),
        ("REJECT", "a@example.org.else.example", "dmarc=junk"),
        ("NONE", "Ann <ann@example.org>", ""),
        ("", "Ann <ann@example.org>", ""),
        ("SOMETHING NEW", "a@else.example", ""),
    ],
)
def test_a_from_that_its_domain_disowns_goes_to_junk(
    policy: str, written_by: str, expected: str
) -> None:
    """By the policies quarantine and reject; a From of ours whatever its reader has learned."""
    mail = receipt(disowned(policy), From=written_by)
    assert expected == mailbox_policy(mail, DIRECTORY, dmarc_to_junk=True, may_answer=True)
    assert "" == mailbox_policy(mail, DIRECTORY, dmarc_to_junk=False, may_answer=True)
    assert mailbox_policy(mail, DIRECTORY, dmarc_to_junk=True, may_answer=False).endswith(
        "answer=no"
    )


def test_only_a_failure_counts() -> None:
    """A policy beside another verdict says nothing."""
    for verdict in set(Verdict) - {Verdict.FAIL}:
        mail = receipt(replace(disowned("REJECT"), dmarc=verdict), From="a@example.org")
        assert "" == mailbox_policy(mail, DIRECTORY, dmarc_to_junk=True, may_answer=True)


@pytest.mark.parametrize(
    ("headers", "ann", "ben"),
    [
        ({"To": "ann@example.org"}, True, False),
        ({"To": "Info <INFO@example.org>"}, True, True),
        ({"Cc": "x@else.example, info+tag@example.org"}, True, True),
        ({"To": "sales@example.net"}, True, False),
        ({"To": "any@bücher.example"}, False, True),
        ({"Resent_To": "ben+lists@example.org"}, False, True),
        ({"To": '"ann@example.org" <x@else.example>'}, True, False),
        ({"To": "undisclosed-recipients:;"}, False, False),
        ({"To": "out@example.org"}, False, False),
        ({"Subject": "ann@example.org"}, False, False),
        ({}, False, False),
    ],
)
def test_who_is_addressed_by_the_header(headers: dict[str, str], ann: bool, ben: bool) -> None:
    """Under any address that leads to the mailbox: alias, subaddress, catch-all, U-labels."""
    mail = receipt(**headers)
    assert (ann, ben) == tuple(is_addressed(mail, each, DIRECTORY) for each in (ANN, BEN))


@given(st.text(), st.lists(st.text(), min_size=1, max_size=3, unique=True))
def test_a_field_is_one_line_whatever_the_envelope(sender: str, recipients: list[str]) -> None:
    """No envelope can write a field of its own into the trace."""
    mail = replace(receipt(), envelope=RawEnvelope(sender, tuple(recipients)))
    caught = resolve(RawEnvelope("", (*recipients, "any@example.net")), DIRECTORY).mailboxes
    copies = mailbox_copies(mail, caught, DIRECTORY, "mail.example.org", dmarc_to_junk=True)
    fields = [field for copy in copies for field in copy.trace]
    assert {"X-Plexus-Receipt", "X-Original-To"} <= {name for name, _ in fields}
    assert all(value.isprintable() and len(value) <= 320 for _, value in fields)


def test_who_shares_a_copy() -> None:
    """Recipients share a copy if its trace fields are equal, so none sees another's address."""
    recipients = ("info@example.org", "ann+a@example.org")
    both = resolve(RawEnvelope("", recipients), DIRECTORY).mailboxes
    ann, ben = mailbox_copies(receipt(), both, DIRECTORY, "mail.example.org", dmarc_to_junk=True)
    assert ([ANN], [BEN]) == tuple([each.name for each in copy.addressees] for copy in (ann, ben))
    assert [list(recipients), ["info@example.org"]] == [
        [value for name, value in copy.trace if name == "X-Original-To"] for copy in (ann, ben)
    ]
    one = resolve(RawEnvelope("", ("info@example.org",)), DIRECTORY).mailboxes
    (copy,) = mailbox_copies(receipt(), one, DIRECTORY, "mail.example.org", dmarc_to_junk=True)
    assert [ANN, BEN] == [each.name for each in copy.addressees]
    assert "a@b.c" == copy.sender


@given(st.text(), st.text(min_size=1))
def test_no_envelope_writes_a_line_of_its_own(sender: str, recipient: str) -> None:
    """Neither in our trace fields, whatever a caller gives, nor as the forwarder of a forward."""
    block = HeaderBlock((("X-A", sender), ("X-B", recipient)), "mail.example.org")
    assert 3 == len((block.feed(b"Subject: a\r\n\r\n") + block.finish()).split(b"\r\n")) - 2
    to_outside = Directory(
        (Domain("example.org"), Domain("example.com", "out@example.org")),
        (Mailbox(ANN, "{PLAIN}x"),),
        (Alias("out@example.org", ("x@else.example",)),),
    )
    caught = RawEnvelope("", (recipient.replace("@", "") + "@example.com",))
    for each in resolve(caught, to_outside).forwards:
        assert is_address(each.forwarder)
