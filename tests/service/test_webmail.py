"""Webmail with the real Dovecot and Postfix, and in a real Chromium: use, and attacks."""

from __future__ import annotations

import contextlib
import imaplib
import os
import socket
import ssl
import time
from collections.abc import Iterator
from email.message import EmailMessage

import pytest
from playwright.sync_api import Browser, Error, Page, expect

from service.certificates import Authority
from service.container_engine import Network
from service.hostile_mails import hostile, in_parts
from service.mail_host import HOSTNAME, PASSWORD, MailHost, prepared
from service.ses_endpoint import SesEndpoint
from service.web_client import WebClient
from system.browsing import TELEPHONE, Window, chromium, tracker
from wire import await_true

pytestmark = pytest.mark.timeout(300)

ANN, BEN = "ann@example.org", "ben@example.org"
SITE = {"PLEXUS_WEB_NAMES": HOSTNAME, "PLEXUS_WEB_PARTS": "webmail"}


@pytest.fixture(scope="module")
def idle_host(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailHost]:
    """A host whose Dovecot and Postfix have the web container beside them."""
    root = tmp_path_factory.mktemp("host")
    with prepared(network, root, "dovecot", "postfix", "web", has_web=True) as made:
        yield made


@pytest.fixture(scope="module")
def web(host: MailHost) -> MailHost:
    """The host with webmail in front."""
    host.start("web", SITE)
    return host


@pytest.fixture(autouse=True)
def _nobody_has_guessed(host: MailHost) -> None:  # pyright: ignore[reportUnusedFunction]
    """Each test begins without notes of wrong passwords."""
    for notes in (host.root / "run/dovecot/guesses").iterdir():
        notes.unlink()


@pytest.fixture
def visitor(web: MailHost) -> WebClient:
    """Somebody who has not logged in."""
    return WebClient(web.containers["web"].port(443), web.tls())


