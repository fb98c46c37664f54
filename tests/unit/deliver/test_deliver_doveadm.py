"""The doveadm client on a real socket: answers in parts, refusals, and a Dovecot that goes away."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from postal_plexus.deliver.doveadm import Doveadm, DoveadmError, RefusedError, ask

GREETING = (b"+", b"\n")
Serve = Callable[..., str]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Provide a server that sends these parts, one write each, after the client's command."""
    asked: list[bytes] = []
    threads: list[threading.Thread] = []
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "doveadm.sock"))
    listener.listen()

    def answer(greeting: tuple[bytes, ...], parts: tuple[bytes, ...]) -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):  # the client may have gone
            asked.append(connection.recv(1024))
            for part in greeting:
                connection.sendall(part)
            if b"+\n" == b"".join(greeting):
                asked.append(connection.recv(1024))
            for part in parts:
                connection.sendall(part)

    def made(*parts: bytes, greeting: tuple[bytes, ...] = GREETING) -> str:
        threads.append(threading.Thread(target=answer, args=(greeting, parts)))
        threads[-1].start()
        return str(tmp_path / "doveadm.sock")

    yield made
    for thread in threads:
        thread.join(5)
    listener.close()


def asked(path: str, *words: str, longest: int = 1000) -> str:
    return ask(path, "ann@example.org", *words, seconds=5, longest=longest)


@pytest.mark.parametrize(
    ("parts", "answer"),
    [
        ((b"+\n",), ""),
        ((b"\n+\n",), ""),
        ((b"a\tb\t\n+\n",), "a\tb\t"),
        ((b"a\tb", b"\t\n", b"+", b"\n"), "a\tb\t"),
        # A field that looks like an end has a tab after it.
        ((b"+\t\n", b"-5\t\n+\n"), "+\t\n-5\t"),
        ((b"a\xff\t\n+\n",), "a\ufffd\t"),
    ],
)
def test_an_answer_ends_with_a_plus(serve: Serve, parts: tuple[bytes, ...], answer: str) -> None:
    """However it is cut into parts."""
    assert answer == asked(serve(*parts), "quota get")


@pytest.mark.parametrize(
    ("parts", "greeting", "error", "word"),
    [
        ((b"-\n",), GREETING, RefusedError, ""),
        ((b"\n-NOUSER\n",), GREETING, RefusedError, "NOUSER"),
        ((b"a\tb\t\n",), GREETING, DoveadmError, "broke off"),
        ((b"a" * 200_000 + b"\n+\n",), GREETING, DoveadmError, "broke off"),
        ((), (b"-\n",), DoveadmError, "refuses the connection"),
        ((), (), DoveadmError, "refuses the connection"),
    ],
)
def test_what_is_no_answer_is_an_error(
    serve: Serve, parts: tuple[bytes, ...], greeting: tuple[bytes, ...], error: type, word: str
) -> None:
    """Dovecot's own word where it says one."""
    with pytest.raises(DoveadmError, match=f"^.*{word}.*$") as raised:
        asked(serve(*parts, greeting=greeting), "who")
    assert raised.type is error


def test_whether_a_mailbox_holds_a_mail(serve: Serve, tmp_path: Path) -> None:
    """The answer is found, not found, or unknown if doveadm refuses or is not running."""
    hit = b"6d2f0c1c4f2b6a65\t12\t\n+\n"
    results = [
        Doveadm(serve(*parts)).holds("ann@example.org", "1")
        for parts in ((hit,), (b"\n+\n",), (b"\n-NOUSER\n",))
    ]
    assert [True, False, None] == results
    assert Doveadm(str(tmp_path / "nothing")).holds("ann@example.org", "1") is None
