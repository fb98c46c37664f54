"""What may leave, by whose right, and how it is changed: the rules as values."""

from __future__ import annotations

import pytest
from outgoing_model import OUTSIDE, REDIRECTED, SENDERS, decided, fields_of, objections

from postal_plexus.mail.outgoing import rules
from postal_plexus.mail.outgoing.rules import Edits, Mail, Refusal, decide, turned

PASS = ("X-Plexus-Verdicts", "spam=PASS; virus=PASS; spf=PASS; dkim=PASS; dmarc=PASS")
FAIL = ("X-Plexus-Verdicts", "spam=PASS; virus=PASS; spf=FAIL; dkim=FAIL; dmarc=FAIL")


def one(header: list[tuple[str, bytes]], name: str) -> str | None:
    """Return the only field of a name."""
    values = [value.decode() for each, value in header if each.lower() == name.lower()]
    assert len(values) < 2, values
    return " ".join(values[0].split()) if values else None


def forward(
    *fields: tuple[str, str | bytes], owner: str = "out@example.org"
) -> tuple[object, list[tuple[str, bytes]]]:
    return decided(
        "forward", ("X-Plexus-Forwarder", owner), *fields, sender="postmaster+fwd-1-2@example.org"
    )


def redirect(
    *fields: tuple[str, str | bytes], sender: str = "ben@example.org"
) -> tuple[object, list[tuple[str, bytes]]]:
    return decided("sieve", *REDIRECTED, *fields, owner="ben@example.org", sender=sender)


# From, as a user writes it ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "leaves"),
    [
        ("Ann <ann@example.org>", "Ann <ann@example.org>"),
        ("ann@example.org", "ann@example.org"),
        ("ann@example.org (Ann, of Example)", '"Ann, of Example" <ann@example.org>'),
        ("(Ann (of, Example)) ann@example.org", '"Ann (of, Example)" <ann@example.org>'),
        ("ann@example.org <ann@example.org>", '"ann@example.org" <ann@example.org>'),
        ("Ann <ann@example.org>,", "Ann <ann@example.org>"),
        (",Ann <ann@example.org>", "Ann <ann@example.org>"),
        ("Ann <ann@example.org>;", "Ann <ann@example.org>"),
        ("Example, Ann <ann@example.org>", '"Example, Ann" <ann@example.org>'),
        ("Ann J. Example <ann@example.org>", '"Ann J. Example" <ann@example.org>'),
        ("<@a.example,@b.example:ann@example.org>", "ann@example.org"),
        ("ann @ example . org", None),
        ("Ann < ann@example.org >", "Ann < ann@example.org >"),
        ("Ann (x) <ann@(y)example.org>", "Ann <ann@example.org>"),
        ("Änn <ann@example.org>", "=?utf-8?b?w4Rubg==?= <ann@example.org>"),
        (b"\xc4nn <ann@example.org>", "=?utf-8?b?w4Rubg==?= <ann@example.org>"),
        ("=?utf-8?q?=C3=84nn?= <ann@example.org>", "=?utf-8?q?=C3=84nn?= <ann@example.org>"),
        ('"Ann \\"A\\" E" <ann@example.org>', '"Ann \\"A\\" E" <ann@example.org>'),
        ("Ann <ann@example.org>, Info <info@example.org>", "Ann <ann@example.org>, Info <info@example.org>"),
        ("any.thing@example.net", "any.thing@example.net"),
        ("Team: ann@example.org;", None),
    ],
)  # fmt: skip
def test_careless_forms_of_from_leave_in_a_valid_one(
    written: str | bytes, leaves: str | None
) -> None:
    """Comments with commas, a doubled address, a trailing comma, raw 8-bit, a route, a word before."""
    found, header = decided("submission", ("From", written))
    if leaves is None and isinstance(found, Refusal):
        assert "write it as" in found.text
        return
    assert isinstance(found, Edits), found
    assert [] == objections(header, "ann@example.org")
    if leaves is not None:
        assert leaves == one(header, "From")


