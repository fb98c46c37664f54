"""The results as a page, and the ratios in them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_DIRECTORY = (
    ("with the limits of a", "host"),
    ("the object, MB", "object_mb"),
    ("SES receipt rules (200 are allowed)", "rules"),
    ("`plexus check`, processor s", "check_s"),
    ("... its memory, MB", "check_mb"),
    ("reading the object, processor ms", "load_ms"),
    ("a look-up, µs", "lookup_us"),
    ("making the containers' tables, processor ms", "render_ms"),
    ("the directory in `deliver`'s memory, MB", "held_mb"),
    ("`deliver`, MB", "deliver_mb"),
    ("... at most while it follows a change", "deliver_most_mb"),
    ("... processor s for a change", "deliver_change_s"),
    ("Dovecot, MB", "dovecot_mb"),
    ("... at most while it follows a change", "dovecot_most_mb"),
    ("a login: the first after a start, ms", "login_first_ms"),
    ("... of the first mailbox of the stack file", "login_of_first_ms"),
    ("... its processor ms", "login_of_first_cpu_ms"),
    ("... of the last one", "login_of_last_ms"),
    ("... its processor ms", "login_of_last_cpu_ms"),
    ("... the slowest while Dovecot follows a change", "login_worst_ms"),
    ("Postfix, MB", "postfix_mb"),
    ("... at most while it follows a change", "postfix_most_mb"),
    ("... processor s for a change", "postfix_change_s"),
    ("from a change to a login with it, s (asked each second)", "change_s"),
)


def ratios(by_hosts: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return the speed with n hosts over n times that with one, by n."""
    one = by_hosts["1"]["per_second_median"]
    return {n: runs["per_second_median"] / one / int(n) for n, runs in by_hosts.items()}


def foreign_ms(by_hosts: Mapping[str, Mapping[str, Any]]) -> float:
    """Return the processor time of a notification that is another host's.

    With n hosts `deliver` has each message at one of them and its notification at all, so what it
    takes more than with one host is n - 1 of them. The most hosts show it best.
    """
    most = max(by_hosts, key=int)
    more = by_hosts[most]["deliver_ms_median"] - by_hosts["1"]["deliver_ms_median"]
    return max(0.0, more / (int(most) - 1))


def page(found: Mapping[str, Any]) -> str:
    """Return the page of the parts that were measured."""
    lines = ["# What grows with mailboxes, clients and hosts", ""]
    lines += ["Made by `make bench-scale`; [scale.md](../../docs/scale.md) says what follows.", ""]
    parts = {"directory": _directory, "hosts": _hosts, "sessions": _sessions, "day": _day}
    there = {name: render for name, render in parts.items() if name in found}
    for name, render in there.items():
        lines += [*render(found[name]), ""]
    rows: list[Sequence[str]] = []
    for name in there:
        about = found["about"][name]
        load = f"{about['load']:.1f}"
        rows.append((name, about["date"], about["machine"], load, about["commit"]))
    header = ("part", "measured on", "machine", "its load before", "commit")
    return "\n".join([*lines, *_table(header, rows), ""])


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 1) -> list[str]:
    """Return the lines of a table; all columns but the first ones hold figures."""
    kinds = ["---"] * texts + ["---:"] * (len(header) - texts)
    return [f"| {' | '.join(row)} |" for row in (header, kinds, *rows)]


def _directory(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    header = ("mailboxes", *(f"{row['mailboxes']:,}" for row in rows))
    figures = [(label, *(_figure(row.get(name)) for row in rows)) for label, name in _DIRECTORY]
    refused = [
        f"With {row['mailboxes']:,} mailboxes the object {row['refused']}."
        for row in rows
        if row.get("refused")
    ]
    about = (
        "`deliver` may use 40 MB on a t4g.nano, Dovecot 128 and Postfix 64; on a t4g.small 136, "
        "896 and 160."
    )
    return ["## The directory", "", *_table(header, figures), "", about, *refused]


def _hosts(found: Mapping[str, Any]) -> list[str]:
    rows: list[Sequence[str]] = []
    for way, name in (("queues", "queues"), ("proxy", "all through host 1")):
        linear = ratios(found[way])
        for n, runs in found[way].items():
            row = (
                name,
                n,
                f"{runs['per_second_median']:.1f}",
                f"{linear[n]:.2f}",
                f"{runs['all_ms_median']:.2f}",
                f"{runs['first_ms_median']:.2f}",
                ", ".join(f"{each:.1f}" for each in runs["per_second"]),
            )
            rows.append(row)
    header = (
        *("way", "hosts", "messages/s", "over n times one"),
        *("processor ms a message", "of it at host 1", "rounds"),
    )
    foreign = f"{foreign_ms(found['queues']):.2f} ms of `deliver`"
    about = f"A notification that is another host's takes {foreign}. {found['caps']}"
    return ["## Hosts with capped processors", "", *_table(header, rows), "", about]


def _sessions(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    rows: list[Sequence[str]] = []
    for memory, of in found.items():
        rows += [(memory, f"{step['sessions']:.0f}", f"{step['mb']:.1f}") for step in of["steps"]]
    header = ("limit of the container, MB", "quiet sessions", "MB without page cache")
    lines = ["## IMAP sessions", "", *_table(header, rows), ""]
    for memory, of in found.items():
        got_in = f"Of {of['asked']} clients {of['most']} got in, and {of['alive']} stayed"
        each = f"a session takes {of['session_mb'] * 1000:.0f} KB"
        locks = f"locks on the mail store: {of['store_locks']}"
        lines.append(
            f"With {memory} MB {each}. {got_in}; {locks}; killed for memory: {of['killed']}. "
            f"A message takes {of['delivery_ms']:.1f} ms of Dovecot's processor time, and a client "
            f"that fetches it and marks it as read {of['client_ms']:.1f} ms."
        )
    return lines


def _day(found: Mapping[str, Any]) -> list[str]:
    days: list[Sequence[str]] = []
    for row in found["rows"]:
        day = (
            f"{row['hosts']} x {row['type']}{row['what']}",
            f"{row['mailboxes']:,}",
            f"{row['messages']:,}",
            f"{row['p50']:.2f}",
            f"{row['p99']:.2f}",
            f"{row['worst']:.0f}",
            f"{row['busiest_hour']:.0%}",
            f"{row['mean_processors']:.2f}",
            f"{row['surplus_usd']:.2f}",
        )
        days.append(day)
    header = (
        *("hosts", "mailboxes", "messages a day", "age p50, s", "p99", "oldest"),
        *("busiest hour", "mean processors", "surplus, $ a month"),
    )
    needed = [
        (
            row["type"],
            f"{row['mailboxes']:,}",
            f"{row['by_processors'] or 'over 16'}",
            f"{row['by_sessions'] or 'over 16'}",
        )
        for row in found["hosts"]
    ]
    wants = ("type", "mailboxes", "hosts for the processors", "hosts for the sessions")
    lines = ["## A day, simulated", "", found["assumptions"], "", *_table(header, days), ""]
    return [*lines, *_table(wants, needed)]


def _figure(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}"
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
