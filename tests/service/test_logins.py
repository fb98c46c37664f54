# ruff: noqa: RUF001 (scripts of the world)
"""App passwords and their revocation, guessing on each protocol, and the list of last logins."""

from __future__ import annotations

import base64
import imaplib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest

from postal_plexus.cli.password import hashed
from postal_plexus.directory import Directory, Domain, Mailbox
from postal_plexus.directory.idn import kept_domain
from postal_plexus.directory.tables import dovecot_passwd
from service.auth_client import AuthClient
from service.container_engine import Container
from service.mail_host import ODD_ADDRESS, PASSWORD, STACK, MailHost
from service.managesieve import ManageSieve
from wire import await_true

pytestmark = pytest.mark.timeout(300)

ANN, BEN = "ann@example.org", "ben@example.org"
APP_PASSWORD = "abcd-efgh-jkmn-pqrs-tuvw"
APP_HASH = hashed(APP_PASSWORD)


@pytest.fixture(autouse=True)
def _nobody_has_guessed(host: MailHost) -> None:  # pyright: ignore[reportUnusedFunction]
    """Each test begins without notes of wrong passwords."""
    for notes in (host.root / "run/dovecot/guesses").iterdir():
        notes.unlink()


@pytest.fixture
def auth(host: MailHost) -> Iterator[AuthClient]:
    """Provide a client of auth.sock."""
    with AuthClient(host) as made:
        yield made


def by_imap(host: MailHost, password: str, user: str = ANN) -> str:
    """Return IMAP's answer to a login: "" or the refusal's text."""
    try:
        with host.imap(user, password):
            return ""
    except imaplib.IMAP4.error as refusal:
        return str(refusal)


def by_managesieve(host: MailHost, password: str, user: str = ANN) -> str:
    """Return ManageSieve's answer to a login."""
    try:
        ManageSieve(host.containers["dovecot"].port(4190), host.tls(), user, password).close()
    except AssertionError as refusal:
        return str(refusal)
    return ""


def by_submission(host: MailHost, password: str, user: str = ANN) -> str:
    """Return submission's answer to a login."""
    with host.submission() as smtp:
        # smtplib's own login has ASCII names only.
        secret = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
        code, text = smtp.docmd("AUTH", f"PLAIN {secret}")
        return "" if code == 235 else f"{code} {text.decode()}"


PROTOCOLS = (by_imap, by_managesieve, by_submission)


def on_every_protocol(host: MailHost, password: str, user: str = ANN) -> list[str]:
    """Return what IMAP, ManageSieve and submission answer, asked side by side."""
    with ThreadPoolExecutor(len(PROTOCOLS)) as side_by_side:
        return list(side_by_side.map(lambda login: login(host, password, user), PROTOCOLS))


def last_logins(host: MailHost, *arguments: str) -> list[list[str]]:
    """Return what the operator's command shows."""
    shown = host.containers["dovecot"].exec("logins", *arguments)
    return [line.split(" ") for line in shown.splitlines()]


def with_app_passwords(apps: Mapping[str, str]) -> dict[str, object]:
    """Return the stack, in which ann has app passwords."""
    ann, *others = STACK["mailboxes"]
    return STACK | {"mailboxes": [ann | {"app-passwords": dict(apps)}, *others]}


def test_an_app_password_opens_every_protocol_until_it_is_revoked(host: MailHost) -> None:
    """It works beside the main password, only for its user, until its line is removed from the stack file."""
    host.write_directory(with_app_passwords({"phone": APP_HASH, "laptop": hashed("another one")}))
    try:
        assert [""] * 3 == on_every_protocol(host, APP_PASSWORD)
        assert by_imap(host, PASSWORD) == ""
        with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
            host.imap(BEN, APP_PASSWORD)
        names = {(user, name) for user, name, *_ in last_logins(host, ANN)}
        assert {(ANN, "phone"), (ANN, "main")} == names
    finally:
        host.write_directory()
    refusals = on_every_protocol(host, APP_PASSWORD)
    assert "AUTHENTICATIONFAILED" in refusals[0]
    assert refusals[1].startswith("NO")
    assert refusals[2].startswith("535 5.7.8")


