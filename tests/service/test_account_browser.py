"""The account page in front of the real Dovecot, in a real Chromium, with webmail on the same host name."""

from __future__ import annotations

import imaplib
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from postal_plexus.account import totp
from service.container_engine import Network
from service.mail_host import HOSTNAME, PASSWORD, MailHost, prepared
from system.browsing import TELEPHONE, Window, chromium
from wire import await_true

pytestmark = pytest.mark.timeout(300)

ANN = "ann@example.org"
NEW = "a quite new passphrase"
SITE = {"PLEXUS_WEB_NAMES": HOSTNAME, "PLEXUS_WEB_PARTS": "account webmail"}


@pytest.fixture(scope="module")
def host(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailHost]:
    """Start Dovecot and the web container."""
    root = tmp_path_factory.mktemp("host")
    with prepared(network, root, "dovecot", "web", has_web=True) as made:
        made.start("dovecot")
        made.start("web", SITE)
        yield made


@pytest.fixture(scope="module")
def browser(host: MailHost) -> Iterator[Browser]:
    """Start a Chromium in the container's network, without access to other networks."""
    with chromium(*host.containers["web"].in_its_network) as running:
        yield running


@pytest.fixture
def seen(browser: Browser) -> Iterator[Window]:
    """Open a window of a phone's size, and note its complaints (such as a forbidden style)."""
    width, height = TELEPHONE
    context = browser.new_context(
        ignore_https_errors=True, viewport={"width": width, "height": height}
    )
    opened = Window(context.new_page())
    opened.page.on("console", lambda told: opened.complaints.append(told.text))
    yield opened
    context.close()


def log_in(page: Page, password: str, code: str = "") -> None:
    page.goto("https://localhost/account/")
    page.get_by_label("Mail address").fill(ANN)
    page.get_by_label("Main password").fill(password)
    page.get_by_label("Code, if").fill(code)
    page.get_by_role("button", name="Log in").click()


def next_code(secret: bytes, used: list[str]) -> str:
    """Return an unused code: this step's, or the next one's."""
    step = int(time.time()) // 30
    code = next(each for each in (totp.code_at(secret, step), totp.code_at(secret, step + 1)) if each not in used)  # fmt: skip
    used.append(code)
    return code


def test_a_user_makes_the_account_safe(host: MailHost, seen: Window) -> None:
    """A new password, a second factor, an app password for the phone; axe finds no barriers."""
    page = seen.page
    log_in(page, PASSWORD)
    expect(page.get_by_role("heading", name=ANN)).to_be_visible()
    assert seen.is_as_wide_as_the_window()
    password = page.locator("section", has=page.get_by_role("heading", name="Main password"))
    password.get_by_label("Your password").fill(PASSWORD)
    password.get_by_label("New password").fill(NEW)
    password.get_by_label("Once more").fill(NEW)
    password.get_by_role("button", name="Change").click()
    expect(page.get_by_role("status")).to_contain_text("Your password is changed")

    page.get_by_role("link", name="Set it up").click()
    secret = totp.from_text("".join(page.locator(".secret").inner_text().split()))
    assert secret is not None
    assert [] == seen.barriers()
    used: list[str] = []
    page.get_by_label("Your password").fill(NEW)
    page.get_by_label("The code").fill(next_code(secret, used))
    page.get_by_role("button", name="Set up").click()
    recovery = page.locator(".secret").all_inner_texts()
    assert 8 == len(recovery)
    page.get_by_role("link", name="Done").click()
    page.get_by_role("button", name="Log out").click()

    log_in(page, NEW)
    expect(page.get_by_role("alert")).to_contain_text("Type a code")
    assert [] == seen.barriers()
    log_in(page, NEW, next_code(secret, used))
    expect(page.get_by_text("8 recovery codes are left")).to_be_visible()
    page.get_by_text("Make one").click()
    apps = page.locator("details", has=page.get_by_text("Make one"))
    apps.get_by_label("Name of the device").fill("phone")
    apps.get_by_label("Your password").fill(NEW)
    apps.get_by_label("Code").fill(recovery[0])
    apps.get_by_role("button", name="Make").click()
    made = page.locator(".secret").inner_text()
    with host.imap(ANN, made):
        pass
    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
        host.imap(ANN, PASSWORD)
    page.get_by_role("link", name="Done").click()
    expect(page.get_by_role("row", name="phone").first).to_contain_text("imap from")
    # Where the browser is, as nginx sees it.
    expect(page.get_by_role("row", name="this page").first).to_contain_text("::1")
    assert [] == seen.barriers()
    assert [] == [each for each in seen.complaints if "Content Security Policy" in each]


def test_a_script_of_webmails_reads_nothing_of_it(browser: Browser) -> None:
    """A script smuggled into webmail has the page's origin, but gets neither answers nor a window."""
    context = browser.new_context(ignore_https_errors=True)
    page = context.new_page()
    page.goto("https://localhost/")
    status = "async path => (await fetch(path, {credentials: 'include'})).status"
    assert [403, 403] == [page.evaluate(status, path) for path in ("/account/", "/account/factor")]
    framed = """() => new Promise(done => { const frame = document.createElement('iframe');
        frame.onload = () => { let text = ''; try { text = frame.contentDocument.body.innerText } catch { }
            done(text) }; frame.src = '/account/'; document.body.append(frame) })"""
    assert "Main password" not in page.evaluate(framed)
    with context.expect_page() as opened:
        page.evaluate("() => { window.other = window.open('/account/') }")
    expect(opened.value.get_by_label("Main password")).to_be_visible()
    assert not opened.value.evaluate("() => window.opener")
    await_true(
        "the window's end for its opener", lambda: page.evaluate("() => window.other.closed")
    )
    context.close()


def test_each_process_has_what_is_its_own(host: MailHost) -> None:
    """Neither PHP nor nginx can open the keeper's socket; the page has its own user and no capabilities."""
    web = host.containers["web"]
    socket = (host.root / "run/web/account.sock").stat()
    assert (5008, 0o600) == (socket.st_uid, socket.st_mode & 0o777)
    script = (
        "for p in /proc/[0-9]*; do grep -qs account-page $p/cmdline && cat $p/status; done; true"
    )
    status = web.exec("sh", "-c", script)
    assert "Uid:\t5008\t5008\t5008\t5008" in status
    assert "CapEff:\t0000000000000000" in status
