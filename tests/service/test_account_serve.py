"""The account page's process answers HTTP on its socket, and survives invalid requests."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from wire import await_true


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Start the page without a keeper; yield its socket."""
    folder = tmp_path_factory.mktemp("page")
    path = folder / "account.sock"
    environment = os.environ | {
        "PLEXUS_ACCOUNT_SOCKET": str(path),
        "PLEXUS_KEEPER_SOCKET": str(folder / "keeper.sock"),
    }
    command = [sys.executable, "-m", "postal_plexus.account.web.serve"]
    running = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    try:
        await_true("the page's socket", lambda: path.exists() or running.poll() is not None)
        yield path
    finally:
        running.terminate()
        running.communicate(timeout=30)


def ask(page: Path, octets: bytes) -> bytes:
    """Return the response; empty if it hangs up."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        await_true("a connection", lambda: connection.connect_ex(str(page)) == 0)
        connection.sendall(octets)
        with connection.makefile("rb") as file:
            try:
                return file.read()
            except ConnectionResetError:
                return b""


def request(line: str, *headers: str, body: str = "") -> bytes:
    """Return a request in the form that nginx passes on."""
    lines = (line, "Host: mail.example.org", "X-Real-IP: 192.0.2.1", "Connection: close", *headers)
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def test_it_answers_on_its_socket(page: Path) -> None:
    """Only its own user and nginx's group can open the socket."""
    answer = ask(page, request("GET /account/ HTTP/1.1"))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Log in" in answer
    assert b"\r\nServer:" not in answer
    assert 0o660 == page.stat().st_mode & 0o777
    style = ask(page, request("GET /account/style.css HTTP/1.1", "Sec-Fetch-Dest: style"))
    assert b"Content-Type: text/css" in style


def test_a_login_without_the_keeper_is_told(page: Path) -> None:
    """The user gets an error page; no answer contains the password."""
    body = "address=ann%40example.org&password=the+first+passphrase"
    kind = "Content-Type: application/x-www-form-urlencoded"
    sent = request(
        "POST /account/login HTTP/1.1",
        kind,
        f"Content-Length: {len(body)}",
        "Origin: https://mail.example.org",
        body=body,
    )
    answer = ask(page, sent)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"passphrase" not in answer


@pytest.mark.parametrize(
    "octets",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        request("GET /account/%00%ff%2e%2e/ HTTP/1.1"),
        request("POST /account/login HTTP/1.1", "Content-Length: 99999999"),
        request("POST /account/login HTTP/1.1", "Content-Length: -1"),
        request("POST /account/login HTTP/1.1", "Transfer-Encoding: chunked", body="0\r\n\r\n"),
        request("GET /account/ HTTP/1.1", "X: " + "x" * 300_000),
    ],
    ids=range(6),
)
def test_no_request_ends_it(page: Path, octets: bytes) -> None:
    """It refuses each, and continues."""
    assert b" 200 " not in ask(page, octets).partition(b"\r\n")[0]
    assert b" 200 " in ask(page, request("GET /account/ HTTP/1.1")).partition(b"\r\n")[0]