@pytest.fixture(scope="module")
def browser(web: MailHost) -> Iterator[Browser]:
    """A Chromium in the container's own network, where nothing comes and goes."""
    with chromium(*web.containers["web"].in_its_network) as running:
        yield running


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Ann's window, logged in. Its authority is unknown to the browser: TLS is another test's matter."""
    context = browser.new_context(ignore_https_errors=True, reduced_motion="reduce")
    opened = context.new_page()
    opened.goto("https://localhost/")
    opened.fill("#rcmloginuser", ANN)
    opened.fill("#rcmloginpwd", PASSWORD)
    opened.click("#rcmloginsubmit")
    expect(opened.locator("#messagelist")).to_be_attached()
    yield opened
    context.close()


def ready(page: Page) -> None:
    """Wait until Roundcube has loaded: before, it ignores buttons, and sets what fields hold."""
    page.wait_for_function("document.readyState == 'complete' && !rcmail.busy")


def delivered(web: MailHost, message: EmailMessage) -> None:
    """Hand a mail for Ann to Dovecot."""
    with web.lmtp() as lmtp:
        lmtp.send_message(message)


def subjects(web: MailHost, folder: str) -> str:
    """The subjects of Ann's messages in a folder, as another client sees them."""
    client = web.imap(ANN)
    client.select(folder, readonly=True)
    found = client.uid("FETCH", "1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
    client.logout()
    return str(found)


def test_a_hostile_mail_is_read_answered_and_archived(
    web: MailHost, page: Page, ses: SesEndpoint
) -> None:
    """Nothing of it runs or is loaded, until its reader requests the images; then only those are loaded.

    Opened again, it asks again before it loads them.
    """
    with tracker(web.network.gateway) as told:
        delivered(web, hostile(f"https://{web.network.gateway}:{told.port}", ANN))
        page.reload()
        page.locator("#messagelist td.subject", has_text="Plan").click()
        body = page.frame_locator("#messagecontframe").locator("#messagebody")
        expect(body).to_contain_text("The plan")
        body.get_by_text("a link").click()
        body.get_by_text("a drawn link").click()
        expect(body.locator("script, iframe, form, style, link, audio")).to_have_count(0)
        assert [] == told.requests
        assert "ran" not in page.title()
        page.frame_locator("#messagecontframe").locator("#remote-objects-message a").first.click()
        # What shows that the tracker would have been asked.
        await_true("the images to be asked for", lambda: told.requests)
        assert "ran" not in page.title()

    ready(page)
    page.locator("a.reply:visible:not(.all, .disabled)").first.click()
    page.wait_for_url(lambda url: "compose" in url)
    ready(page)
    page.fill("#composebody", "No, thank you.")
    page.locator("a.send:visible, button.send:visible").first.click()
    sent = await_true("the answer to leave", lambda: ses.relayed)[0]
    assert (ANN, ("mallory@elsewhere.example",)) == (sent.sender, sent.recipients)
    assert b"In-Reply-To: <hostile@elsewhere.example>" in sent.content
    assert b"No, thank you." in sent.content
    await_true("a copy of it in Sent", lambda: "Re: Plan" in subjects(web, "Sent"))

    # Roundcube returns to the list by itself, a moment after its answer.
    page.wait_for_url(lambda url: "compose" not in url)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.locator("#messagelist td.subject", has_text="Plan").click()
    frame = page.frame_locator("#messagecontframe")
    expect(frame.locator("#messagebody")).to_contain_text("The plan")
    expect(frame.locator("#remote-objects-message a").first).to_be_visible()
    assert [] == [url for url in asked if not url.startswith("https://localhost/")]
    ready(page)
    page.locator("a.archive:visible").first.click()
    await_true("it to be in the archive", lambda: "Plan" in subjects(web, "Archive"))
    assert "Plan" not in subjects(web, "INBOX")

    # Postfix and ManageSieve see no browser: none of their addresses counts as a place of a login.
    logins = (web.root / "mail/last-logins" / ANN).read_text()
    assert "127.0.0.1" not in logins


def test_nothing_of_a_mail_in_parts_runs(web: MailHost, page: Page) -> None:
    """Neither in its text, nor in names and types of attachments, nor in what is opened of it."""
    delivered(web, in_parts(ANN))
    page.reload()
    page.locator("#messagelist td.subject", has_text="In parts").click()
    frame = page.frame_locator("#messagecontframe")
    expect(frame.locator("#messagebody")).to_contain_text("The parts.")
    expect(frame.locator("#attachment-list")).to_contain_text("drawing.svg")
    expect(
        frame.locator("#messagebody script, #messagebody img[onerror], svg[onload]")
    ).to_have_count(0)
    assert "ran" not in page.title()
    paths = [
        str(each.get_attribute("href"))
        for each in frame.locator("#attachment-list a[href*='_part=']").all()
    ]
    assert len(paths) >= 4
    for path in paths:
        for more in ("&_embed=1", "&_mimewarning=1&_embed=1"):
            address = f"https://localhost/{path.lstrip('./')}{more}".replace("&_download=1", "")
            # What is saved, not shown, ends the navigation.
            with contextlib.suppress(Error):
                page.goto(address)
            assert "ran" not in page.title(), path


def test_webmail_itself_loads_nothing(visitor: WebClient) -> None:
    """No style sheet of a message is fetched by the server, from wherever a user asks for it."""
    assert 302 == visitor.log_in(ANN, PASSWORD).status
    for path in (
        "/?_task=utils&_action=modcss&_u=tmp-1.css",
        "/?_action=x&_task=utils&_action=modcss",
    ):
        assert (404, "") == ((answer := visitor.ask(path)).status, answer.text)


def test_a_mail_is_archived_and_a_filter_files_the_next(web: MailHost, page: Page) -> None:
    """A button archives the message; a filter made in a form is applied by Dovecot."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "shop@elsewhere.example", ANN, "offer 6"
    message.set_content("An offer.")
    delivered(web, message)
    page.reload()
    page.locator("#messagelist td.subject", has_text="offer 6").click()
    body = page.frame_locator("#messagecontframe").locator("#messagebody")
    expect(body).to_contain_text("An offer.")
    ready(page)
    page.locator("a.archive:visible").first.click()
    await_true("it to be in the archive", lambda: "offer 6" in subjects(web, "Archive"))
    page.goto("https://localhost/?_task=settings&_action=plugin.managesieve")
    page.locator("a.create:visible").first.click()
    form = page.frame_locator("iframe[name=filter-box]")
    form.locator("#_name").fill("Bills")
    form.locator("input[name='_rule_target[0][]']:visible").fill("invoice")
    form.locator("select[name='_action_mailbox[0]']").select_option("Archive")
    form.locator("button.submit:visible").click()
    expect(page.locator("#filterslist")).to_contain_text("Bills")
    message.replace_header("Subject", "invoice 7")
    delivered(web, message)
    assert "invoice 7" in subjects(web, "Archive")


# What axe finds in Roundcube's skin, and docs/webmail.md lists. Another rule is a change for the worse.
BARRIERS = {
    *("aria-allowed-attr", "aria-allowed-role", "aria-command-name", "aria-prohibited-attr"),
    *(
        "aria-required-children",
        "aria-required-parent",
        "color-contrast",
        "label",
        "label-title-only",
    ),
    *("landmark-contentinfo-is-top-level", "landmark-one-main", "link-name", "list"),
    *("page-has-heading-one", "region", "tabindex", "target-size"),
}


def test_a_telephone_shows_it_whole_and_may_enlarge_it(web: MailHost, page: Page) -> None:
    """No page is wider than the window; axe finds only what the documentation says of the skin."""
    delivered(web, hostile("https://elsewhere.example", ANN))
    width, height = TELEPHONE
    page.set_viewport_size({"width": width, "height": height})
    seen, found = Window(page), set[str]()

    def look() -> None:
        ready(page)
        assert seen.is_as_wide_as_the_window(), page.url
        found.update(each.partition(":")[0] for each in seen.barriers())

    page.goto("https://localhost/?_task=mail&_mbox=INBOX")
    look()
    page.locator("#messagelist td.subject", has_text="Plan").first.click()
    body = page.frame_locator("#messagecontframe").locator("#messagebody")
    expect(body).to_contain_text("The plan")
    look()
    for where in ("mail&_action=compose", "settings&_action=plugin.managesieve-vacation"):
        page.goto(f"https://localhost/?_task={where}")
        look()
    assert set() == found - BARRIERS


def test_guesses_in_the_browser_count_for_its_address(web: MailHost, visitor: WebClient) -> None:
    """The tenth wrong password of an address ends its logins, by browser and by IMAP, right ones too."""
    notes = web.root / f"run/dovecot/guesses/address-{web.network.gateway}"
    notes.write_text("".join(f"{int(time.time())} {number:032x}\n" for number in range(9)))
    os.chown(notes, 5000, 5000)
    assert 401 == visitor.log_in(BEN, "a guess").status
    blocked = f"blocked: {web.network.gateway} has guessed 10 passwords"
    assert blocked in web.containers["dovecot"].logs()
    assert 401 == visitor.log_in(BEN, PASSWORD).status
    with pytest.raises(imaplib.IMAP4.error, match="UNAVAILABLE"):
        web.imap(BEN)


REFUSED = (
    *("/index.php", "/index.php/x", "/x.php", "/installer/", "/config/config.inc.php"),
    *("/.htaccess", "/temp/", "/logs/", "/SQL/sqlite.initial.sql", "/bin/updatedb.sh"),
    *("/settings/webmail.db", "/program/lib/Roundcube/bootstrap.php", "/skins/elastic/"),
    *("/../../../../etc/passwd", "//etc/passwd", "/%2e%2e/%2e%2e/etc/passwd"),
    *("/skins/elastic/../../config/config.inc.php", "/program/js/..%2flib/Roundcube/rcube.php"),
    *("/plugins/managesieve/managesieve.php", "/plugins/postal_plexus/postal_plexus.php"),
    *("/program/resources/%00.png", "/fpm-status", "/account/", "/.well-known/caldav"),
)


def test_strangers_reach_the_login_page_and_nothing_else_of_php(visitor: WebClient) -> None:
    """They reach the skin's files and the login form; other tasks redirect there, other hosts and paths fail."""
    for path in REFUSED:
        assert visitor.ask(path).status in {400, 404}, path
    for task in (
        "mail",
        "settings&_action=plugin.managesieve",
        "utils&_action=error",
        "addressbook",
    ):
        answer = visitor.ask(f"/?_task={task}")
        assert (302, "/") == (answer.status, answer.headers["location"][-1]), task
    assert 200 == visitor.ask("/skins/elastic/styles/styles.min.css").status
    assert 421 == visitor.ask("/", headers={"Host": "evil.example"}).status
    for method in ("PUT", "DELETE", "TRACE", "OPTIONS", "PROPFIND"):
        assert 405 == visitor.ask("/", method=method).status, method
    assert 413 == visitor.ask("/skins/elastic/x.css", method="POST", body=bytes(2000)).status
    too_much = {"Content-Length": str(27 * 1024 * 1024)}
    assert 413 == visitor.ask("/?_task=login", method="POST", body=b"x", headers=too_much).status


def test_what_the_browser_is_told(visitor: WebClient) -> None:
    """The page may load nothing from elsewhere, sit in no frame, and its cookies stay at home."""
    answer = visitor.ask("/")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'")
    assert "img-src 'self' data: blob:; " in policy
    assert "form-action 'self'" in policy
    assert "frame-ancestors 'self'" in policy
    # Which images may be strangers' is said by the address of the one mail, and by nothing else.
    assert "https:" in visitor.ask("/?_task=login&_safe=1").headers["content-security-policy"]
    assert "max-age=31536000" == answer.headers["strict-transport-security"]
    assert ("nosniff", "SAMEORIGIN") == (
        answer.headers["x-content-type-options"],
        answer.headers["x-frame-options"],
    )
    assert "nginx" == answer.headers["server"]
    assert "x-powered-by" not in answer.headers
    assert answer.cookies
    for cookie in answer.cookies:
        assert {"secure", "httponly", "samesite=strict"} <= set(cookie.lower().split("; "))


def test_a_session_is_its_own_browsers(web: MailHost, visitor: WebClient) -> None:
    """A form without the page's token does nothing, half a session is none, and a logout ends it."""
    delivered(web, hostile("https://elsewhere.example", ANN))
    assert 302 == visitor.log_in(ANN, PASSWORD).status
    before = subjects(web, "INBOX")
    fields = {"_mbox": "INBOX", "_target_mbox": "Trash", "_uid": "*", "_remote": "1"}
    visitor.ask("/?_task=mail&_action=move", fields)
    visitor.ask("/?_task=mail&_action=move", fields | {"_token": "A" * 32})
    assert before == subjects(web, "INBOX")
    thief = WebClient(visitor.port, visitor.context, dict(visitor.cookies))
    thief.cookies["roundcube_sessauth"] = "A" * 40
    assert "messagelist" not in thief.ask("/?_task=mail").text
    # The wrong half has ended it for both, as if it had been stolen.
    assert 302 == visitor.log_in(ANN, PASSWORD).status
    kept = WebClient(visitor.port, visitor.context, dict(visitor.cookies))
    visitor.ask(f"/?_task=logout&_token={visitor.token('/?_task=mail')}")
    assert "messagelist" not in kept.ask("/?_task=mail").text


def test_two_lengths_are_none(visitor: WebClient) -> None:
    """A request with two lengths is refused before it reaches PHP."""
    ask = f"POST /?_task=login HTTP/1.1\r\nHost: {HOSTNAME}\r\n"
    inner = f"GET /?smuggled HTTP/1.1\r\nHost: {HOSTNAME}\r\n\r\n"
    for lengths in (
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "Content-Length: +5\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", visitor.port), timeout=30) as plain:
            connection = visitor.context.wrap_socket(plain, server_hostname=HOSTNAME)
            connection.sendall((ask + lengths + inner).encode())
            answer = b""
            while part := connection.recv(65536):
                answer += part
        assert answer.split()[1] in {b"400", b"501"}, lengths
        assert 1 == answer.count(b"HTTP/1.1 "), lengths


