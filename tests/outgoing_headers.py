"""Header blocks such as strangers, filters and programs write, and worse."""

from __future__ import annotations

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

_NAMES = st.sampled_from(
    [
        *("From", "from", "FROM", "Sender", "Reply-To", "To", "Cc", "Delivered-To", "Subject"),
        *("Message-ID", "References", "In-Reply-To", "MIME-Version", "Return-Path", "X-Loop"),
        *("X-SES-Source-Arn", "X-Plexus-Verdicts", "X-Plexus-Forwarder", "X-Forged-X-Plexus-Notice"),
        *("Authentication-Results", "X-Sieve", "X-Sieve-Redirected-From", "Resent-From", "DKIM-Signature"),
        *("List-Unsubscribe-Post", "Auto-Submitted", "X-Any", "Date", "Bcc"),
    ]
)  # fmt: skip
_PIECES = st.sampled_from(
    [
        *(b"ann@example.org", b"ben@example.org", b"a@world.example", b"eva@stra\xc3\x9fe.example"),
        *(b"<", b">", b"@", b",", b";", b":", b"(", b")", b'"', b"\\", b"[", b"]", b".", b" ", b"\n "),
        *(b"=?utf-8?q?=C3=A4?=", b"=?x?b?", b"?=", b"\xe4", b"\xf0\x9f\x98\x80", b"\x00", b"\x7f", b"\r"),
        *(b"Ann", b"undisclosed-recipients", b"<@r.example:", b"<>", b"a" * 70, b"<a@b> ", b"\n\t"),
    ]
)  # fmt: skip
_VALUES = st.one_of(
    st.lists(_PIECES, max_size=12).map(b"".join),
    st.binary(max_size=60).map(lambda octets: octets.replace(b"\n", b"\n ")),
    st.builds(lambda octets, times: octets * times, st.sampled_from([b"x", b"\xc3\xa4 ", b"a@b.c,"]), st.integers(0, 2000)),
)  # fmt: skip
HEADERS = st.lists(st.tuples(_NAMES, _VALUES), max_size=25)


def header_blocks(count: int) -> list[list[tuple[str, bytes]]]:
    """Yield this number of header blocks, the same in each run."""
    found: list[list[tuple[str, bytes]]] = []

    @settings(max_examples=count, derandomize=True, database=None, phases=[Phase.generate])
    @given(HEADERS)
    def take(header: list[tuple[str, bytes]]) -> None:
        found.append(header)

    take()
    return found
