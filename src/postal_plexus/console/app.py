"""The page's URLs and their responses. Templates escape everything from messages.

The page's script requests fragments (`/panel/...`) repeatedly; they have an ETag, so that unchanged
ones are not sent.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from markupsafe import Markup
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from postal_plexus.config.web_parts import FOR_PROGRAMS, LABELS
from postal_plexus.console import journeys, mailview, rendering
from postal_plexus.console.door import Door
from postal_plexus.console.sources import Kept
from postal_plexus.operations.dead_letters import Letter, UnknownLetterError, chosen
from postal_plexus.operations.findings import Level
from postal_plexus.operations.system import OperationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from starlette.requests import Request
    from starlette.types import ASGIApp

    from postal_plexus.console.guard import Keys
    from postal_plexus.console.sources import Line, Sources
    from postal_plexus.operations.spending import Spending

_JOURNEYS = 12
_SENT = 12
_FINDINGS_KEPT = 60.0
_ASSETS = {
    "console.css": "text/css",
    "console.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
_MAIL_POLICY = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none';"
    " style-src 'unsafe-inline'; img-src data:{remote}; frame-ancestors 'self'"
)
_MAIL_HEAD = (
    '<!doctype html><html><head><meta charset="utf-8"><title>A message</title><style>'
    "body{margin:16px;font:15px/1.5 system-ui,sans-serif;color:#111;background:#fff}"
    "</style></head>"
)
_DONE = {
    "delivered": "Put back into the queue: it will be delivered.",
    "dropped": "Dropped permanently.",
    "gone": "That dead letter no longer exists.",
}


def application(sources: Sources, keys: Keys) -> ASGIApp:
    """Create the page of a stack."""
    console = Console(sources, keys)
    routes = [
        Route("/", console.page),
        Route("/panel/{name}", console.panel),
        Route("/letters/{id}", console.letter),
        Route("/letters/{id}/drop", console.confirm_drop, methods=["GET"]),
        Route("/letters/{id}/drop", console.drop, methods=["POST"]),
        Route("/letters/{id}/deliver", console.deliver, methods=["POST"]),
        Route("/cost", console.spend, methods=["POST"]),
        Route("/look/{name}", console.look, methods=["POST"]),
        Route("/outbox/{id}", console.mail),
        Route("/outbox/{id}/html", console.mail_html),
        Route("/outbox/{id}/raw", console.mail_raw),
        Route("/outbox/{id}/part/{number:int}", console.mail_part),
        Route("/static/{name}", _asset),
    ]
    return Door(Starlette(routes=routes), keys)


@dataclass(frozen=True)
class _Letters:
    """The dead letters as last read, and how many there were."""

    letters: tuple[Letter, ...]
    total: int


class Console:
    """The endpoints. They run in threads, because the AWS library blocks."""

    def __init__(self, sources: Sources, keys: Keys) -> None:
        self._sources = sources
        self._keys = keys
        self._templates = rendering.templates()
        poll = sources.poll_seconds
        self._mails = Kept(lambda: journeys.shown(sources.steps(), _JOURNEYS), poll / 2)
        self._queues = Kept(lambda: sources.queues().states(), poll)
        self._findings = Kept(lambda: list(sources.findings()), _FINDINGS_KEPT)
        self._letters: _Letters | None = None
        self._spending: Spending | None = None
        self._looked: dict[str, Sequence[Line] | None] = {}

    # --- the page and its panels ---

    def page(self, request: Request) -> Response:
        """Return the whole page, with what can be loaded quickly."""
        quick = ("flight", "queues", "waiting", "mailboxes", "outbox", "cost")
        # Templates have escaped their content.
        shown = {name: Markup(self._shown(name)) for name in quick}  # noqa: S704
        return self._html(
            "page.html",
            panels=shown,
            web=[
                (LABELS[part], address, part not in FOR_PROGRAMS)
                for part, address in self._sources.web().items()
                if part in LABELS
            ],
            done=_DONE.get(request.query_params.get("done", ""), ""),
        )

    def panel(self, request: Request) -> Response:
        """Return one panel, or 304 if it is unchanged."""
        name = request.path_params["name"]
        if name not in self._panels():
            return _missing("There is no such panel.")
        if request.query_params.get("again"):
            self._findings.forget()
        text = self._shown(name)
        tag = f'"{hashlib.sha256(text.encode()).hexdigest()[:24]}"'
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"etag": tag})
        return HTMLResponse(text, headers={"etag": tag})

    def _panels(self) -> Mapping[str, Callable[[], Mapping[str, Any]]]:
        return {
            "flight": lambda: {"mails": self._mails.get()},
            "queues": lambda: {"queues": self._queues.get()},
            "letters": lambda: {"letters": self._read_letters()},
            "outbox": self._sent,
            "health": self._health,
            "cost": self._cost,
            "waiting": lambda: self._seen("waiting"),
            "mailboxes": lambda: self._seen("mailboxes"),
        }

    def _shown(self, name: str) -> str:
        """Render a panel. An error is shown in its place."""
        try:
            values: Mapping[str, Any] = self._panels()[name]()
        except OperationError as error:
            values = {"problem": str(error)}
        return self._render(f"panel_{name}.html", **{"problem": "", **values})

    def _sent(self) -> Mapping[str, Any]:
        outbox = self._sources.outbox
        return {"mails": None if outbox is None else outbox.newest(_SENT)}

    def _health(self) -> Mapping[str, Any]:
        found = self._findings.get()
        wrong = [each for each in found if each.level is not Level.OK]
        return {
            "wrong": sorted(wrong, key=lambda each: -each.level),
            "good": [each for each in found if each.level is Level.OK],
            "marks": _MARKS,
        }

    def _cost(self) -> Mapping[str, Any]:
        forecast = self._sources.forecast
        return {
            "forecast": forecast() if forecast is not None else None,
            "spending": self._spending,
            "can_ask": self._sources.spending is not None,
        }

    def spend(self, _request: Request) -> Response:
        """Ask what the account has cost so far, which costs a cent itself."""
        if self._sources.spending is None:
            return _missing("Only AWS knows what it has cost.")
        try:
            self._spending = self._sources.spending()
        except OperationError as error:
            return self._html("problem.html", 502, problem=str(error))
        return RedirectResponse("/#cost", 303)

    # --- what only a task on the mail host can read ---

    def _looks(self) -> Mapping[str, Callable[[], Sequence[Line]] | None]:
        return {"waiting": self._sources.waiting, "mailboxes": self._sources.mailboxes}

    def _seen(self, name: str) -> Mapping[str, Any]:
        return {"lines": self._looked.get(name), "can_look": self._looks()[name] is not None}

    def look(self, request: Request) -> Response:
        """Run a read-only task, and wait for it: some seconds, so only on request."""
        name = request.path_params["name"]
        look = self._looks().get(name)
        if look is None:
            return _missing("There is nothing to load.")
        try:
            self._looked[name] = look()
        except OperationError as error:
            return self._html("problem.html", 502, problem=str(error))
        return RedirectResponse(f"/#{name}", 303)

    # --- dead letters ---

    def _read_letters(self) -> tuple[Letter, ...]:
        """Read them if their number has changed: reading hides them from others for a moment."""
        total = self._sources.queues().dead_letters().total
        if self._letters is None or self._letters.total != total:
            letters = tuple(self._sources.letters().read()) if total else ()
            self._letters = _Letters(letters, total)
        return self._letters.letters

    def letter(self, request: Request) -> Response:
        """Show one completely."""
        return self._with_letter(request, "letter.html")

    def confirm_drop(self, request: Request) -> Response:
        """Ask for confirmation."""
        return self._with_letter(request, "drop.html")

    def _with_letter(self, request: Request, template: str) -> Response:
        try:
            (found,) = chosen(list(self._read_letters()), [request.path_params["id"]])
        except UnknownLetterError:
            return RedirectResponse("/?done=gone#letters", 303)
        except OperationError as error:
            return self._html("problem.html", 502, problem=str(error))
        return self._html(template, letter=found)

    def deliver(self, request: Request) -> Response:
        """Put one back into the queue."""
        return self._act(request, "delivered")

    def drop(self, request: Request) -> Response:
        """Delete one permanently."""
        return self._act(request, "dropped")

    def _act(self, request: Request, done: str) -> Response:
        letters = self._sources.letters()
        act = letters.deliver if done == "delivered" else letters.drop
        try:
            act([request.path_params["id"]])
        except UnknownLetterError:
            done = "gone"
        except OperationError as error:
            return self._html("problem.html", 502, problem=str(error))
        finally:
            self._letters = None
        return RedirectResponse(f"/?done={done}#letters", 303)

    # --- the outbox ---

    def mail(self, request: Request) -> Response:
        """Show a message of the outbox: rendered, as text, or as source."""
        found = self._content(request)
        if found is None:
            return _missing("There is no such message in the outbox.")
        sent, content = found
        shown = mailview.view(content)
        views = [name for name, there in (("html", shown.html), ("text", shown.text)) if there] + [
            "source"
        ]
        wanted = request.query_params.get("view", "")
        return self._html(
            "mail.html",
            sent=sent,
            mail=shown,
            views=views,
            view=wanted if wanted in views else views[0],
            remote=request.query_params.get("remote") == "1",
        )

    def mail_html(self, request: Request) -> Response:
        """Return a message's HTML, for a frame in which it can do nothing."""
        found = self._content(request)
        if found is None:
            return _missing("There is no such message in the outbox.")
        remote = request.query_params.get("remote") == "1"
        html = mailview.view(found[1], remote=remote).html
        page = f"{_MAIL_HEAD}<body>{html}</body></html>"
        return HTMLResponse(
            page,
            headers={
                "content-security-policy": _MAIL_POLICY.format(
                    remote=" https: http:" if remote else ""
                ),
                "x-frame-options": "SAMEORIGIN",
                "referrer-policy": "no-referrer",
            },
        )

    def mail_raw(self, request: Request) -> Response:
        """Return a message for download."""
        found = self._content(request)
        if found is None:
            return _missing("There is no such message in the outbox.")
        return _saved(found[1], f"{found[0].id}.eml", "message/rfc822")

    def mail_part(self, request: Request) -> Response:
        """Return an attachment for download."""
        found = self._content(request)
        part = found and mailview.attachment(found[1], request.path_params["number"])
        if not part:
            return _missing("There is no such attachment.")
        return _saved(part[1], part[0].name, part[0].type)

    def _content(self, request: Request) -> tuple[Any, bytes] | None:
        outbox = self._sources.outbox
        return None if outbox is None else outbox.content(request.path_params["id"])

    # --- rendering ---

    def _html(self, template: str, status: int = 200, **values: Any) -> Response:
        return HTMLResponse(self._render(template, **values), status)

    def _render(self, template: str, **values: Any) -> str:
        return self._templates.get_template(template).render(
            title=self._sources.title,
            poll=int(self._sources.poll_seconds * 1000),
            form=self._keys.form,
            has_outbox=self._sources.outbox is not None,
            has_tasks=self._sources.mailboxes is not None,
            **values,
        )


_MARKS = {
    Level.OK: "in order",
    Level.UNKNOWN: "not known",
    Level.WARNING: "will hurt",
    Level.CRITICAL: "hurts now",
}


def _saved(octets: bytes, name: str, kind: str) -> Response:
    """Return octets that a browser saves and never shows."""
    plain = name.encode("ascii", "replace").decode().replace("?", "_").replace('"', "_")
    return Response(
        octets,
        media_type=kind,
        headers={
            "content-disposition": (
                f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
            ),
            "content-security-policy": "sandbox; default-src 'none'",
        },
    )


def _missing(text: str) -> Response:
    return PlainTextResponse(f"{text}\n", 404)


def _asset(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _ASSETS:
        return _missing("There is no such file.")
    octets = resources.files("postal_plexus.console").joinpath("static", name).read_bytes()
    return Response(octets, media_type=_ASSETS[name])
