"""What may leave, in whose name, and how it is changed: one pure function.

    way         owner                              its messages
    submission  the login                          what a user's program submits
    forward     the alias (X-Plexus-Forwarder)     what `deliver` forwards to outside addresses
    sieve       the user whose filter it is        redirect; vacation, notify, reject
    bounce      nobody                             Postfix's own notices

Each ends with Edits, or with a Refusal that somebody sees: the client, `deliver` (and so the sender
or the dead-letter queue), or Dovecot's log. A redirect that may not leave is *turned*: it goes to
its owner's mailbox with the reason in X-Plexus-Not-Sent, because Dovecot would retry it endlessly
or lose it. A redirect of a replayed message is dropped: it was sent the first time.

The null sender, which SES refuses (501), never leaves. A receipt from a user's program (RFC 8098)
gets the user's address, a redirect or a rejection its owner's. A notice from Postfix that would
leave goes to the mailboxes that may send as its recipient address, or else to the operator's.
"""

import re

from postal_plexus.mail.outgoing.fields import (
    ADDRESSES,
    LOOP,
    NEVER,
    NOT_IN_OUR_NAME,
    ONCE_ONLY,
    VERDICTS,
    Change,
    Field,
    Header,
    is_well_folded,
)
from postal_plexus.mail.outgoing.mailboxes import (
    Mailbox,
    Mailboxes,
    as_text,
    decoded,
    encoded_words,
    read,
    written,
    written_address,
)
from postal_plexus.mail.outgoing.senders import Senders, parts

SUBMISSION = "submission"
FORWARD = "forward"
SIEVE = "sieve"
BOUNCE = "bounce"

FORWARDER = "x-plexus-forwarder"
VERDICT = "x-plexus-verdicts"
STOPPED = "x-plexus-stopped"
POLICY = "x-plexus-policy"
NOT_AGAIN = "redirect=no"
NOTICE = "X-Plexus-Notice"
NOT_SENT = "X-Plexus-Not-Sent"

MOST_CHANGES = 200
"""Postfix's cleanup applies edits in quadratic time: 1,000 take 36 ms, and 20,000 make it fail."""
_MOST_REFERENCES = 40
_ID = re.compile(rb"<[!-;=?-~]{1,250}>")
_HELP = "write it as: Name <you@example.org>"


class Mail:
    """One message, as far as the rules examine it. `sender` and `recipients` are the envelope's."""

    __slots__ = ("fields", "owner", "recipients", "sender", "way")

    def __init__(
        self, way: str, owner: str, sender: str, recipients: tuple[str, ...], fields: list[Field]
    ) -> None:
        self.way = way
        self.owner = owner
        self.sender = sender
        self.recipients = recipients
        self.fields = fields


class Refusal:
    """Why a message does not leave: an SMTP reply, and whether it goes to its owner instead."""

    __slots__ = ("code", "owner", "status", "text")

    def __init__(self, code: str, status: str, text: str, owner: str = "") -> None:
        self.code = code
        self.status = status
        self.text = text
        self.owner = owner

    def __repr__(self) -> str:
        return f"Refusal({self.code} {self.status} {self.text})"


class Edits:
    """How a message is changed before it leaves.

    `owner` is whose limits it counts against; `sender` and `recipients` are the new envelope, or
    None to keep it; `on_top` are fields to put before all others; `outside` is whether SES gets the
    message.
    """

    __slots__ = ("automatic", "changes", "on_top", "outside", "owner", "recipients", "sender")

    def __init__(self, owner: str, *, automatic: bool, outside: bool) -> None:
        self.owner = owner
        self.automatic = automatic
        self.outside = outside
        self.changes: list[Change] = []
        self.on_top: list[Change] = []
        self.sender: str | None = None
        self.recipients: tuple[str, ...] | None = None


class _RefusedError(Exception):
    """A refusal, raised wherever it is found."""

    def __init__(self, text: str, status: str = "5.7.1", code: str = "550") -> None:
        super().__init__(text)
        self.refusal = Refusal(code, status, text)