def test_all_clients_come_at_once_after_a_start(auth: AuthClient) -> None:
    """Fifty simultaneous logins all succeed; none is deferred."""
    assert ["ok"] * 50 == auth.ask("192.0.2.40", *[(ANN, PASSWORD), (BEN, PASSWORD)] * 25)


def test_last_logins_say_when_from_where_and_with_what(host: MailHost, auth: AuthClient) -> None:
    """The newest of each password; with -a each protocol and address."""
    before = datetime.now(UTC).replace(microsecond=0)
    assert auth.ask("192.0.2.1", (BEN, PASSWORD)) == ["ok"]
    assert auth.ask("192.0.2.2", (BEN, PASSWORD)) == ["ok"]
    with host.imap(BEN):
        pass
    ((user, name, at, *_),) = last_logins(host, BEN)
    assert (BEN, "main") == (user, name)
    assert before <= datetime.fromisoformat(at) <= datetime.now(UTC)
    everything = {(protocol, address) for *_, protocol, address in last_logins(host, "-a", BEN)}
    assert {("smtp", "192.0.2.1"), ("smtp", "192.0.2.2")} < everything
    assert "imap" in {protocol for protocol, _ in everything}


def test_an_address_that_guesses_is_blocked_on_every_protocol(
    host: MailHost, auth: AuthClient
) -> None:
    """Guesses count together; then even the right password has to wait; others are not concerned."""
    first = [(ANN, f"guess {number}") for number in range(7)]
    assert auth.ask(host.network.gateway, *first) == ["wrong"] * 7
    with ThreadPoolExecutor(3) as side_by_side:
        guesses = [side_by_side.submit(login, host, login.__name__) for login in PROTOCOLS]
    imap, managesieve, submission = [guess.result() for guess in guesses]
    assert "[AUTHENTICATIONFAILED]" in imap
    assert managesieve.startswith("NO")
    assert submission.startswith("535 5.7.8")

    imap, managesieve, submission = on_every_protocol(host, PASSWORD)
    assert "[UNAVAILABLE]" in imap
    assert managesieve.startswith("NO")
    # Postfix does not tell the two apart.
    assert submission.startswith("535 5.7.8")
    assert auth.ask("192.0.2.10", (ANN, PASSWORD), (BEN, PASSWORD)) == ["ok", "ok"]
    assert logged(host.containers["dovecot"], "blocked: ", "has guessed 10 passwords within 900 s")

    age_notes(host, minutes=16)
    assert [""] * 3 == on_every_protocol(host, PASSWORD)


def test_a_user_who_is_guessed_at_is_let_in_from_known_addresses(
    host: MailHost, auth: AuthClient
) -> None:
    """Guesses from many addresses block this user from unknown addresses only."""
    assert auth.ask("192.0.2.20", (ANN, PASSWORD)) == ["ok"]
    guesses = [(f"198.51.100.{n % 4}", ANN, f"guess {n}") for n in range(20)]
    assert auth.ask_from(*guesses) == ["wrong"] * 20
    assert auth.ask("192.0.2.21", (ANN, PASSWORD), (BEN, PASSWORD)) == ["later", "ok"]
    assert auth.ask("192.0.2.20", (ANN, PASSWORD), (ANN, "guess")) == ["ok", "wrong"]
    assert logged(host.containers["dovecot"], f"blocked: 20 passwords of {ANN} were guessed")
    age_notes(host, minutes=16)
    assert auth.ask("192.0.2.21", (ANN, PASSWORD)) == ["ok"]


