"""nginx's configuration has nothing of the modules in which faults were found, and which it does not need."""

from __future__ import annotations

import re
from pathlib import Path

WEB = Path(__file__).resolve().parents[3] / "containers/web"
# CVE-2026-42945 and 9256 (rewrite), 42926 (HTTP/2 behind nginx), 42934 (conversion of charsets), 42946
# (scgi, uwsgi), 40460 (QUIC), OCSP, mp4 and WebDAV (CVE-2024-7347 and others).
NOT_USED = re.compile(
    r"\s*(?:rewrite|charset_map|source_charset|override_charset|proxy_http_version\s+2|grpc_pass"
    r"|uwsgi_pass|scgi_pass|http3|quic|listen[^;]*quic|ssl_stapling|ssl_ocsp|mp4|dav_methods)\b"
)


def test_nginx_uses_nothing_that_it_need_not() -> None:
    """No configuration file has a directive of such a module."""
    lines = [line for path in WEB.glob("*.conf") for line in path.read_text().splitlines()]
    assert len(lines) > 100
    assert [] == [line for line in lines if NOT_USED.match(line)]
