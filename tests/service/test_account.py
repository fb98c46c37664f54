"""Users' own settings: passwords, second factor, out-of-office replies; the operator can reset them."""

from __future__ import annotations

import imaplib
import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from postal_plexus.account import totp
from postal_plexus.cli.password import hashed
from service.account_page import BROWSER, Page
from service.auth_client import AuthClient
from service.container_engine import Network
from service.mail_host import PASSWORD, STACK, MailHost, prepared
from service.managesieve import ManageSieve
from service.ses_endpoint import SesEndpoint
from service.ways_out import AUTHENTIC, deliver, headers, relayed
from wire import await_true

pytestmark = pytest.mark.timeout(300)

ANN, BEN = "ann@example.org", "ben@example.org"
NEW = "a quite new passphrase"


@pytest.fixture(scope="module")
def idle_host(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailHost]:
    """Start a host whose Dovecot has the page's socket; the test acts as the page."""
    root = tmp_path_factory.mktemp("host")
    with prepared(network, root, "dovecot", "postfix", has_web=True) as made:
        yield made


@pytest.fixture(autouse=True)
def _as_new(host: MailHost) -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    """Reset passwords to the stack file's, and forget wrong guesses, before each test."""
    yield
    host.write_directory()
    for path in (host.root / "mail/example.org").glob("user-*"):
        shutil.rmtree(path)
    for path in (host.root / "mail/example.org").glob("*/.passwords*"):
        path.unlink()
    for folder in ("guesses", "codes"):
        for path in (host.root / "run/dovecot" / folder).glob("[!.]*"):
            path.unlink()


@pytest.fixture
def auth(host: MailHost) -> Iterator[AuthClient]:
    """Authenticate as Postfix does on auth.sock, without a mail client."""
    with AuthClient(host) as made:
        yield made


def own_file(host: MailHost, name: str = "ann") -> Path:
    return host.root / "mail/example.org" / name / ".passwords"


def test_the_old_password_works_before_and_the_new_one_after(
    host: MailHost, auth: AuthClient
) -> None:
    """On IMAP and submission; old sessions end, and the user is notified by mail."""
    page, other = Page(host, ANN), Page(host, ANN)
    assert (True, True) == (page.login()["ok"], other.login()["ok"])
    open_before = host.imap(ANN)
    assert page.ask("change-password", new=NEW) == {"ok": True}

    assert auth.ask(BROWSER, (ANN, PASSWORD), (ANN, NEW), (BEN, PASSWORD)) == ["wrong", "ok", "ok"]
    with pytest.raises((imaplib.IMAP4.abort, OSError)):
        await_true("the old connection's end", lambda: open_before.noop()[0] == "BYE")
    assert other.ask("view")["problem"] == "session"
    assert page.view()["own"]
    with host.imap(ANN, NEW) as client:
        client.select()
        assert client.search(None, "SUBJECT", '"account was changed"')[1] != [b""]
    file = own_file(host)
    assert (5000, 0o600) == (file.stat().st_uid, file.stat().st_mode & 0o777)
    # Again, with the same new one, and with the old one as proof.
    assert page.ask("change-password", password=NEW, new=NEW)["problem"] == "refused"
    assert page.ask("change-password", password=NEW, new="password1234")["problem"] == "refused"


def test_the_operator_has_the_last_word(host: MailHost, auth: AuthClient) -> None:
    """A new hash in the stack file voids the user's settings; a removed user cannot log in."""
    page = Page(host, ANN)
    page.login()
    app = page.ask("make-app", name="phone")["password"]
    page.ask("change-password", new=NEW)
    page.ask("only-apps", password=NEW, on="yes")
    ann, *others = STACK["mailboxes"]
    reset = "the operator's choice"
    host.write_directory(STACK | {"mailboxes": [ann | {"password-hash": hashed(reset)}, *others]})
    attempts = [(ANN, NEW), (ANN, app), (ANN, PASSWORD), (ANN, reset)]
    assert auth.ask(BROWSER, *attempts) == ["wrong", "wrong", "wrong", "ok"]
    assert page.ask("view")["problem"] == "session"

    host.write_directory()
    assert auth.ask(BROWSER, (ANN, app)) == ["ok"]
    others = [{"address": BEN, "password-hash": ann["password-hash"]}]
    host.write_directory({"domains": ["example.org"], "mailboxes": others})
    assert auth.ask(BROWSER, (ANN, app), (ANN, NEW)) == ["wrong", "wrong"]


