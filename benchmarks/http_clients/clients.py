"""The four clients, alike: `connect` gives a function that sends a request and reads the answer.

Each imports what it needs when it is chosen, so that a process holds one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

Exchange = Callable[[str, str, Mapping[str, str], bytes], tuple[int, bytes]]
"""Method, path, headers and body of a request; status and body of the answer."""


def own(host: str, port: int) -> Callable[[], Exchange]:
    """`deliver/aws/http.py`."""
    import ssl

    from postal_plexus.deliver.aws.http import Endpoint, HttpConnection

    tls = ssl.create_default_context()

    def connect() -> Exchange:
        connection = HttpConnection(Endpoint(secure=False, host=host, port=port), lambda: tls)

        def exchange(
            method: str, path: str, headers: Mapping[str, str], body: bytes
        ) -> tuple[int, bytes]:
            lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
            head = f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode()
            answer = connection.exchange(head + body)
            return answer.status, answer.read_all()

        return exchange

    return connect


def http_client(host: str, port: int) -> Callable[[], Exchange]:
    """Return a client of the standard library."""
    import ssl
    from http.client import HTTPConnection

    tls = ssl.create_default_context()

    def connect() -> Exchange:
        connection = HTTPConnection(host, port, timeout=30)
        assert tls

        def exchange(
            method: str, path: str, headers: Mapping[str, str], body: bytes
        ) -> tuple[int, bytes]:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            return answer.status, answer.read()

        return exchange

    return connect


def awscrt(host: str, port: int) -> Callable[[], Exchange]:
    """Return a client of AWS's runtime in C, of which it uses HTTP but not signing."""
    from io import BytesIO

    from awscrt import http, io

    loops = io.EventLoopGroup(1)
    bootstrap = io.ClientBootstrap(loops, io.DefaultHostResolver(loops))
    tls = io.ClientTlsContext(io.TlsContextOptions())
    options = io.SocketOptions()

    def connect() -> Exchange:
        assert tls
        connection = http.HttpClientConnection.new(host, port, bootstrap, options).result()

        def exchange(
            method: str, path: str, headers: Mapping[str, str], body: bytes
        ) -> tuple[int, bytes]:
            request = http.HttpRequest(
                method, path, http.HttpHeaders(list(headers.items())), BytesIO(body)
            )
            status = 0
            parts: list[bytes] = []

            def begun(status_code: int, **_: object) -> None:
                nonlocal status
                status = status_code

            def more(chunk: bytes, **_: object) -> None:
                parts.append(chunk)

            stream = connection.request(request, begun, more)
            stream.activate()
            stream.completion_future.result()
            return status, b"".join(parts)

        return exchange

    return connect


def pycurl(host: str, port: int) -> Callable[[], Exchange]:
    """libcurl."""
    from io import BytesIO

    import pycurl as curl

    def connect() -> Exchange:
        handle = curl.Curl()
        handle.setopt(curl.NOSIGNAL, 1)

        def exchange(
            method: str, path: str, headers: Mapping[str, str], body: bytes
        ) -> tuple[int, bytes]:
            answer = BytesIO()
            handle.setopt(curl.URL, f"http://{host}:{port}{path}")
            handle.setopt(curl.HTTPHEADER, [f"{name}: {each}" for name, each in headers.items()])
            if method == "POST":
                handle.setopt(curl.POSTFIELDS, body)
            else:
                handle.setopt(curl.HTTPGET, 1)
            handle.setopt(curl.WRITEDATA, answer)
            handle.perform()
            return handle.getinfo(curl.RESPONSE_CODE), answer.getvalue()

        return exchange

    return connect


CLIENTS = {"own sockets": own, "http.client": http_client, "awscrt": awscrt, "pycurl": pycurl}