def test_a_user_who_is_guessed_at_is_blocked_on_every_protocol(
    host: MailHost, auth: AuthClient
) -> None:
    """Guesses from several addresses; then no protocol lets another unknown address in."""
    guesses = [(f"198.51.100.{n % 4}", ODD_ADDRESS, f"guess {n}") for n in range(20)]
    assert auth.ask_from(*guesses) == ["wrong"] * 20
    imap, managesieve, submission = on_every_protocol(host, PASSWORD, ODD_ADDRESS)
    assert "[UNAVAILABLE]" in imap
    assert managesieve.startswith("NO")
    assert submission.startswith("535 5.7.8")
    assert by_imap(host, PASSWORD) == ""
    age_notes(host, minutes=16)
    assert [""] * 3 == on_every_protocol(host, PASSWORD, ODD_ADDRESS)


def test_a_forgotten_device_blocks_nobody(auth: AuthClient) -> None:
    """The same wrong password counts once, however often it comes; on many users it counts for each."""
    assert auth.ask("192.0.2.30", *[(ANN, "last year's")] * 15) == ["wrong"] * 15
    assert auth.ask("192.0.2.30", (ANN, PASSWORD)) == ["ok"]
    sprayed = [(f"user{number}@example.org", "password1234") for number in range(10)]
    assert auth.ask("192.0.2.31", *sprayed) == ["wrong"] * 10
    assert auth.ask("192.0.2.31", (ANN, PASSWORD)) == ["later"]


def test_passwords_that_begin_alike_are_guesses_each(host: MailHost, auth: AuthClient) -> None:
    """Forty passwords that share 16 bits of SHA-256 count as forty; the records do not reveal them."""
    alike: list[str] = []
    number = 0
    while len(alike) < 10:
        number += 1
        if sha256(f"guess {number}".encode()).hexdigest().startswith("5eed"):
            alike.append(f"guess {number}")
    assert auth.ask("192.0.2.50", *[(ANN, each) for each in alike]) == ["wrong"] * 10
    assert auth.ask("192.0.2.50", (ANN, PASSWORD)) == ["later"]
    assert auth.ask("192.0.2.51", (ANN, PASSWORD)) == ["ok"]

    notes = (host.root / "run/dovecot/guesses/address-192.0.2.50").read_text()
    assert all(sha256(each.encode()).hexdigest()[:8] not in notes for each in alike)
    key = host.root / "run/dovecot/guesses.key"
    assert (5000, 0o600) == (key.stat().st_uid, key.stat().st_mode & 0o777)
    first = key.read_text()
    assert len(bytes.fromhex(first)) == 32
    host.start("dovecot")
    assert first == key.read_text()


def test_an_ipv6_network_guesses_as_one(auth: AuthClient) -> None:
    """All addresses of a /64 count as one; another network is not affected."""
    guesses = [(f"2001:db8:0:1:{number:x}::1", ANN, f"guess {number}") for number in range(10)]
    assert auth.ask_from(*guesses) == ["wrong"] * 10
    assert auth.ask("2001:db8:0:1::ffff", (ANN, PASSWORD)) == ["later"]
    assert auth.ask("2001:db8:0:2::1", (ANN, PASSWORD)) == ["ok"]


def test_the_right_password_after_wrong_ones_opens_at_once(host: MailHost) -> None:
    """No wait grows beyond what Postfix allows Dovecot: 235, and 535 for another wrong one."""
    for number in range(4):
        assert "[AUTHENTICATIONFAILED]" in by_imap(host, f"guess {number}")
    assert [""] * 3 == on_every_protocol(host, PASSWORD)
    assert by_submission(host, "another guess").startswith("535 5.7.8")
    assert by_submission(host, PASSWORD) == ""


