"""The console answers its operator, shows hostile mail as text, and refuses everybody else."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from pages import EVIL, HOST, KEYS, Stack, browser, form_of, letter, mail, stranger, tags

from postal_plexus.console import journeys
from postal_plexus.console.sources import Forecast
from postal_plexus.operations.findings import critical, ok, warning
from postal_plexus.operations.spending import Spending
from postal_plexus.operations.system import AccessError
from postal_plexus.tracing.step import Fate, State, Step

TEMPLATES = Path(journeys.__file__).parent / "templates"
POSTED = {"origin": HOST}
AT = datetime(2026, 11, 28, tzinfo=UTC)


def test_the_token_leaves_the_address() -> None:
    """The printed address gives a cookie that no script and no other site can use, and redirects."""
    answer = stranger(Stack()).get(f"/?token={KEYS.token}", follow_redirects=False)
    assert (303, "/") == (answer.status_code, answer.headers["location"])
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert KEYS.token not in cookie


@pytest.mark.parametrize(
    "path", ["/", "/?token=", "/?token=wrong", "/?token=the-toke", "/panel/flight"]
)
def test_without_the_token_nothing_is_shown(path: str) -> None:
    """A wrong token, or none, is refused, and sets no cookie."""
    answer = stranger(Stack(letters=[letter("l1")])).get(path)
    assert 403 == answer.status_code
    assert "set-cookie" not in answer.headers
    assert "Dead letters" not in answer.text
    assert "plexus console" in answer.text


WAITING = {
    "id": "4c1",
    "queue": "deferred",
    "arrived": 1795872007,
    "size": 500,
    "sender": EVIL,
    "recipients": [{"address": EVIL, "reason": EVIL}],
}
MAILBOX = {
    "address": EVIL,
    "mails": 3,
    "octets": 250,
    "most": 1000,
    "login": {"at": "2026-11-28 18:00", "protocol": EVIL, "from": "192.0.2.1"},
}
ADDRESSES = [
    *("/", "/panel/queues", "/panel/letters", "/letters/l1", "/letters/l1/drop", "/outbox/m1"),
    *("/outbox/m1/html", "/outbox/m1/raw", "/outbox/m1/part/2", "/static/console.js", "/nowhere"),
]


@pytest.mark.parametrize("path", ADDRESSES)
def test_every_address_is_guarded(path: str) -> None:
    """Every URL checks the session, the host name (DNS rebinding) and the requesting site."""
    stack = Stack([letter("l1")], {"m1": mail("<p>x</p>")})
    assert 403 == stranger(stack).get(path).status_code
    ours = browser(stack)
    assert 421 == ours.get(path, headers={"host": "evil.example"}).status_code
    assert 403 == ours.get(path, headers={"sec-fetch-site": "cross-site"}).status_code
    assert ours.get(path).status_code in {200, 404}


def test_the_token_opens_nothing_under_another_name() -> None:
    """Even the right token is refused under another host name."""
    opened = stranger(Stack())
    path = f"/?token={KEYS.token}"
    assert 421 == opened.get(path, headers={"host": "rebound.example:8025"}).status_code
    assert 403 == opened.get(path, headers={"sec-fetch-site": "cross-site"}).status_code


@pytest.mark.parametrize("act", ["/letters/l1/deliver", "/letters/l1/drop", "/cost"])
def test_only_our_forms_change_anything(act: str) -> None:
    """A POST needs our origin and the form's token."""
    stack = Stack([letter("l1")])
    ours = browser(stack)
    form = form_of(ours.get("/letters/l1/drop").text)
    for headers, data in (
        ({}, {"form": form}),
        ({"origin": "http://127.0.0.1:9000"}, {"form": form}),
        ({"origin": "null"}, {"form": form}),
        (POSTED, {}),
        (POSTED, {"form": "x" + form[1:]}),
    ):
        assert 403 == ours.post(act, headers=headers, data=data).status_code
    assert 405 == ours.get("/letters/l1/deliver").status_code
    assert 413 == ours.post(act, headers=POSTED, data={"form": "x" * 20_000}).status_code
    assert [] == stack.done


