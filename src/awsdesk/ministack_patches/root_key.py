"""Require the emulated account's root user to sign its requests.

ministack accepts its root user without checking the signature, with any of several keys. On a desk
the port is open to the containers' network. Therefore a request that claims to be root must have
the desk's own key and a valid SigV4 signature.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, quote

from awsdesk.ministack_patches import environment


@dataclass(frozen=True)
class RootKey:
    """The desk's root key."""

    key_id: str
    secret: str

    def refusal(self, scope: dict[str, Any], body: bytes) -> str | None:
        """Return why a request is refused; None if it is signed, or does not claim to be root."""
        sigv4 = environment.module("core.sigv4")
        evaluator = environment.module("core.iam_evaluator")
        headers = _headers(scope)
        query = parse_qs(scope["query_string"].decode("utf-8", "replace"), keep_blank_values=True)
        claimed = environment.module("core.router").extract_access_key_id(headers, query)
        if not claimed or not evaluator.is_root_access_key(claimed):
            return None  # ministack checks IAM keys and sessions itself
        signature = sigv4.parse_header_signature(headers)
        if claimed != self.key_id or isinstance(signature, tuple):
            return "the key is not the desk's root key, or the request is not signed by header"
        raw_path = scope.get("raw_path") or quote(scope["path"]).encode()
        failure = sigv4.header_signature_failure(
            signature,
            self.secret,
            scope["method"],
            raw_path.decode("latin-1"),
            query,
            headers,
            body,
        )
        return None if failure is None else str(failure[1])


def _headers(scope: dict[str, Any]) -> dict[str, str]:
    decode = environment.module("core.sigv4").decode_header_value
    found: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), decode(raw_value)
        # SigV4 signs the values of a repeated header joined by commas.
        found[name] = f"{found[name]},{value}" if name in found else value
    return found