@pytest.mark.parametrize(
    "written",
    [
        *("Ann", "", "<>", "undisclosed:;", '"ann@example.org"', "Ann ann@example.org", "ann@"),
        *("@example.org", "Ann <ann@example.org> Ann", "a@b@example.org", "<ann@example.org", "x" * 9000),
        *("a:" * 1000 + "ann@example.org" + ";" * 1000, "(" * 5000 + "ann@example.org", "Ann <ann@example.org"),
        *("ann@[192.0.2.1]", "<ann@example..org>"),
    ],
)  # fmt: skip
def test_a_from_that_cannot_be_read_is_refused_with_what_to_write(written: str) -> None:
    """And a thousand groups in one another end in a refusal as well."""
    found, _ = decided("submission", ("From", written))
    assert isinstance(found, Refusal)
    assert found.code == "550"
    assert "write it as: Name <you@example.org>" in found.text


@pytest.mark.parametrize(
    "fields",
    [
        [("From", "ben@example.org")],
        [("From", "ben@example.org <ann@example.org>")],
        [("From", "ann@example.org"), ("From", "ben@example.org")],
        [("From", "ann@example.org, ben@example.org")],
        [("From", "ann@example.org"), ("Sender", "ben@example.org")],
        [("From", "Ann <@example.org,@x:ben@example.org>")],
        [("From", '"ben"@example.org')],
        [("From", "ann@example.org;ben@example.org")],
        [("From", "g: ann@example.org, ben@example.org;")],
        [("From", "(ann@example.org) ben@example.org")],
        [("From", "ann@ex\u0430mple.org")],
        [("From ", "ben@example.org")],
    ],
)
def test_nobody_claims_what_is_anothers(fields: list[tuple[str, str]]) -> None:
    """In From or Sender, quoted, in a group, behind a route, in a name without quotes."""
    found, _ = decided("submission", *fields)
    assert isinstance(found, Refusal)
    assert "550" == found.code


@pytest.mark.parametrize("sender", ['"ben"@example.org', "ben@example.org", "out@example.org"])
def test_nobody_uses_anothers_envelope_sender(sender: str) -> None:
    """A quoted local part is the same mailbox."""
    found, _ = decided("submission", ("From", "ann@example.org"), sender=sender)
    assert isinstance(found, Refusal)


@pytest.mark.parametrize("domain", ["straße.example", "STRASSE.example", "strasse.example"])
def test_a_domain_in_u_labels_is_its_a_labels(domain: str) -> None:
    """IDNA 2008: ß is itself, not ss."""
    found, header = decided(
        "submission", ("From", f"Eva <eva@{domain}>"), owner="eva@xn--strae-oqa.example"
    )
    if "ß" in domain:
        assert "Eva <eva@xn--strae-oqa.example>" == one(header, "From")
    else:
        assert isinstance(found, Refusal)


# Sent on by an alias or a filter ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "leaves", "answers"),
    [
        ("A <a@world.example>", '"A via out@example.org" <out@example.org>', "A <a@world.example>"),
        ("a@world.example", '"a@world.example via out@example.org" <out@example.org>', "a@world.example"),
        ('"A, B" <a@world.example>', '"A, B via out@example.org" <out@example.org>', '"A, B" <a@world.example>'),
        ("a@world.example, b@world.example", '"a@world.example via out@example.org" <out@example.org>', "a@world.example, b@world.example"),
        ("Zoë <zoe@world.example>", "=?utf-8?b?Wm/DqyB2aWEgb3V0QGV4YW1wbGUub3Jn?= <out@example.org>", "=?utf-8?b?Wm/Dqw==?= <zoe@world.example>"),
        (b"Zo\xeb <zoe@world.example>", "=?utf-8?b?Wm/DqyB2aWEgb3V0QGV4YW1wbGUub3Jn?= <out@example.org>", "=?utf-8?b?Wm/Dqw==?= <zoe@world.example>"),
        ("=?iso-8859-1?q?Zo=EB?= <zoe@world.example>", "=?utf-8?b?Wm/DqyB2aWEgb3V0QGV4YW1wbGUub3Jn?= <out@example.org>", "=?iso-8859-1?q?Zo=EB?= <zoe@world.example>"),
        ("<@r.example:a@world.example>", '"a@world.example via out@example.org" <out@example.org>', "a@world.example"),
        ("<>", '"< > via out@example.org" <out@example.org>', "envelope@world.example"),
        ("A <a@mächine.example>", '"A via out@example.org" <out@example.org>', "A <a@xn--mchine-bua.example>"),
        ("A <ä@world.example>", None, "envelope@world.example"),
        ("a:" * 1000 + ";" * 1000, None, "envelope@world.example"),
    ],
)  # fmt: skip
def test_a_forward_is_its_aliass_and_answers_go_to_the_author(
    written: str | bytes, leaves: str | None, answers: str
) -> None:
    """Several authors, empty addresses, routes, 8-bit: From and Reply-To are valid."""
    found, header = forward(("Return-Path", "<envelope@world.example>"), PASS, ("From", written))
    assert isinstance(found, Edits)
    assert [] == objections(header, "postmaster+fwd-1-2@example.org")
    if leaves is not None:
        assert leaves.replace("< >", one(header, "From").split(" via")[0].strip('"')) == one(
            header, "From"
        )  # type: ignore[union-attr]
    assert answers == one(header, "Reply-To")


