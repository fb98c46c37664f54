"""A journey in words, and as a document."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from postal_plexus.mail.printable import printable
from postal_plexus.tracing.journey import Journey, Outcome
from postal_plexus.tracing.step import State, Step

# Longer than any line of our services; longer text is truncated, only on the terminal.
_LONGEST_TEXT = 700
# By then SES has nearly always reported the outcome.
_SOON = timedelta(minutes=15)
_LONG = timedelta(days=1)

_KINDS = {
    "receipt": "received by SES as",
    "queue": "in Postfix's queue as",
    "ses": "sent by SES as",
}
_AHEAD = {
    State.WAITING: "waits",
    State.FORWARDED: "on its way out",
    State.SENT: "SES has it",
    State.DELIVERED: "delivered",
    State.DISCARDED: "thrown away by the recipient's own filter",
    State.REDIRECTED: "sent on by the recipient's own filter",
    State.ARRIVED: "delivered to its server",
    State.COMPLAINED: "delivered, and called unwanted",
    State.FAILED: "failed",
    State.BOUNCED: "failed; the sender is told",
    State.HELD: "among the dead letters (plexus dead-letters list)",
    State.DROPPED: "dropped",
}


def headline(journey: Journey) -> str:
    """Return a journey in one line: when, from whom, to whom."""
    sender = "?" if journey.sender is None else journey.sender or "<> (a bounce or notice)"
    people = [each.fate.recipient for each in journey.outcomes] or sorted(
        journey.addresses - {sender.lower()}
    )
    shown = ", ".join(people[:3]) + (f" and {len(people) - 3} others" if len(people) > 3 else "")
    about = f", “{journey.subject}”" if journey.subject else ""
    return printable(f"{_date(journey.began)}  {sender} → {shown or '?'}{about}", _LONGEST_TEXT)


def summary(journey: Journey) -> str:
    """Return the outcome in a few words."""
    states = dict.fromkeys(_AHEAD[each.fate.state] for each in journey.outcomes)
    return "; ".join(states) or ("waits" if journey.is_under_way else journey.steps[-1].text)


def lines(journey: Journey, now: datetime) -> Iterator[str]:
    """Return the whole journey: ids, each step with its time, the outcome for each recipient."""
    yield headline(journey)
    for name in journey.message_ids:
        yield f"  Message-ID <{printable(name)}>"
    for kind, name in _KINDS.items():
        if found := journey.named(kind):
            yield f"  {name} {', '.join(found[:10])}"
    for step in journey.steps:
        if step.text:
            text = printable(step.text, _LONGEST_TEXT)
            yield f"  {step.at.astimezone(UTC):%H:%M:%S.%f}"[:-3] + f"  {step.where:<8} {text}"
    for each in journey.outcomes:
        yield printable(f"  → {_outcome(each, journey.began, now)}", _LONGEST_TEXT)
    if not journey.outcomes and journey.is_under_way:
        yield f"  → {_unknown(journey, now)}"


def _outcome(outcome: Outcome, began: datetime, now: datetime) -> str:
    fate = outcome.fate
    said = f"{fate.recipient}: {_AHEAD[fate.state]}"
    if fate.folder:
        said += f", in the folder {fate.folder}"
    if outcome.rule:
        said += f", by the rule {outcome.rule}"
    if fate.words:
        said += f": {fate.words}"
    if outcome.is_final:
        return f"{said} ({span(outcome.since - began)} after the first line)"
    said += f", since {_date(outcome.since)} ({span(now - outcome.since)})"
    if fate.state is State.SENT and now - outcome.since > _SOON:
        return f"{said}; SES says when the other side has taken it, or why not"
    if fate.state is State.WAITING:
        return f"{said}; tried again by itself, with growing waits, for five days"
    return said


def _unknown(journey: Journey, now: datetime) -> str:
    since = f"since {_date(journey.began)} ({span(now - journey.began)})"
    if journey.named("receipt"):
        said = f"no line of `deliver` is of it: it waits in the queue, {since}; see plexus doctor"
        gone = "; or its lines are gone, being older than `log-days`"
        return said + (gone if now - journey.began > _LONG else "")
    return f"no line says what came of it, {since}"


def document(journey: Journey) -> dict[str, object]:
    """Return a journey for JSON. Times are in UTC (RFC 3339)."""
    return {
        "message_ids": list(journey.message_ids),
        "ids": {kind: list(journey.named(kind)) for kind in (*_KINDS, "session")},
        "sender": journey.sender,
        "subject": journey.subject or None,
        "began": _iso(journey.began),
        "under_way": journey.is_under_way,
        "recipients": [
            {
                "address": each.fate.recipient,
                "state": each.fate.state.value,
                "words": each.fate.words,
                "folder": each.fate.folder or None,
                "rule": each.rule or None,
                "since": _iso(each.since),
            }
            for each in journey.outcomes
        ],
        "steps": [_step(step) for step in journey.steps if step.text],
    }


def _step(step: Step) -> dict[str, object]:
    return {"at": _iso(step.at), "where": step.where, "text": step.text, "ids": sorted(step.ids)}


def span(time: timedelta) -> str:
    """Return a duration, in its largest unit."""
    seconds = max(0.0, time.total_seconds())
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s"


def _date(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
