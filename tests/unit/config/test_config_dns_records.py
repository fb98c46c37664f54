"""The expected records of a domain, and the judgement of the found ones."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.rcode
import pytest

from postal_plexus.autoconfig.records import Record
from postal_plexus.cli.main import main
from postal_plexus.config.dns_records import State, judge
from stack_mistakes import TEMPLATE

SPF = Record("example.org", "TXT", ("v=spf1 include:amazonses.com ~all",))
MX = Record("example.org", "MX", ("10 inbound-smtp.us-east-1.amazonaws.com",))


@pytest.mark.parametrize(
    ("record", "found", "state"),
    [
        (MX, ["10 Inbound-SMTP.us-east-1.amazonaws.com."], State.OK),
        (MX, [], State.MISSING),
        (MX, ["10 inbound-smtp.us-east-1.amazonaws.com.", "20 mx.other.example."], State.WRONG),
        (MX, ["20 inbound-smtp.us-east-1.amazonaws.com."], State.WRONG),
        (SPF, ["v=spf1 include:amazonses.com ~all", "other=1", "v=verify 2"], State.OK),
        (SPF, ["other=1"], State.MISSING),
        (SPF, ["v=spf1 include:amazonses.com ~all", "v=spf1 -all"], State.WRONG),
        (SPF, ["v=spf1 mx -all"], State.WRONG),
        (Record("d", "TXT", ("a" * 255 + '""b',)), ["a" * 255 + "b"], State.OK),
        (Record("d", "TXT", (*SPF.values, "site=1")), [*SPF.values], State.WRONG),
        (Record("_imap._tcp.d", "SRV", ("0 0 0 .",)), ["0 0 0 ."], State.OK),
        (Record("mail.d", "A", ()), ["192.0.2.1"], State.OK),
        (Record("mail.d", "A", ()), [], State.MISSING),
        (Record("mail.d", "A", ("192.0.2.2",)), ["192.0.2.1"], State.WRONG),
        (Record("d", "NS", ("ns-1.example",)), ["NS-1.example."], State.OK),
        (Record("d", "NS", ("ns-1.example",)), ["ns.registrar.example."], State.WRONG),
    ],
)
def test_judgement(record: Record, found: list[str], state: State) -> None:
    """Case, final dots and other texts do not matter; a second policy of a kind does."""
    assert state is judge(record, found)


@pytest.fixture
def failing() -> Iterator[str]:
    """Start a resolver that answers every query with SERVFAIL."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def serve() -> None:
            while len(packet := server.recvfrom(4096)) and packet[0]:
                answer = dns.message.make_response(dns.message.from_wire(packet[0]))
                answer.set_rcode(dns.rcode.SERVFAIL)
                server.sendto(answer.to_wire(), packet[1])

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        # An empty packet ends it.
        server.sendto(b"", server.getsockname())
        thread.join()


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (["--resolver", "not an address"], 64, "9.9.9.9"),
        (["--outputs", "missing.json"], 66, "pulumi stack output --json"),
        (["--outputs", str(TEMPLATE)], 65, "pulumi stack output --json"),
        (["example.com"], 64, "example.org, example.net"),
    ],
)
def test_what_cannot_be_asked(
    args: list[str], code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each failure has its exit code, and the remedy."""
    assert code == main(["dns", "--stack-file", str(TEMPLATE), *args])
    assert told in capsys.readouterr().err


def test_a_resolver_that_fails_is_no_missing_record(
    failing: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The output says that nothing is known, not that records are missing."""
    stack_file = tmp_path / "Pulumi.main.yaml"
    stack_file.write_text(TEMPLATE.read_text())
    assert 68 == main(
        ["dns", "--stack-file", str(stack_file), "--resolver", failing, "example.org"]
    )
    out = capsys.readouterr().out
    assert "example.org: MX example.org: cannot be looked up (" in out
    assert "is missing" not in out
    assert "DKIM was not checked" in out