@pytest.mark.parametrize("owner", ['"a b"@example.net', "a@example.net", "o'b@example.org"])
def test_an_alias_with_an_odd_name_is_quoted(owner: str) -> None:
    """RFC 5321, 4.1.2."""
    found, header = forward(("From", "a@world.example"), owner=owner)
    assert isinstance(found, Edits)
    assert (one(header, "From") or "").endswith(f" <{owner}>")
    assert [] == objections(header, "ann@example.org")


def test_an_authors_own_reply_to_stays() -> None:
    """Who asked for answers elsewhere gets them there; of two the first."""
    _, header = forward(
        ("From", "a@b.example"), ("Reply-To", "l@b.example"), ("Reply-To", "m@b.example")
    )
    assert "l@b.example" == one(header, "Reply-To")


@pytest.mark.parametrize(("verdicts", "kept"), [(PASS, True), (FAIL, False), (None, False)])
@pytest.mark.parametrize("way", [forward, redirect])
def test_a_from_of_ours_stays_only_where_ses_proves_it(
    way: object, verdicts: tuple[str, str] | None, *, kept: bool
) -> None:
    """Anybody can write a colleague's address; DMARC says whether he did."""
    fields = [*([verdicts] if verdicts else []), ("From", "Cat <cat@example.org>")]
    _, header = way(*fields)  # type: ignore[operator]
    assert kept == ("Cat <cat@example.org>" == one(header, "From"))
    assert [] == objections(header, "ann@example.org")


def test_verdicts_that_a_filter_writes_prove_nothing() -> None:
    """`vacation :mime` lets a user write fields, also those two of a redirect, but not at the top."""
    found, _ = decided(
        "sieve",
        *(("X-Sieve", "Pigeonhole"), ("Message-ID", "<a@b>"), ("From", "cat@example.org")),
        *(REDIRECTED[1], PASS),
        owner="ben@example.org",
    )
    assert isinstance(found, Refusal)


@pytest.mark.parametrize(
    ("name", "value"),
    [("From", "ann@example.org"), ("From", "a@world.example"), ("Sender", "ann@example.org")],
)
def test_a_filter_claims_only_its_owners_addresses(name: str, value: str) -> None:
    """Vacation and notify with :from: a colleague's, a stranger's."""
    fields = [("X-Sieve", "P"), ("From", "ben@example.org"), ("Auto-Submitted", "auto-replied")]
    fields = [each for each in fields if each[0] != name] + [(name, value)]
    found, _ = decided("sieve", *fields, owner="ben@example.org")
    assert isinstance(found, Refusal)
    assert "is not yours" in found.text
    assert "" == found.owner


@pytest.mark.parametrize("owner", ["", "nobody@example.org", "out@example.org", "localhost"])
def test_without_an_owner_nothing_leaves(owner: str) -> None:
    """By the socket of filters, or of forwards."""
    assert isinstance(decided("sieve", ("From", "ann@example.org"), owner=owner)[0], Refusal)
    assert isinstance(decided("forward", ("From", "ann@example.org"), owner=owner)[0], Refusal)
    assert isinstance(decided("forward", ("X-Plexus-Forwarder", "a@world.example"))[0], Refusal)
    assert isinstance(decided("other", ("From", "ann@example.org"))[0], Refusal)
    assert isinstance(
        decided("bounce", ("From", "ann@example.org"), sender="x@y.example")[0], Refusal
    )


# What SES takes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["submission", "forward", "sieve", "redirect"])
def test_what_ses_takes_once_leaves_once(way: str) -> None:
    """Every field of AWS's list, given three times, by every way; control fields not at all."""
    from outgoing_model import ONCE

    fields = [
        (name, f"{number} <{number}@b.example>")
        for number in range(3)
        for name in (*ONCE, "X-SES-Source-Arn", "X-Plexus-X", "X-Forged-X-Plexus-X", "Authentication-Results")
        if name not in ("from", "sender")
    ][:180]  # fmt: skip
    own = ("From", "ben@example.org")
    if way == "forward":
        found, header = forward(own, *fields)
    elif way == "redirect":
        found, header = redirect(own, *fields)
    else:
        found, header = decided(way, own, *fields, owner="ben@example.org")
    assert isinstance(found, Edits), found
    assert [] == objections(header, "ben@example.org")