@pytest.mark.parametrize(("act", "told"), [("deliver", "will be delivered"), ("drop", "Dropped")])
def test_a_dead_letter_by_its_button(act: str, told: str) -> None:
    """The action is done once and confirmed; a second press finds the letter gone."""
    stack = Stack([letter("l1"), letter("l2")])
    ours = browser(stack)
    data = {"form": form_of(ours.get("/letters/l1").text)}
    assert told in ours.post(f"/letters/l1/{act}", headers=POSTED, data=data).text
    assert [(act, "l1")] == stack.done
    assert "no longer exists" in ours.post(f"/letters/l1/{act}", headers=POSTED, data=data).text
    assert [(act, "l1")] == stack.done
    listed = ours.get("/panel/letters").text
    assert "/letters/l2" in listed
    assert "/letters/l1" not in listed


def test_dead_letters_are_read_when_their_number_changes() -> None:
    """Reading hides them from others for a moment, so an open page does it only after a change."""
    stack = Stack([letter("l1")])
    ours = browser(stack)
    for _ in range(3):
        ours.get("/panel/letters")
    assert 1 == stack.reads
    stack.letters.append(letter("l2"))
    assert "/letters/l2" in ours.get("/panel/letters").text
    assert 2 == stack.reads


def test_the_page_links_what_people_use_in_a_browser() -> None:
    """Webmail and the account page open in a window of their own; a program's address is text."""
    web = {"webmail": "https://localhost:8443/", "calendars": "https://localhost:8443/dav/"}
    page = browser(Stack(web=web)).get("/").text
    assert 'Webmail: <a href="https://localhost:8443/" target="_blank" rel="noopener' in page
    assert "Calendars: <code>https://localhost:8443/dav/</code>" in page
    assert "Account page" not in page
    assert "Webmail" not in browser(Stack()).get("/").text


def test_what_strangers_write_is_text() -> None:
    """Subjects, addresses, replies, reasons and file names never become tags."""
    fate = Fate(EVIL, State.FAILED, EVIL)
    failed = Step(
        AT, "SES", EVIL, frozenset({f"receipt:{EVIL}"}), EVIL, EVIL, (EVIL,), EVIL, (fate,)
    )
    stack = Stack(
        letters=[letter("l1", EVIL, EVIL)],
        mails={"m1": mail(f"<p>{EVIL}</p>", EVIL, EVIL + ".pdf")},
        steps=[failed],
        findings=[warning(EVIL, EVIL, EVIL), critical("x", "y", "z"), ok(EVIL, EVIL)],
        forecast=Forecast(((EVIL, EVIL, 1.0),), EVIL),
        waiting=[WAITING],
        mailboxes=[MAILBOX],
    )
    ours = browser(stack)
    data = {"form": form_of(ours.get("/letters/l1").text)}
    for name in ("waiting", "mailboxes"):
        assert 200 == ours.post(f"/look/{name}", headers=POSTED, data=data).status_code
    for path in (
        *(
            "/",
            "/panel/flight",
            "/panel/queues",
            "/panel/letters",
            "/panel/outbox",
            "/panel/health",
        ),
        *("/panel/waiting", "/panel/mailboxes"),
        *("/panel/cost", "/letters/l1", "/letters/l1/drop", "/outbox/m1", "/outbox/m1?view=text"),
        *("/outbox/m1?view=source", "/outbox/m1/html"),
    ):
        page = ours.get(path).text
        found = [tag for tag in tags(page) if "onerror" in tag or "alert" in tag]
        assert [] == [tag for tag in found if not re.search(r'"[^"]*(&lt;|&#)[^"]*"', tag)], path
        assert "<script>alert" not in page
        assert "<img src=x" not in page


def test_no_template_passes_anything_unescaped() -> None:
    """No template contains `safe`, `autoescape`, inline scripts or styles."""
    for template in TEMPLATES.iterdir():
        text = template.read_text()
        assert not re.search(r"\|\s*safe|autoescape|<script>|<style|\sstyle=|\son\w+=", text), (
            template
        )


def test_every_answer_is_strict() -> None:
    """Pages load nothing from elsewhere, run no inline script, and allow no foreign frame."""
    ours = browser(Stack())
    for answer in (ours.get("/"), ours.get("/nowhere"), stranger(Stack()).get("/")):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert "nosniff" == answer.headers["x-content-type-options"]
        assert "same-origin" == answer.headers["referrer-policy"]
        assert "no-store" == answer.headers["cache-control"]
        assert "access-control-allow-origin" not in answer.headers


