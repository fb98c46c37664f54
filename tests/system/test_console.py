"""A desk's console in a real Chromium: messages in transit, buttons, hostile mail."""

from __future__ import annotations

import contextlib
import stat
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, expect

from awsdesk.layout import DeskLayout
from postal_plexus.desk import page_process
from postal_plexus.operations.log_groups import LogGroups
from postal_plexus.operations.system import OperationError
from system.browsing import DESKTOP, TELEPHONE, Window, chromium, tracker, window
from system.desk import Desk
from system.quiet_network import QuietNetwork, quiet_network


@pytest.fixture(scope="module")
def address(desk: Desk) -> str:
    """Return the address that `make run` and `plexus local status` print."""
    told = desk.told()["page"]
    assert f" {told}\n" in desk.plexus("status").stdout
    return told


@pytest.fixture(scope="module")
def network(address: str) -> Iterator[QuietNetwork]:
    """Provide a network for the browser, in which the console answers."""
    port = urlsplit(address).port
    assert port
    with quiet_network() as made:
        made.reach(port)
        yield made


@pytest.fixture(scope="module")
def browser(network: QuietNetwork) -> Iterator[Browser]:
    """Start one browser for all tests here."""
    with chromium(*network.within) as running:
        yield running


@pytest.fixture
def opened(address: str, browser: Browser) -> Iterator[Window]:
    """Open the printed address in a window."""
    with window(browser) as found:
        found.page.goto(address)
        yield found
        assert [] == found.complaints


def test_the_token_is_its_owners_and_leaves_the_address(
    desk: Desk, address: str, opened: Window
) -> None:
    """The file is private; address bar, page and cookie do not contain the token."""
    token = urlsplit(address).query.removeprefix("token=")
    assert 0o600 == stat.S_IMODE((desk.directory / "page.json").stat().st_mode)
    assert len(token) >= 43
    assert "/" == urlsplit(opened.page.url).path
    assert token not in opened.page.url + opened.page.content()
    (cookie,) = opened.page.context.cookies()
    assert (True, "Strict") == (cookie["httpOnly"], cookie["sameSite"])
    assert token not in cookie["value"]
    assert "" == opened.page.evaluate("document.cookie")


def test_a_wrong_token_is_refused(address: str, browser: Browser) -> None:
    """With a wrong or missing token, nothing of the desk is shown."""
    other = "A" if address[-1] != "A" else "B"
    for wrong in (address[:-1] + other, address.partition("?")[0]):
        with window(browser) as found:
            answer = found.page.goto(wrong)
            assert answer is not None
            assert 403 == answer.status
            assert "Mail in transit" not in found.page.content()
            assert [] == found.page.context.cookies()


def test_a_mail_is_seen_on_its_way(desk: Desk, opened: Window) -> None:
    """It shows accepted, stored and queued while `deliver` is paused; delivered once it continues."""
    sender = f"{uuid.uuid4().hex}@elsewhere.example"
    deliver = desk.container("deliver")
    desk.engine("pause", deliver)
    try:
        content = b"Subject: on its way\r\n\r\nhello\r\n"
        assert {} == desk.receive(sender, [desk.ann], content)
        mail = opened.page.locator("#flight .journey", has_text=sender)
        expect(mail).to_contain_text("in transit")
        expect(mail.locator(".passed .stage")).to_have_text(["accepted", "stored", "queued"])
        expect(mail.locator(".ahead .stage")).to_have_text(["delivered"])
        waiting = opened.page.locator("#queues tr", has_text="incoming mail")
        expect(waiting).not_to_contain_text("0 0 0", use_inner_text=True)
    finally:
        desk.engine("unpause", deliver)
    expect(mail.locator(".fate")).to_have_text("done")
    passed = ["accepted", "stored", "queued", "filed", "delivered"]
    expect(mail.locator(".stage")).to_have_text(passed)
    expect(mail.locator(".ahead")).to_have_count(0)
    expect(mail).to_contain_text(desk.ann)