def decide(mail: Mail, senders: Senders) -> Edits | Refusal:
    """Decide what happens to a message. Never raises."""
    try:
        edits = _decided(mail, senders)
    except _RefusedError as refused:
        if mail.way == SIEVE and is_redirect(mail.fields):
            refused.refusal.owner = mail.owner.lower()
        return refused.refusal
    return edits


def _decided(mail: Mail, senders: Senders) -> Edits:
    header = Header(mail.fields)
    outside = not all(map(senders.is_mailbox, mail.recipients))
    if mail.way == SUBMISSION:
        edits = _submission(mail, header, senders, outside=outside)
    elif mail.way == FORWARD:
        edits = _forward(mail, header, senders)
    elif mail.way == SIEVE:
        edits = _sieve(mail, header, senders, outside=outside)
    elif mail.way == BOUNCE and not mail.sender:
        return _bounce(mail, senders, outside=outside)
    else:
        raise _RefusedError(f"Nothing may leave by the way {mail.way!r}")
    edits.changes = header.changes()
    if len(edits.changes) > MOST_CHANGES:
        raise _RefusedError(
            f"{len(edits.changes)} header fields would have to be changed or removed, at most "
            f"{MOST_CHANGES} may",
            "5.6.0",
        )
    return edits


def is_redirect(fields: list[Field]) -> bool:
    """Return whether Dovecot redirects this: its own two fields precede all that a user writes."""
    return len(fields) > 1 and (fields[0].key, fields[1].key) == (
        "x-sieve",
        "x-sieve-redirected-from",
    )


def is_sent_already(fields: list[Field]) -> bool:
    """Return whether this is the redirect of a replayed message (`deliver.trace_fields`)."""
    return is_redirect(fields) and any(
        each.key == POLICY and NOT_AGAIN in as_text(each.value) for each in fields
    )


def turned(owner: str, reason: str) -> Edits:
    """Return the edits that keep a redirect: it goes to its owner's mailbox with the reason."""
    edits = Edits(owner, automatic=True, outside=False)
    text = "".join(char if char.isascii() and char.isprintable() else "?" for char in reason)
    edits.on_top = [Change(NOT_SENT, 0, text[:400])]
    edits.sender = owner
    edits.recipients = (owner,)
    return edits


# The ways -----------------------------------------------------------------------------------------


def _submission(mail: Mail, header: Header, senders: Senders, *, outside: bool) -> Edits:
    login = mail.owner.lower()
    if not login:
        raise _RefusedError("Nobody has logged in", "5.7.0")
    edits = Edits(login, automatic=False, outside=outside)
    if mail.sender:
        _must_own(senders, login, *parts(mail.sender), "Envelope sender")
    own = _own_from(header, senders, login)
    if own is None:
        # Postfix adds a From, but not to a mail with Resent-From.
        header.set("From", mail.sender or login)
    if not mail.sender and outside:
        edits.sender = own.address if own is not None else login
        _mark_automatic(header)
    header_of_all(header, keep_forged=not outside)
    if outside:
        for_ses(header)
    return edits


def _forward(mail: Mail, header: Header, senders: Senders) -> Edits:
    first = mail.fields[0] if mail.fields else None
    owner = as_text(first.value).strip() if first is not None and first.key == FORWARDER else ""
    if not owner or not senders.is_ours(owner.rpartition("@")[2]):
        raise _RefusedError(f"No local address forwards this: {owner!r}")
    edits = Edits(owner.lower(), automatic=True, outside=True)
    if not mail.sender:
        edits.sender = owner
    _in_the_name_of(owner, header, senders, edits)
    return edits