def test_a_mail_in_its_frame_can_do_nothing() -> None:
    """Its HTML has a sandbox without scripts, forms and origin; remote images only on request."""
    stack = Stack(mails={"m1": mail('<img src="https://pics.example/a.png">')})
    ours = browser(stack)
    page = ours.get("/outbox/m1").text
    frame = re.search(r"<iframe[^>]*>", page)
    assert frame
    assert "allow-scripts" not in frame[0]
    assert "allow-same-origin" not in frame[0]
    assert "Load them" in page
    plain, asked = ours.get("/outbox/m1/html"), ours.get("/outbox/m1/html?remote=1")
    for answer in (plain, asked):
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("sandbox allow-popups allow-popups-to-escape-sandbox;")
        assert "default-src 'none'" in policy
        assert "script" not in policy
        assert "no-referrer" == answer.headers["referrer-policy"]
    assert "pics.example" not in plain.text
    assert "img-src data:;" in plain.headers["content-security-policy"]
    assert "https://pics.example/a.png" in asked.text
    assert "img-src data: https: http:;" in asked.headers["content-security-policy"]


def test_attachments_are_saved_never_shown() -> None:
    """They are complete, with a safe name and a type that runs nothing."""
    stack = Stack(mails={"m1": mail("<p>x</p>", name='é";\r\nx: y\\..\\.pdf')})
    ours = browser(stack)
    answer = ours.get("/outbox/m1/part/2")
    assert b"octets" == answer.content
    disposition = answer.headers["content-disposition"]
    assert disposition.startswith("attachment; ")
    assert disposition.isascii()
    assert 'filename="__' in disposition
    assert "filename*=UTF-8''%C3%A9" in disposition
    assert "application/pdf" == answer.headers["content-type"]
    assert "sandbox" in answer.headers["content-security-policy"]
    raw = ours.get("/outbox/m1/raw")
    assert stack.mails["m1"] == raw.content
    assert "attachment" in raw.headers["content-disposition"]
    for path in (
        "/outbox/m1/part/99",
        "/outbox/none",
        "/outbox/..%2f..%2fetc",
        "/outbox/m1/part/-1",
    ):
        assert 404 == ours.get(path).status_code


def test_what_aws_refuses_is_said_in_its_place() -> None:
    """The error is shown in its panel, and the other panels work."""
    stack = Stack(failure=AccessError("AWS refuses SQS GetQueueAttributes; ask for it"))
    page = browser(stack).get("/").text
    assert "AWS refuses SQS GetQueueAttributes" in page
    assert "Mail in transit" in page


def test_a_panel_that_has_not_changed_is_not_sent() -> None:
    """An unchanged panel gets 304."""
    stack = Stack()
    ours = browser(stack)
    tag = ours.get("/panel/flight").headers["etag"]
    assert 304 == ours.get("/panel/flight", headers={"if-none-match": tag}).status_code
    stack.steps.append(Step(AT, "Postfix", "accepted a message", frozenset({"queue:A1"})))
    assert 200 == ours.get("/panel/flight", headers={"if-none-match": tag}).status_code
    assert 404 == ours.get("/panel/other").status_code


def test_on_aws_there_is_no_outbox_but_a_bill() -> None:
    """The actual cost is requested only by the button, because each request costs a cent."""
    stack, asked = Stack(), []

    def spending() -> Spending:
        asked.append(1)
        return Spending(date(2026, 11, 1), (("Amazon EC2", 3.25), ("Amazon SES", 0.5)))

    ours = browser(stack, replace(stack.sources(aws=True), spending=spending))
    page = ours.get("/").text
    assert "Outbox" not in page
    assert [] == asked
    data = {"form": form_of(page)}
    assert "$3.75" in ours.post("/cost", headers=POSTED, data=data).text
    ours.get("/panel/cost")
    assert [1] == asked
    assert 404 == browser(stack).post("/cost", headers=POSTED, data=data).status_code


def test_a_task_looks_only_when_it_is_asked_to() -> None:
    """Postfix's queue and the mailboxes need a task on the mail host, so there is a button, no polling."""
    stack = Stack(waiting=[WAITING], mailboxes=[MAILBOX, MAILBOX | {"most": 0, "login": None}])
    ours = browser(stack)
    page = ours.get("/").text
    assert "asks Dovecot" in page
    data = {"form": form_of(page)}
    assert 403 == ours.post("/look/mailboxes", headers=POSTED).status_code
    found = ours.post("/look/mailboxes", headers=POSTED, data=data).text
    assert "25 %" in found
    assert "never" in found
    assert "deferred" in ours.post("/look/waiting", headers=POSTED, data=data).text
    assert 404 == ours.post("/look/other", headers=POSTED, data=data).status_code
