"""The edge to AWS against scripted servers: every form of answer, and every way to break off."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postal_plexus.deliver.aws.credentials import CredentialsSource
from postal_plexus.deliver.aws.errors import DeniedError, UnreachableError
from postal_plexus.deliver.aws.http import Endpoint, HttpConnection
from postal_plexus.deliver.aws.session import Tls

Serve = Callable[[socket.socket, int], None]


@contextlib.contextmanager
def serving(serve: Serve) -> Iterator[int]:
    """Provide a server on a free port; `serve` gets each connection and its number."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        number = 0
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                serve(connection, number)
            number += 1

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def get(port: int, *, seconds: float = 5.0) -> HttpConnection:
    """Return a connection to it."""
    endpoint = Endpoint(secure=False, host="127.0.0.1", port=port)
    return HttpConnection(endpoint, Tls(""), answer_seconds=seconds)


REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def in_pieces(connection: socket.socket, octets: bytes, sizes: list[int]) -> None:
    """Send in those sizes, over and over."""
    turn = place = 0
    while place < len(octets):
        size = sizes[turn % len(sizes)]
        connection.sendall(octets[place : place + size])
        place += size
        turn += 1


@settings(max_examples=60)
@given(
    st.binary(max_size=400),
    st.sampled_from(["length", "chunked", "close"]),
    st.lists(st.integers(1, 60), min_size=1, max_size=4),
    st.integers(1, 100),
)
def test_a_body_is_whole_in_every_form(
    body: bytes, form: str, sizes: list[int], read_size: int
) -> None:
    """Content-Length, chunks, or until the close; sent and read in any pieces."""
    head = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX-A: b\r\n"
    if form == "length":
        answer = head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    elif form == "chunked":
        cut = [body[start : start + 37] for start in range(0, len(body), 37)]
        chunks = b"".join(b"%x;e=1\r\n%b\r\n" % (len(part), part) for part in cut)
        answer = head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\nT: x\r\n\r\n"
    else:
        answer = head + b"\r\n" + body

    def serve(connection: socket.socket, _number: int) -> None:
        for _ in range(1 if form == "close" else 2):
            if not connection.recv(4096):
                return
            in_pieces(connection, answer, sizes)

    with serving(serve) as port:
        connection = get(port)
        for _ in range(2):
            found = connection.exchange(REQUEST)
            assert ("b", 200) == (found.header("x-a"), found.status)
            read = b""
            while not found.over:
                read += found.read(read_size)
            assert body == read
        connection.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 2",
        b"220 mail.example.org ESMTP\r\n\r\n",
        b"",
    ],
)
def test_what_breaks_off_never_looks_whole(answer: bytes) -> None:
    """Too short, garbled, another protocol, nothing: UnreachableError."""

    def serve(connection: socket.socket, _number: int) -> None:
        connection.recv(4096)
        connection.sendall(answer)

    with serving(serve) as port, pytest.raises(UnreachableError):
        get(port).exchange(REQUEST).read_all()


def test_a_connection_that_the_server_closed_is_replaced_once() -> None:
    """Idle connections are closed by AWS at any time; the request is sent again on a new one."""

    def serve(connection: socket.socket, _number: int) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")

    with serving(serve) as port:
        connection = get(port)
        assert b"x" == connection.exchange(REQUEST).read_all()
        time.sleep(0.05)
        assert b"x" == connection.exchange(REQUEST).read_all()


def test_a_server_that_does_not_answer_is_given_up() -> None:
    """After the time limit, which the kernel keeps."""
    with serving(lambda connection, _: time.sleep(5) or connection.close()) as port:
        began = time.monotonic()
        with pytest.raises(UnreachableError, match="no answer within"):
            get(port, seconds=0.5).exchange(REQUEST)
        assert time.monotonic() - began < 3


def test_another_thread_can_wake_a_waiting_one() -> None:
    """The end of the service does not wait for a long poll."""
    with serving(lambda connection, _: time.sleep(5) or connection.close()) as port:
        connection = get(port, seconds=30)
        threading.Timer(0.3, connection.abort).start()
        began = time.monotonic()
        with pytest.raises(UnreachableError):
            connection.exchange(REQUEST)
        assert time.monotonic() - began < 3


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Return a certificate of that name, signed by itself."""
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, secret = folder / f"{name}.pem", folder / f"{name}.key"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return pem, secret


@pytest.mark.parametrize(
    ("name", "trusted", "passes"),
    [("localhost", True, True), ("localhost", False, False), ("other.example", True, False)],
)
def test_tls_is_verified(tmp_path: Path, name: str, trusted: bool, passes: bool) -> None:
    """A known authority and the host's own name, or nothing is sent."""
    pem, key = certificate(tmp_path, name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    asked: list[bytes] = []

    def serve(connection: socket.socket, _number: int) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            asked.append(secured.recv(4096))
            secured.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")

    with serving(serve) as port:
        endpoint = Endpoint(secure=True, host="localhost", port=port)
        connection = HttpConnection(endpoint, Tls(str(pem) if trusted else ""), answer_seconds=5)
        if passes:
            assert b"x" == connection.exchange(REQUEST).read_all()
        else:
            with pytest.raises(UnreachableError, match="CERTIFICATE_VERIFY_FAILED"):
                connection.exchange(REQUEST)
    assert ([REQUEST] if passes else []) == asked


def role(number: int, seconds: float) -> bytes:
    """Return the container endpoint's answer: the `number`th credentials, good for that time."""
    ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))
    body = json.dumps(
        {
            "AccessKeyId": f"key-{number}",
            "SecretAccessKey": "s",
            "Token": "t",
            "Expiration": ends,
        }
    ).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


@pytest.mark.parametrize(("seconds", "fetches"), [(3600, 1), (200, 3)])
def test_credentials_of_the_container_are_renewed_before_they_end(
    seconds: float, fetches: int
) -> None:
    """Fetched with the token, kept while they last, renewed when five minutes are left."""
    asked: list[bytes] = []

    def serve(connection: socket.socket, number: int) -> None:
        asked.append(connection.recv(4096))
        connection.sendall(role(number, seconds))

    with serving(serve) as port:
        environ = {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{port}/role",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": "sesame",
        }
        source = CredentialsSource(environ, Tls(""))
        keys = [source.get().access_key for _ in range(3)]
    assert fetches == len(asked)
    assert f"key-{fetches - 1}" == keys[-1]
    assert b"GET /role HTTP/1.1\r\n" in asked[0]
    assert b"Authorization: sesame\r\n" in asked[0]


def test_old_credentials_serve_while_their_endpoint_is_down() -> None:
    """Until they end; and none at all is an error that passes."""

    def serve(connection: socket.socket, number: int) -> None:
        connection.recv(4096)
        if number == 0:
            connection.sendall(role(0, 200))
        else:
            connection.sendall(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")

    with serving(serve) as port:
        environ = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{port}/"}
        source = CredentialsSource(environ, Tls(""))
        assert ["key-0"] * 3 == [source.get().access_key for _ in range(3)]
        with pytest.raises(DeniedError):
            CredentialsSource(environ, Tls("")).get()