def _sieve(mail: Mail, header: Header, senders: Senders, *, outside: bool) -> Edits:
    owner = mail.owner.lower()
    if not senders.is_mailbox(owner):
        raise _RefusedError(f"No mailbox has this filter: {mail.owner!r}")
    edits = Edits(owner, automatic=True, outside=outside)
    if is_redirect(mail.fields):
        if header.count(NOTICE.lower()) or any(
            as_text(each).strip().startswith("echo-") for each in header.all("x-plexus-receipt")
        ):
            raise _RefusedError("A notice of this host is not redirected: it could loop", "5.4.6")
        stopped = {as_text(each).strip().lower() for each in header.all(STOPPED)}
        if resting := [each for each in mail.recipients if each.lower() in stopped]:
            raise _RefusedError(
                f"Too much of what went to {resting[0]} came back: it rests for a week", "5.2.1"
            )
        if not senders.may_send_as(owner, *parts(mail.sender)):
            edits.sender = owner
        _in_the_name_of(owner, header, senders, edits)
        return edits
    if mail.sender:
        _must_own(senders, owner, *parts(mail.sender), "Envelope sender")
        if _own_from(header, senders, owner) is None:
            header.set("From", owner)
    else:
        # A rejection (RFC 5429, MDN). The user did not choose the From: Dovecot writes
        # postmaster's.
        edits.sender = owner
        header.set("From", owner)
        header.remove("sender")
        _mark_automatic(header)
    header_of_all(header, keep_forged=False)
    for_ses(header)
    return edits


def _bounce(mail: Mail, senders: Senders, *, outside: bool) -> Edits:
    edits = Edits("", automatic=True, outside=False)
    edits.on_top = [Change(NOTICE, 0, "bounce")]
    if outside:
        told: dict[str, None] = {}
        for recipient in mail.recipients:
            if senders.is_mailbox(recipient):
                told[recipient] = None
                continue
            owners = senders.mailboxes_of(recipient) or (senders.operator(),)
            told |= dict.fromkeys(each for each in owners if each)
        edits.recipients = tuple(told) or mail.recipients
    return edits


# What they share ----------------------------------------------------------------------------------


def header_of_all(header: Header, *, keep_forged: bool) -> None:
    """Remove the fields that no outgoing message may have."""
    for key in header.names():
        if (
            key in VERDICTS
            or key == "return-path"
            or (key.startswith(NEVER) and not (keep_forged and key.startswith("x-forged-")))
        ):
            header.remove(key)


def for_ses(header: Header) -> None:
    """Make a header acceptable to SES, and keep threads together although SES replaces ids."""
    for key in header.names():
        if key in ONCE_ONLY and header.count(key) > 1:
            header.remove(key, keep=1)
    for key in ADDRESSES:
        for nth, value in enumerate(header.all(key)):
            found = read(value)
            says = found.mailboxes or found.empty_group
            if says and found.clean and not found.claimed and is_well_folded(key, value):
                continue
            if found.mailboxes:
                header.refold(key, nth, str(found))
            elif key == "to":
                header.refold(key, nth, "undisclosed-recipients:;")
            else:
                header.remove(key, keep=nth)
    _reference_itself(header)
    for key in header.names():
        for nth, value in enumerate(header.all(key)):
            if not is_well_folded(key, value):
                header.refold(key, nth, _refolded(value))


def _reference_itself(header: Header) -> None:
    """Add the message's own id to References: SES replaces Message-ID, and replies refer to SES's.

    RFC 5322, 3.6.4: a reply's References are those of its parent and the parent's own id.
    """
    own = _ID.search(header.first("message-id") or b"")
    if own is None:
        return
    ids = _ID.findall(header.first("references") or b"")
    if not ids:
        ids = _ID.findall(header.first("in-reply-to") or b"")[:1]
    if own[0] in ids[-1:]:
        return
    if len(ids) > _MOST_REFERENCES:
        ids = [ids[0], *ids[-_MOST_REFERENCES:]]
    header.set("References", "\n ".join(each.decode() for each in (*ids, own[0])))


