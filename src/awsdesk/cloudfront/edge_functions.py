"""CloudFront Functions on the desk, run by QuickJS, which comes with the desk.

ministack would run them in Node.js, which a desk need not have. Like CloudFront's runtime, QuickJS
has neither network nor files; `require` is not there (our function asks for no module), and a
function may take a second, where CloudFront gives it less than one millisecond.
"""

from __future__ import annotations

import importlib
import json
from typing import Any, cast

from awsdesk.ministack_patches import environment, private

_SECONDS = 1
_BYTES = 2 * 1024 * 1024  # CloudFront's own limit of a function's memory

_quickjs: Any = importlib.import_module("quickjs")  # it brings no types


def install() -> None:
    """Put this in the place of ministack's Node.js workers."""
    private.CLOUDFRONT_JS.replace("evaluate", evaluate)


def evaluate(code: bytes, event: dict[str, Any]) -> dict[str, Any]:
    """Return what the function returns for an event: a request or a response.

    Raises:
        CloudFrontFunctionError: ministack's; the function threw or took too much. The viewer
            gets 503, as from CloudFront.
    """
    context = _quickjs.Context()
    context.set_memory_limit(_BYTES)
    context.set_time_limit(_SECONDS)
    try:
        context.eval(code.decode("utf-8"))
        answer = context.eval(f"JSON.stringify(handler({json.dumps(event)}))")
    except _quickjs.JSException as error:
        raise environment.module("core.cloudfront_js").CloudFrontFunctionError(
            str(error)
        ) from error
    return cast("dict[str, Any]", json.loads(answer))