def hostile(port: int, mark: str) -> EmailMessage:
    """Return a message with the usual attacks."""
    there = f"http://127.0.0.1:{port}"
    message = EmailMessage()
    message["From"], message["To"] = Desk.ann, "friend@elsewhere.example"
    message["Subject"] = f"{mark} <img src={there}/subject onerror=alert(1)>"
    message.set_content("The text of it.\n")
    message.add_alternative(
        f"""<h1>The plan</h1>
        <script>document.title = "ran"; fetch("{there}/script")</script>
        <img src="{there}/image" onerror="document.title='ran'"><img src="x" onerror="alert(1)">
        <link rel="preconnect" href="{there}"><link rel="stylesheet" href="{there}/sheet">
        <meta http-equiv="refresh" content="0; url={there}/refresh"><base href="{there}/">
        <style>@import url({there}/import); h1 {{ background: url({there}/background) }}</style>
        <p style="background-image: url('{there}/style')">styled</p>
        <iframe src="{there}/frame"></iframe><video src="{there}/video" autoplay></video>
        <form action="{there}/form"><input name="q" autofocus><button>Go</button></form>
        <a href="{there}/link">a link</a>""",
        subtype="html",
    )
    name = f"<img src={there}/name>.html"
    message.add_attachment("<script>alert(1)</script>", subtype="html", filename=name)
    return message


def test_a_hostile_mail_of_the_outbox_does_nothing(
    desk: Desk, opened: Window, network: QuietNetwork
) -> None:
    """It is rendered; nothing runs, and no server is contacted until its images are requested."""
    mark, page = uuid.uuid4().hex, opened.page
    with tracker() as there:
        network.reach(there.port)
        with desk.submission(desk.ann) as client:
            client.send_message(hostile(there.port, mark))
        page.locator("#outbox a", has_text=mark).click()
        expect(page.locator("h1")).to_contain_text(f"{mark} <img src=")
        frame = page.frame_locator("iframe")
        expect(frame.locator("h1")).to_have_text("The plan")
        expect(frame.locator("a")).to_have_text("a link")
        assert 0 == frame.locator("script, form, button, iframe, link, meta[http-equiv]").count()
        with page.expect_download() as saving:
            page.locator(".attachments a").click()
        assert "_img src=http___127.0.0.1" in saving.value.suggested_filename
        assert b"<script>alert(1)</script>" in saving.value.path().read_bytes()
        page.get_by_role("link", name="Text", exact=True).click()
        expect(page.locator("pre")).to_contain_text("The text of it.")
        page.get_by_role("link", name="Source", exact=True).click()
        expect(page.locator("pre")).to_contain_text("Content-Type: multipart/")
        page.get_by_role("link", name="HTML", exact=True).click()
        expect(frame.locator("h1")).to_have_text("The plan")
        assert "ran" != page.title()
        ours = urlsplit(page.url).netloc
        assert {ours, ""} >= {urlsplit(each).netloc for each in opened.asked}
        assert [] == there.requests

        page.get_by_role("link", name="Load them").click()
        expect(frame.locator("img").first).to_have_attribute(
            "src", f"http://127.0.0.1:{there.port}/image"
        )
        page.wait_for_load_state("networkidle")
        paths = {each.split(" ")[1] for each in there.requests}
        assert {"/image"} <= paths <= {"/image", "/background", "/style"}
        assert "ookie:" not in "".join(there.requests)
        assert "eferer:" not in "".join(there.requests)


def test_a_dead_letter_is_delivered_by_its_button(desk: Desk, opened: Window) -> None:
    """A message held as a virus is released by one press: its reader has it, and it leaves the list."""
    mark, page = uuid.uuid4().hex, opened.page
    content = f"X-Mark: {mark}\r\nSubject: no virus\r\n\r\nhello\r\n".encode()
    desk.receive_with_verdicts(content, desk.ann, f"{mark}@elsewhere.example", virus="FAIL")
    letter = page.locator("#letters li", has_text=mark)
    letter.get_by_role("button", name="Deliver").click()
    expect(page.locator(".flash")).to_contain_text("will be delivered")
    with desk.mailbox(desk.ann) as mailbox:
        assert 1 == len(mailbox.await_mail("HEADER", "X-Mark", mark))
    expect(letter).to_have_count(0)


def test_a_dead_letter_is_dropped_after_a_question(desk: Desk, opened: Window) -> None:
    """It works by keyboard alone, and keeps the focus while the page refreshes."""
    mark, page = uuid.uuid4().hex, opened.page
    desk.receive_with_verdicts(b"\r\n", desk.ann, f"{mark}@elsewhere.example", virus="FAIL")
    letter = page.locator("#letters li", has_text=mark)
    letter.locator("a").first.click()
    expect(page.locator("dl")).to_contain_text(mark)
    page.get_by_role("link", name="Drop …").focus()
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("permanently?")
    page.get_by_role("button", name="Drop permanently").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".flash")).to_have_text("Dropped permanently.")
    expect(letter).to_have_count(0)


