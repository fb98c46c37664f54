"""A real Chromium for tests: Debian's, driven by Playwright, in a window that nobody sees."""

from __future__ import annotations

import shlex
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

DESKTOP, TELEPHONE = (1280, 800), (390, 844)
_MILLISECONDS = 30_000
expect.set_options(timeout=_MILLISECONDS)


@contextmanager
def chromium(*prefix: str) -> Iterator[Browser]:
    """Return Debian's browser; nothing is downloaded.

    `prefix` stands before its command: with `nsenter` it is in a network of its own. In this machine's it breaks
    off what it is loading whenever a container's interface comes or goes (ERR_NETWORK_CHANGED).
    """
    program = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    assert program, "there is no Chromium: tools/bootstrap test"
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "chromium"
        script.write_text(f'#!/bin/sh\nexec {shlex.join([*prefix, program])} "$@"\n')
        script.chmod(0o700)
        browser = playwright.chromium.launch(executable_path=script)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Window:
    """One window: the page in it, what it complained of, and what it asked for."""

    page: Page
    complaints: list[str] = field(default_factory=list[str])
    asked: list[str] = field(default_factory=list[str])

    def is_as_wide_as_the_window(self) -> bool:
        """Return whether nothing has to be scrolled sideways."""
        script = "document.documentElement.scrollWidth <= window.innerWidth"
        return bool(self.page.evaluate(script))

    def barriers(self) -> list[str]:
        """Return the violations of WCAG 2.2 A and AA that axe-core finds, by rule and place."""
        rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
        options = {"runOnly": rules, "resultTypes": ["violations"], "iframes": False}
        found = Axe().run(self.page, options=options).response["violations"]
        return [f"{each['id']}: {node['html']}" for each in found for node in each["nodes"]]


@contextmanager
def window(
    browser: Browser, size: tuple[int, int] = DESKTOP, colours: str = "light"
) -> Iterator[Window]:
    """Provide a window of a browser that has no history."""
    width, height = size
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if colours == "dark" else "light",
        has_touch=size == TELEPHONE,
        # What is still fading in has too little contrast.
        reduced_motion="reduce",
    )
    context.set_default_timeout(_MILLISECONDS)
    opened = Window(context.new_page())
    opened.page.on("console", lambda told: opened.complaints.append(told.text))
    opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
    opened.page.on("request", lambda request: opened.asked.append(request.url))
    try:
        yield opened
    finally:
        context.close()


@dataclass
class Tracker:
    """Somebody's server on this machine, as a sender of mail would have: what it was asked."""

    port: int
    requests: list[str] = field(default_factory=list[str])


@contextmanager
def tracker(address: str = "127.0.0.1") -> Iterator[Tracker]:
    """Provide a server that counts connections, also those in which nothing is said."""
    with socket.create_server((address, 0)) as listening:
        told = Tracker(listening.getsockname()[1])

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(1)
                    try:
                        told.requests.append(connection.recv(4096).decode("latin-1"))
                        connection.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
                    except OSError:
                        told.requests.append("")

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield told
        finally:
            listening.shutdown(socket.SHUT_RDWR)