def test_an_app_password_opens_mail_until_it_is_revoked(host: MailHost, auth: AuthClient) -> None:
    """It opens IMAP and submission, but not the page; its last use is shown."""
    page = Page(host, ANN)
    page.login()
    made = page.ask("make-app", name="Phone")
    assert made["name"] == "phone"
    assert page.ask("make-app", name="phone")["problem"] == "refused"
    assert Page(host, ANN, made["password"]).login()["problem"] == "password"
    with host.submission() as smtp:
        smtp.login(ANN, made["password"])
    client = host.imap(ANN, made["password"])
    view = page.view()
    assert [each["name"] for each in view["apps"]] == ["phone"]
    assert {"smtp", "imap"} == {
        protocol for _, name, protocol, _ in view["logins"] if name == "phone"
    }
    await_true("the session", lambda: [s["address"] for s in page.view()["sessions"]] == [ANN])

    assert page.ask("revoke-app", name="phone")["ok"]
    with pytest.raises((imaplib.IMAP4.abort, OSError)):
        await_true("the connection's end", lambda: client.noop()[0] == "BYE")
    assert auth.ask(BROWSER, (ANN, made["password"]), (ANN, PASSWORD)) == ["wrong", "ok"]


def test_app_passwords_only(host: MailHost, auth: AuthClient) -> None:
    """The main password then opens only the page, not the mail."""
    page = Page(host, ANN)
    page.login()
    app = page.ask("make-app", name="laptop")["password"]
    assert page.ask("only-apps", on="yes")["ok"]
    assert auth.ask(BROWSER, (ANN, PASSWORD), (ANN, app)) == ["wrong", "ok"]
    assert page.login()["ok"]
    assert page.ask("only-apps", on="no")["ok"]
    assert auth.ask(BROWSER, (ANN, PASSWORD)) == ["ok"]


def test_with_a_second_factor_a_password_is_not_enough(host: MailHost) -> None:
    """Codes and recovery codes are valid once, wrong ones are limited, changes need one too."""
    page = Page(host, ANN)
    page.login()
    secret, recovery = page.begin_factor(time.time())
    assert page.login()["problem"] == "code"
    # The code that began it is used up; the next step's is valid already.
    ahead = totp.code_at(secret, int(time.time()) // 30 + 1)
    assert page.login(code=ahead)["ok"]
    assert page.ask("make-app", name="phone")["problem"] == "code"
    assert page.ask("make-app", name="phone", code=ahead)["problem"] == "password"
    assert page.ask("make-app", name="phone", code=recovery[0])["ok"]
    assert page.view()["recovery"] == len(recovery) - 1
    for _ in range(9):
        assert page.ask("end-factor", code="000000")["problem"] == "password"
    assert page.ask("end-factor", code="000000")["problem"] == "later"
    assert page.ask("end-factor", code=recovery[0])["problem"] == "later"
    assert page.ask("end-factor", code=recovery[1])["ok"]
    assert page.login()["ok"]


def test_guessing_at_the_page_is_guessing(host: MailHost, auth: AuthClient) -> None:
    """Wrong passwords on the page count with those of mail protocols, for the browser's network."""
    assert auth.ask(BROWSER, *[(ANN, f"guess {number}") for number in range(9)]) == ["wrong"] * 9
    assert Page(host, ANN, "guess 10").login(remote=f"::ffff:{BROWSER}")["problem"] == "password"
    assert Page(host, ANN).login()["problem"] == "later"
    assert auth.ask(BROWSER, (ANN, PASSWORD)) == ["later"]
    assert Page(host, ANN).login(remote="192.0.2.98")["ok"]


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\n",
        b"{}\n",
        b"[" * 30000 + b"\n",
        b'{"verb": "view", "token": "../../etc/passwd", "remote": "192.0.2.1"}\n',
        b'{"verb": "login", "address": "../ann@example.org", "password": "x", "remote": "192.0.2.1\\tnologin"}\n',
        b'{"verb": "login", "address": "ann@example.org", "password": "\\ud800", "remote": "192.0.2.1"}\n',
        b'{"verb": "login", "address": "ann@example.org\\u0000", "password": "x", "remote": "fe80::1%a\\tb"}\n',
        b'{"verb": "answer", "remote": "192.0.2.1"}\n',
        b'{"verb": "view", "token": 1' + b"0" * 5000 + b', "remote": "192.0.2.1"}\n',
    ],
    ids=range(10),
)
def test_no_request_breaks_the_keeper(host: MailHost, octets: bytes) -> None:
    """Every invalid request gets exactly one answer, a refusal."""
    answer = Page(host, ANN).send(octets)
    assert b'"ok": false' in answer
    assert answer.endswith(b"\n")