def _own_from(header: Header, senders: Senders, login: str) -> Mailbox | None:
    """Return the first author, after checking that all of From and Sender belong to the login."""
    author = None
    for name in ("From", "Sender"):
        values = header.all(name.lower())
        if len(values) > 1:
            raise _RefusedError(f"More than one {name} header")
        if not values:
            continue
        found = read(values[0])
        if not found.mailboxes or found.faults:
            said = " ".join(found.faults or [found.text])[:60].strip()
            raise _RefusedError(f"The {name} header is not a list of addresses ({said}): {_HELP}")
        for local, domain in (*((e.local, e.domain) for e in found.mailboxes), *found.claimed):
            _must_own(senders, login, local, domain, f"{name} address")
        if not found.clean or found.claimed or not is_well_folded(name, values[0]):
            header.set(name, str(found))
        author = author or found.mailboxes[0]
        if name == "Sender":
            author = author if header.count("from") else None
    return author


def _must_own(senders: Senders, login: str, local: str, domain: str, what: str) -> None:
    if not senders.may_send_as(login, local, domain):
        raise _RefusedError(f"{what} is not yours: {written_address(local, domain)}")


def _in_the_name_of(owner: str, header: Header, senders: Senders, edits: Edits) -> None:
    """Rewrite somebody else's message so that `owner` sends it; replies go to its author."""
    if any(as_text(each).strip().lower() == owner.lower() for each in header.all(LOOP.lower())):
        raise _RefusedError(f"{owner} has sent this on before: a loop", "5.4.6")
    verdicts = as_text(header.first(VERDICT) or b"")
    proven = re.search(r"(?:^|; )dmarc=PASS(?:;|$)", verdicts.strip()) is not None
    envelope_author = as_text(header.first("return-path") or b"").strip().strip("<>")
    header_of_all(header, keep_forged=False)
    values = header.all("from")
    found = read(values[0]) if values else read(envelope_author.encode("ascii", "replace"))
    keeps = (
        proven
        and len(values) == 1
        and not found.faults
        and not found.claimed
        and bool(found.mailboxes)
        and all(senders.is_ours(each.domain) for each in found.mailboxes)
    )
    for key in NOT_IN_OUR_NAME:
        header.remove(key)
    if not keeps:
        header.set("From", str(Mailbox(_via(found, owner), *parts(owner))))
        _answers_to(found, envelope_author, header)
    elif not found.clean or not is_well_folded("from", values[0]):
        header.set("From", str(found))
    # On top, so that SES's bounce report, which has a header's first 10 KB, names who forwarded it.
    edits.on_top = [Change(LOOP, 0, owner)]
    for_ses(header)


def _answers_to(found: Mailboxes, envelope_author: str, header: Header) -> None:
    """Return Reply-To: what the author requested, or else the author."""
    for value in header.all("reply-to"):
        asked = read(value)
        if asked.mailboxes:
            if not asked.clean or header.count("reply-to") > 1:
                header.set("Reply-To", str(asked))
            return
    authors = found.mailboxes or read(envelope_author.encode("ascii", "replace")).mailboxes
    if authors:
        header.set("Reply-To", written(authors[:20]))
    else:
        header.remove("reply-to")


def _via(found: Mailboxes, owner: str) -> str:
    """Return the display name for a forwarded message: its author, via whom."""
    if found.mailboxes:
        first = found.mailboxes[0]
        name = decoded(first.name) or first.address
    else:
        name = decoded(found.text)
    name = " ".join(name.split())[:60].strip() or "unknown"
    return f"{name} via {owner}"


def _mark_automatic(header: Header) -> None:
    """Mark as automatic (RFC 3834): without the null sender, only this prevents auto-replies."""
    if not header.count("auto-submitted"):
        header.set("Auto-Submitted", "auto-replied")


def _refolded(value: bytes) -> str:
    """Return a value with short lines: folded at blanks, or in encoded words if there are none."""
    text = " ".join(as_text(value).split())
    if not text.isascii() or max(map(len, text.split(" ")), default=0) > 900:
        return encoded_words(text)
    lines = [""]
    for word in text.split(" "):
        if len(lines[-1]) + len(word) > 400:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return "\n ".join(lines)
