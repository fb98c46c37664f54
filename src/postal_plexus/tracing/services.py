"""The services whose logs are read, each with the parser of its lines."""

from datetime import datetime

from postal_plexus.tracing import deliver_log, dovecot_log, postfix_log
from postal_plexus.tracing.step import Step

_READERS = {
    "deliver": deliver_log.steps,
    "dovecot": dovecot_log.steps,
    "postfix": postfix_log.steps,
}
SERVICES = tuple(_READERS)


def steps_of(service: str, at: datetime, line: str) -> tuple[Step, ...]:
    """Return the steps in a line of a service's log; none if it is not about a message.

    Args:
        service: by our name.
        at: when it was written, for a line without a time of its own.
        line: one line of the log.
    """
    return _READERS[service](at, line)