def test_edits_are_bounded() -> None:
    """A mail with 20,000 fields to delete is refused, a redirect turned to its owner."""
    many = [("Delivered-To", f"{number}@b.example") for number in range(20_000)]
    for found in (forward(("From", "a@b.example"), *many)[0], redirect(*many)[0]):
        assert isinstance(found, Refusal)
        assert "at most 200" in found.text
    assert "ben@example.org" == found.owner


def test_a_mail_refers_to_itself() -> None:
    """References ends with its own Message-ID, once, however it came; the first ones stay."""
    own = ("Message-ID", "<own@laptop.example.org>")
    for before, after in (
        ([], "<own@laptop.example.org>"),
        ([("References", "<a@x> <b@x>")], "<a@x> <b@x> <own@laptop.example.org>"),
        ([("In-Reply-To", "<a@x>")], "<a@x> <own@laptop.example.org>"),
        ([("References", "<a@x> <own@laptop.example.org>")], "<a@x> <own@laptop.example.org>"),
        ([("References", "nonsense"), ("References", "<z@x>")], "<own@laptop.example.org>"),
    ):
        _, header = decided("submission", ("From", "ann@example.org"), own, *before)
        assert after == one(header, "References")
    long = " ".join(f"<{number}@x>" for number in range(500))
    _, header = decided("submission", ("From", "ann@example.org"), own, ("References", long))
    assert (one(header, "References") or "").startswith("<0@x> <460@x>")
    assert [] == objections(header, "ann@example.org")


def test_long_header_lines_are_folded_or_encoded() -> None:
    """Never cut amid a character."""
    umlauts, blanks, solid = "Grüße-" * 900, "word " * 900, "x" * 5000
    _, header = decided(
        "submission",
        *(
            ("From", "ann@example.org"),
            ("Subject", umlauts),
            ("X-Words", blanks),
            ("X-Solid", solid),
        ),
    )
    assert [] == objections(header, "ann@example.org")
    from email.header import decode_header, make_header

    assert umlauts == str(make_header(decode_header(dict(header)["Subject"].decode())))
    assert blanks.split() == dict(header)["X-Words"].decode().split()


def test_mail_among_us_is_left_alone() -> None:
    """Without an outside recipient SES's rules do not apply; those against forgery do."""
    fields = [
        ("From", "ann@example.org"),
        *(("Delivered-To", "a@b.example"), ("Delivered-To", "c@d.example")),
        *(("Message-ID", "<a@b>"), ("Subject", "x" * 2000)),
    ]
    found, header = decided("submission", *fields, to=("ben@example.org", "ann+x@example.org"))
    assert isinstance(found, Edits)
    assert [name for name, _ in fields] == [name for name, _ in header]
    _, header = decided(
        "submission", *fields, ("Authentication-Results", "mail.example.org; dmarc=pass"),
        to=("ben@example.org",),
    )  # fmt: skip
    assert None is one(header, "Authentication-Results")


# The null sender ----------------------------------------------------------------------------------


def test_a_receipt_leaves_as_its_user() -> None:
    """RFC 8098: a program's MDN has the null sender; SES takes the user's address."""
    found, header = decided("submission", ("From", "info@example.org"), sender="")
    assert isinstance(found, Edits)
    assert "info@example.org" == found.sender
    assert "auto-replied" == one(header, "Auto-Submitted")
    found, _ = decided(
        "submission", ("From", "ann@example.org"), sender="", to=("ben@example.org",)
    )
    assert isinstance(found, Edits)
    assert None is found.sender


def test_a_bounce_that_a_filter_redirects_leaves_as_the_user() -> None:
    """And a rejection too, From included."""
    found, _ = redirect(("From", "MAILER-DAEMON@world.example"), sender="")
    assert isinstance(found, Edits)
    assert "ben@example.org" == found.sender
    found, header = decided(
        "sieve", ("From", "postmaster@example.org"), owner="ben@example.org", sender=""
    )
    assert isinstance(found, Edits)
    assert ("ben@example.org", "ben@example.org") == (found.sender, one(header, "From"))


