"""What can go wrong with AWS. Everything below this package raises one of these and nothing else.

AwsError
 +- AwsTransientError      may succeed when tried again
 |   +- UnreachableError   no answer: name, network, TLS, time-out, or a body that ended too early
 |   +- ThrottledError     asked too often
 |   +- ServerFaultError   5xx
 |   +- DeniedError        403: policy, or credentials that were just renewed or taken away
 +- MissingError           the object or the queue is not there
 +- RefusedError           any other 4xx: the request itself is wrong
"""


class AwsError(Exception):
    """A request that did not succeed."""

    def __init__(self, operation: str, code: str, text: str, status: int = 0) -> None:
        super().__init__(f"{operation}: {code}" + (f": {text}" if text else ""))
        self.operation = operation
        self.code = code
        self.status = status


class AwsTransientError(AwsError):
    """Worth another try."""


class UnreachableError(AwsTransientError):
    """There was no complete response."""


class ThrottledError(AwsTransientError):
    """Too many requests."""


class ServerFaultError(AwsTransientError):
    """A 5xx."""


class DeniedError(AwsTransientError):
    """Not allowed, at least at this moment."""


class MissingError(AwsError):
    """The requested thing does not exist."""


class RefusedError(AwsError):
    """AWS understood the request and refused it."""


_THROTTLES = ("Throttl", "SlowDown", "TooManyRequests", "RequestLimitExceeded", "OverLimit")
_MISSING = ("NoSuchKey", "NoSuchBucket", "NonExistentQueue", "QueueDoesNotExist", "NotFound")


def from_answer(operation: str, status: int, code: str, text: str) -> AwsError:
    """Return the error for a response with that status and AWS error code."""
    code = code or f"HTTP {status}"
    if status == 429 or any(word in code for word in _THROTTLES):
        kind: type[AwsError] = ThrottledError
    elif status >= 500:
        kind = ServerFaultError
    elif any(word in code for word in _MISSING) or status == 404:
        kind = MissingError
    elif status in {401, 403} or "ExpiredToken" in code or "UnrecognizedClient" in code:
        kind = DeniedError
    else:
        kind = RefusedError
    return kind(operation, code, text, status)
