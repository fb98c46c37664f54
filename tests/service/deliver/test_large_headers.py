"""Messages that take more memory than Dovecot has: `deliver` with real Dovecot, in the memory of its task.

None is tried for ever, none ends anybody else's session, and each is in the mailbox or in the dead letters.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from postal_plexus.deliver.policy import HEADER_BOUND
from service.deliver.bed import Bed, laid
from service.mail_host import MailHost
from service.ways_out import ANN, BEN, filtering, headers
from wire import await_true

pytestmark = pytest.mark.timeout(300)

SUBJECT = "Subject: {}\r\nMIME-Version: 1.0\r\n"


@pytest.fixture(scope="module")
def host(idle_host: MailHost) -> MailHost:
    """Provide a host with Dovecot running."""
    idle_host.start("dovecot")
    return idle_host


@pytest.fixture(scope="module")
def bed(host: MailHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """`deliver`, with the host's Dovecot at its other end."""
    with laid(tmp_path_factory.mktemp("bed")) as made:
        made.settings = {
            "PLEXUS_LMTP_SOCKET": str(host.root / "run/dovecot/lmtp.sock"),
            "PLEXUS_QUESTION_SOCKET": str(host.root / "run/dovecot/question.sock"),
        }
        made.start()
        yield made


def addresses(octets: int) -> str:
    """Return addresses of the usual length, one a line."""
    return ",\r\n ".join(f"user{number:07d}@world.example" for number in range(octets // 29))


def filled(head: str, subject: str) -> bytes:
    """Return a mail with these fields whose header has as many octets as may be."""
    head += SUBJECT.format(subject)
    most = HEADER_BOUND.octets - len(head) - 40
    return f"{head}X-Fill: {addresses(most)}\r\n\r\nx\r\n".encode()


AS_LARGE_AS_MAY_BE = {
    "short addresses": f"From: {'a,' * 1_800_000}x@y.example\r\n",
    "groups": f"To: {'a:;,' * 900_000}x@y.example\r\n",
    "usual addresses": f"Cc: {addresses(HEADER_BOUND.octets - 200)}\r\n",
    "To": "To: a@b\r\n" * 99_000,
    "empty fields": "T:\r\n" * 99_000,
    "Subject": f"Subject: {'x' * (HEADER_BOUND.octets - 200)}\r\n",
}


@pytest.mark.parametrize("kind", AS_LARGE_AS_MAY_BE)
def test_dovecot_bears_a_header_at_the_bound(host: MailHost, kind: str) -> None:
    """Whatever fields it has, after a client has asked for envelopes; the bound says so."""
    with host.imap(BEN) as client, host.lmtp() as lmtp:
        client.select()
        small = f"From: a@b.example\r\n{SUBJECT.format('small')}\r\nx\r\n"
        assert {} == lmtp.sendmail("a@world.example", [BEN], small)
        client.noop()
        client.fetch("*", "(ENVELOPE)")
        content = filled(AS_LARGE_AS_MAY_BE[kind], "at the bound")
        assert {} == lmtp.sendmail("a@world.example", [BEN], content)
        client.store("1:*", "+FLAGS.SILENT", r"(\Deleted)")
        client.expunge()
    assert 0 == host.containers["dovecot"].usage().killed()


BEYOND = {
    "2.4 million addresses": f"From: {'a@b,' * 2_400_000}c@d.example\r\n",
    "field of 5 MB": f"X-Large: {'x' * 5_000_000}\r\n",
    "200,000 To": "To: a@b.example\r\n" * 200_000,
    "200,000 References": "References: <a@b.example>\r\n" * 200_000,
    "200,000 Received": "Received: from a by b\r\n" * 200_000,
    "no body": f"X-Large: {'x' * 5_000_000}",
}


def test_a_larger_header_fails_at_once(bed: Bed, host: MailHost) -> None:
    """With its reason, after one receive: a bounce where that is safe; the messages before and after arrive."""
    receipts = {kind: f"large-{number}" for number, kind in enumerate(BEYOND)}
    for kind, receipt in receipts.items():
        content = f"{BEYOND[kind]}\r\nx\r\n".encode()
        bed.send(receipt, BEN, ANN, content=content, sender="")
    bed.send("told", BEN, ANN, content=f"{BEYOND['field of 5 MB']}\r\nx\r\n".encode())
    bed.send("after", ANN, content=f"{SUBJECT.format('after')}\r\nx\r\n".encode())
    bed.await_deleted(len(receipts) + 2)
    assert headers(host, ANN, "after")
    found = [letter["attributes"] for letter in bed.dead_letters()]
    for kind, receipt in receipts.items():
        said = {each["Recipient"]: each["Reason"] for each in found if each["Receipt"] == receipt}
        assert {ANN, BEN} == set(said)
        start = "5.4.6 loop" if "Received" in kind else "5.3.4 the header has more than"
        assert all(reason.startswith(start) for reason in said.values()), said
    assert ["told"] == [line["receipt"] for line in bed.log("bounced")]
    assert "Fatal" not in host.containers["dovecot"].logs()


FIELDS = (
    'require "vacation"; vacation "Away."; if address :contains ["from", "to", "cc"] "zz" { stop; } '
    'if header :matches ["to", "cc", "from", "subject"] "*x*y*" { stop; }'
)
BODY = 'require "body"; if body :raw :contains "zz" { stop; } redirect "x@elsewhere.example";'


def test_a_mail_that_a_filter_cannot_bear_arrives_without_it(bed: Bed, host: MailHost) -> None:
    """Dovecot ends at it some times, and not for ever: it is in the inbox, once, with a log line."""
    many = "To: a@b\r\n" * 95_000 + SUBJECT.format("many fields") + "\r\nx\r\n"
    large = SUBJECT.format("large") + "\r\n" + f"{'0123456789' * 7}\r\n" * 250_000
    with filtering(host, ANN, FIELDS), filtering(host, BEN, BODY):
        bed.send("fields", ANN, content=many.encode())
        bed.send("body", BEN, content=large.encode())
        for address, subject in ((ANN, "many fields"), (BEN, "large")):
            await_true(subject, lambda to=(address, subject): headers(host, *to), 60)
            (head,) = headers(host, address, subject)
            assert b"X-Plexus-Policy: filters=none\r\n" in head
    assert {"fields", "body"} == {line["receipt"] for line in bed.log("unfiltered")}
    assert 0 == host.containers["dovecot"].usage().killed()