def test_settings_outlive_the_container_and_sessions_do_not(web: MailHost) -> None:
    """Stopped in order within seconds; started again, it has its database, and nobody is logged in."""
    visitor = WebClient(web.containers["web"].port(443), web.tls())
    assert 302 == visitor.log_in(ANN, PASSWORD).status
    (web.root / "webmail/settings/webmail.db").stat()
    web.start("web", SITE)
    again = WebClient(web.containers["web"].port(443), web.tls(), visitor.cookies)
    assert "messagelist" not in again.ask("/?_task=mail").text
    assert 302 == again.log_in(ANN, PASSWORD).status


def test_a_new_certificate_is_in_use(
    web: MailHost, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """nginx loads it without a restart, as Dovecot and Postfix do."""
    port = web.containers["web"].port(443)
    first = ssl.get_server_certificate(("127.0.0.1", port))
    chain, key = Authority(tmp_path_factory.mktemp("other")).issue(HOSTNAME)
    for name, made in (("key.pem", key), ("certificate.pem", chain)):
        fresh = web.root / "tls" / f"{name}.new"
        fresh.write_bytes(made.read_bytes())
        fresh.chmod(0o640)
        os.chown(fresh, 0, 5003)
        fresh.rename(web.root / "tls" / name)
    await_true(
        "the new certificate",
        lambda: ssl.get_server_certificate(("127.0.0.1", port)) != first,
    )