@pytest.mark.parametrize(
    ("to", "told"),
    [
        (("ben@example.org",), None),
        (("away@example.org",), ("ben@example.org",)),
        (("postmaster+fwd-1-2@example.org",), ("ann@example.org",)),
        (("out@example.org",), ("ann@example.org",)),
        (("x@example.net",), ("ann@example.org",)),
    ],
)
def test_a_notice_of_postfix_stays_here(to: tuple[str, ...], told: tuple[str, ...] | None) -> None:
    """For who may send as the address, or for the operator, where it would leave with no sender."""
    found, header = decided("bounce", ("From", "MAILER-DAEMON"), sender="", to=to)
    assert isinstance(found, Edits)
    assert told == found.recipients
    assert ("X-Plexus-Notice", b"bounce") == header[0]


# Loops --------------------------------------------------------------------------------------------


def test_what_was_sent_on_before_is_a_loop() -> None:
    """Our own X-Loop shows a loop even if Delivered-To is stripped; others' do not."""
    _, header = forward(("From", "a@b.example"), ("X-Loop", "other@b.example"))
    assert [b"other@b.example", b"out@example.org"] == sorted(v for n, v in header if n == "X-Loop")
    again = [(name, value) for name, value in header if name not in ("Delivered-To", "Received")]
    found, _ = forward(*again)
    assert isinstance(found, Refusal)
    assert "5.4.6" == found.status


@pytest.mark.parametrize(
    "mark",
    [("X-Plexus-Notice", "bounce"), ("X-Plexus-Receipt", "echo-0123")],
    ids=["bounce", "ses"],
)
def test_our_own_notices_are_not_redirected(mark: tuple[str, str]) -> None:
    """The bounce of a redirect would be redirected, and bounce, for ever."""
    found, _ = redirect(mark, ("From", "MAILER-DAEMON@mail.example.org"), sender="")
    assert isinstance(found, Refusal)
    assert "ben@example.org" == found.owner


def test_a_redirect_that_keeps_bouncing_is_turned() -> None:
    """By the mark of `deliver`; to other addresses it leaves, and the mark with neither."""
    mark = ("X-Plexus-Stopped", "Someone@elsewhere.example")
    found, _ = redirect(mark, ("From", "a@b.example"))
    assert isinstance(found, Refusal)
    assert ("5.2.1", "ben@example.org") == (found.status, found.owner)
    found, header = redirect(("X-Plexus-Stopped", "x@else.example"), ("From", "a@b.example"))
    assert isinstance(found, Edits)
    assert one(header, "X-Plexus-Stopped") is None
    assert ("X-Loop", b"ben@example.org") == header[0]


def test_what_is_turned_goes_to_its_owner_with_the_reason() -> None:
    """Nothing else is changed, and no reason can write a field of its own."""
    edits = turned("ben@example.org", "5.4.6 a loop\r\nX-Evil: 1 \u00e4")
    assert (("ben@example.org",), "ben@example.org", []) == (
        edits.recipients,
        edits.sender,
        edits.changes,
    )
    assert "5.4.6 a loop??X-Evil: 1 ?" == edits.on_top[0].value


def test_recipients_decide_whether_ses_gets_it() -> None:
    """An alias counts as outside, since it may lead there."""
    for to, outside in (
        (("ben@example.org",), False),
        (("info@example.org",), True),
        (OUTSIDE, True),
    ):
        mail = Mail("submission", "ann@example.org", "", to, fields_of(("From", "ann@example.org")))
        found = decide(mail, SENDERS)
        assert isinstance(found, Edits)
        assert outside == found.outside
    assert rules.MOST_CHANGES == 200


# Replays ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "left_before"),
    [
        ((*REDIRECTED, ("X-Plexus-Policy", "answer=no; redirect=no")), True),
        ((*REDIRECTED, ("X-Plexus-Policy", "answer=no")), False),
        ((*REDIRECTED, ("X-Forged-X-Plexus-Policy", "redirect=no")), False),
        ((("X-Plexus-Policy", "redirect=no"),), False),
    ],
    ids=["a replay", "a mail", "forged", "no redirect"],
)
def test_the_redirect_of_a_replayed_mail_left_before(
    fields: tuple[tuple[str, str], ...], *, left_before: bool
) -> None:
    """By the word of `deliver` only: a stranger's field has another name."""
    assert left_before == rules.is_sent_already(fields_of(*fields))