@pytest.mark.usefixtures("idn")
@pytest.mark.parametrize(
    "typed",
    [
        "eva@straße.example",
        "Eva@STRAẞE.Example",
        "eva@stra\u00dfe．example",
        "eva@xn--strae-oqa.example",
        "Ole@BÜCHER.example",
        "ole@bu\u0308cher.example",
        "ole@BU\u0308CHER。example",
        "mo@نامه\u200cای.example",
    ],
)
def test_an_address_is_typed_as_people_read_it(host: MailHost, typed: str) -> None:
    """Any case, normalization and width; the session is that of the name that is kept."""
    assert [""] * 3 == on_every_protocol(host, PASSWORD, typed)
    with host.imap(typed) as client:
        client.select()
    local_part, _, domain = typed.lower().rpartition("@")
    kept = f"{local_part}@{kept_domain(domain)}"
    assert last_logins(host, kept)[0][0] == kept


@pytest.mark.usefixtures("idn")
@pytest.mark.parametrize(
    "typed",
    [
        "eva@strasse.example",  # another domain
        "mo@نامهای.example",  # without the joiner
        "ev\u00e4@straße.example",
        "eva@straße.example:{PLAIN}x",
        "../eva@straße.example",
        "eva@straße.example\n",
        "eva\t@straße.example",
        "@straße.example",
        "straße.example",
        "e" * 400 + "@straße.example",
    ],
)
def test_what_only_looks_like_it_opens_nothing(host: MailHost, typed: str) -> None:
    """Similar domains and local parts, and texts with a meaning in a table, log in nobody."""
    assert "" not in [by_imap(host, PASSWORD, typed), by_submission(host, PASSWORD, typed)]


@pytest.fixture(scope="module")
def idn(host: MailHost) -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    """Add mailboxes in domains of several scripts."""
    addresses = ("eva@straße.example", "ole@bücher.example", "mo@نامه\u200cای.example")
    ann, *_ = STACK["mailboxes"]
    more = [{**ann, "address": address} for address in addresses]
    domains = [address.partition("@")[2] for address in addresses]
    host.write_directory(
        STACK
        | {
            "domains": [*STACK["domains"], *domains],
            "mailboxes": [*STACK["mailboxes"], *more],
        }
    )
    yield
    host.write_directory()


def logged(container: Container, *parts: str) -> bool:
    """Return whether a line of the log holds all the parts, once it is there."""
    return await_true(
        f"a log line with {parts}",
        lambda: any(all(part in line for part in parts) for line in container.logs().splitlines()),
    )


def age_notes(host: MailHost, *, minutes: int) -> None:
    """Let the time that the notes of wrong passwords tell be longer ago."""
    seconds = int(timedelta(minutes=minutes).total_seconds())
    for notes in (host.root / "run/dovecot/guesses").iterdir():
        aged = [line.split(" ") for line in notes.read_text().splitlines()]
        notes.write_text("".join(f"{int(at) - seconds} {check}\n" for at, check in aged))


@pytest.mark.parametrize("order", ["sorted", "as an earlier version wrote it"])
def test_each_user_of_a_long_table_is_found(host: MailHost, auth: AuthClient, order: str) -> None:
    """Whatever names are beside his: the beginning of another, shorter, longer, with odd characters."""
    names = [
        f"{a}{b}"
        for a in ("a", "a-", "a.", "aa", "b", "user", "~")
        for b in ("a", "b", "z.0", "10")
    ]
    domains = ("example.org", "example.org.uk", "example-a.org", "e.org", "xn--strae-oqa.example")
    users = [f"{name}@{domain}" for name in names for domain in domains]
    made = Directory(
        tuple(map(Domain, domains)), tuple(Mailbox(user, f"{{PLAIN}}{user}") for user in users)
    )
    lines = dovecot_passwd(made).splitlines(keepends=True)
    text = "".join(lines if order == "sorted" else lines[1::2] + lines[::2])
    host.write_table("dovecot-passwd", text)
    try:
        attempts = [(f"192.0.2.{n % 250}", user, user) for n, user in enumerate(users)]
        assert ["ok"] * len(users) == auth.ask_from(*attempts)
    finally:
        host.write_directory()