def test_on_aws_mails_are_read_from_cloudwatch(desk: Desk) -> None:
    """The last hour of each log group is read page by page; a missing group is reported."""
    now = datetime.now(UTC)
    group = desk.output("log_groups")["deliver"]
    system = desk.system()
    vars(system)["parts"] = {"log_groups": {"deliver": group, "postfix": "no-such-group"}}
    groups = LogGroups(system)
    client = desk.client("logs")
    with contextlib.suppress(client.exceptions.ResourceAlreadyExistsException):
        client.create_log_group(logGroupName=group)
    stream = uuid.uuid4().hex
    client.create_log_stream(logGroupName=group, logStreamName=stream)
    mark = uuid.uuid4().hex
    events = [
        {
            "timestamp": int((now - timedelta(minutes=ago)).timestamp() * 1000),
            "message": f"{mark} {ago}",
        }
        for ago in (90, 30, 0)
    ]
    client.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)
    lines = groups.lines("deliver", now - timedelta(hours=1))
    found = [each for each in lines if mark in each[1]]
    assert [f"{mark} 30", f"{mark} 0"] == [line for _, line in found]
    assert abs(found[1][0] - now) < timedelta(seconds=0.01)
    with pytest.raises(OperationError, match="FilterLogEvents failed: ResourceNotFound"):
        list(groups.lines("postfix", now))


def test_mailboxes_and_waiting_mails_by_a_button(desk: Desk, opened: Window) -> None:
    """A task reads Dovecot and Postfix, and the page shows its results."""
    page = opened.page
    page.locator("#look-mailboxes").click()
    mailboxes = page.locator("#mailboxes tbody tr")
    expect(mailboxes.first).to_contain_text("@example.org")
    assert {desk.ann, desk.ben} <= set(page.locator("#mailboxes tbody th").all_inner_texts())
    page.locator("#look-waiting").click()
    expect(page.locator("#waiting")).not_to_contain_text("runs a task")


@pytest.mark.parametrize("size", [DESKTOP, TELEPHONE], ids=["desktop", "telephone"])
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_everybody_can_use_it(
    desk: Desk, address: str, browser: Browser, size: tuple[int, int], colours: str
) -> None:
    """axe-core finds no barrier, and nothing scrolls sideways, on each kind of page."""
    mark = uuid.uuid4().hex
    desk.enqueue("no notification " + "x" * 300)
    with desk.submission(desk.ann) as client:
        message = EmailMessage()
        message["From"], message["To"] = desk.ann, "a" * 60 + "@elsewhere.example"
        message["Subject"] = mark + "y" * 200
        message.set_content("z" * 500)
        client.send_message(message)
    with window(browser, size, colours) as found:
        page = found.page
        page.goto(address)
        page.locator("#health summary").click()
        expect(page.locator("#letters li").first).to_be_visible()
        expect(page.locator("#outbox a", has_text=mark)).to_be_visible()
        assert ([], True) == (found.barriers(), found.is_as_wide_as_the_window())
        page.locator("#outbox a", has_text=mark).click()
        page.wait_for_url("**/outbox/*")
        assert ([], True) == (found.barriers(), found.is_as_wide_as_the_window())
        page.go_back()
        page.locator("#letters a").first.click()
        page.wait_for_url("**/letters/*")
        assert ([], True) == (found.barriers(), found.is_as_wide_as_the_window())
        page.get_by_role("link", name="Drop …").click()
        page.wait_for_url("**/drop")
        assert ([], True) == (found.barriers(), found.is_as_wide_as_the_window())
        page.get_by_role("button", name="Drop permanently").click()
        expect(page.locator(".flash")).to_be_visible()
        assert [] == found.complaints


def test_it_is_served_once_and_ends_with_its_desk(desk: Desk, address: str) -> None:
    """A second console names the first one's address; `down` ends it and its token, another `up` does not."""
    second = desk.operate("console")
    assert (0, f"{address}\n", "") == (second.returncode, second.stdout, second.stderr)
    layout, told = DeskLayout.at(desk.directory), list[str]()
    page_process.start(layout, any_port=True).await_address(told.append)
    assert ([], address) == (told, page_process.address(layout))
    page_process.stop(layout)
    assert ("", False) == (page_process.address(layout), layout.page.exists())
    with pytest.raises(OSError, match="refused"):
        urlopen(address)
    page_process.start(layout, any_port=True).await_address(told.append)
    assert [] == told
    renewed = page_process.address(layout)
    assert urlsplit(renewed).query != urlsplit(address).query
    with pytest.raises(HTTPError, match="403"):
        urlopen(urlsplit(renewed)._replace(query=urlsplit(address).query).geturl())