def test_a_broken_file_shuts_out_its_user_only(host: MailHost, auth: AuthClient) -> None:
    """With a truncated, hostile, foreign or linked file, no password of its user works."""
    page = Page(host, ANN)
    page.login()
    page.ask("change-password", new=NEW)
    good = own_file(host).read_bytes()
    texts = [
        *(
            b"",
            good[:-5],
            good[1:],
            good + b"\n",
            b"\0" * len(good),
            good * 100,
            good.replace(b"\n", b"\r\n"),
        ),
        *(
            good.replace(b"\nend\n", line)
            for line in (b"\napp ../x 1 {P}x\nend\n", b"\nmain x\nend\n", b"\n")
        ),
        good.replace(b"mailbox ann@", b"mailbox ben@"),
    ]
    ann, *others = STACK["mailboxes"]
    users = [f"user-{number}@example.org" for number in range(len(texts) + 3)]
    mailboxes = [{**ann, "address": address} for address in users]
    host.write_directory(STACK | {"mailboxes": [ann, *others, *mailboxes]})
    homes = [host.root / "mail/example.org" / user.partition("@")[0] for user in users]
    for user, home in zip(users, homes, strict=True):
        home.mkdir()
        os.chown(home, 5000, 5000)
        own = good.replace(ANN.encode(), user.encode())
        if texts:
            (home / ".passwords").write_bytes(texts.pop().replace(ANN.encode(), user.encode()))
        elif not (homes[0] / "linked").exists():
            (homes[0] / "linked").write_bytes(good)
            (home / ".passwords").symlink_to("../user-0/linked")
        elif not (homes[0] / "seen").exists():
            (homes[0] / "seen").touch()
            (home / ".passwords").mkdir()
        else:
            (home / ".passwords").write_bytes(own)
    # Each from an address of its own.
    attempts = [(f"198.51.100.{at}", user, NEW) for at, user in enumerate(users)]
    old = [(f"198.51.101.{at}", user, PASSWORD) for at, user in enumerate(users)]
    assert ["later"] * (len(users) - 1) + ["ok"] == auth.ask_from(*attempts)
    assert ["later"] * (len(users) - 1) + ["wrong"] == auth.ask_from(*old)
    assert ["ok", "ok"] == auth.ask(BROWSER, (ANN, NEW), (BEN, PASSWORD))
    assert Page(host, users[0]).login()["problem"] == "later"
    logs = host.containers["dovecot"].logs()
    assert "user-0/.passwords is not what the account page writes" in logs


def test_two_changes_at_once_are_both_kept(host: MailHost) -> None:
    """Each change includes the other one. On a busy machine one may be told to try later."""
    page = Page(host, BEN)
    page.login()
    names = [f"device-{number}" for number in range(6)]

    def make(name: str) -> bool:
        answer = page.ask("make-app", name=name)
        assert answer["ok"] or answer["problem"] == "later", answer
        return answer["ok"]

    with ThreadPoolExecutor(6) as at_once:
        made = at_once.map(lambda name: await_true(name, lambda: make(name)), names)
        assert [True] * 6 == list(made)
    assert names == sorted(each["name"] for each in page.view()["apps"])


def test_an_answer_while_away_leaves_the_filters_alone(host: MailHost, ses: SesEndpoint) -> None:
    """The reply is sent on its days, and the user's own script still files the mail."""
    script = (
        'require ["fileinto", "mailbox", "vacation"]; vacation "My own."; fileinto :create "Filed";'
    )
    sieve = ManageSieve(host.containers["dovecot"].port(4190), host.tls(), BEN, PASSWORD)
    sieve.activate("mine", script)
    sieve.close()
    page = Page(host, BEN)
    page.login()
    wanted = {
        "on": "yes",
        "subject": 'Away "now"',
        "text": "I am\n.\naway \\ é",
        "first": "2020-01-01",
    }
    letter = f"{AUTHENTIC}From: A <a@world.example>\r\nTo: {BEN}\r\nSubject: hello\r\n\r\nHi\r\n"
    try:
        assert page.ask("vacation", **wanted, last="2020-01-02")["ok"]
        deliver(host, letter, sender="early@world.example")
        assert b"My own." in relayed(ses, "Auto: hello").content
        assert page.ask("vacation", **wanted, last="2999-01-01")["ok"]
        assert page.view()["vacation"]["text"] == wanted["text"]
        deliver(host, letter, sender="late@world.example")
        got = relayed(ses, 'Away "now"')
        assert got.recipients == ("late@world.example",)
        assert b"\r\naway \\" in got.content
        assert headers(host, BEN, "hello", folder="Filed")
        assert len(ses.relayed) == 2
    finally:
        page.ask("vacation", on="no")
    assert page.view()["vacation"] is None
