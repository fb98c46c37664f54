"""What a run found: figures from samples, the table, and the picture. Pure but for `write`."""

from __future__ import annotations

import json
import statistics
from typing import TYPE_CHECKING, Any

from benchmarks.mailhost import svg
from benchmarks.mailhost.report import percentile, runs
from benchmarks.peers.definitions import IDLE_CLIENTS, OURS, PEERS, SAME, TITLES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Figures = dict[str, dict[str, float]]  # system, row

# Title, key, whether more is better.
ROWS = (
    ("Messages in a second, 4 KB", "in_4", True),
    ("Messages in a second, 100 KB", "in_100", True),
    ("Messages in a second until at rest, 4 KB", "sustained_4", True),
    ("Messages in a second until at rest, 100 KB", "sustained_100", True),
    ("Processor for a message, 4 KB, ms", "processor_4", False),
    ("of it Dovecot, ms", "dovecot_4", False),
    ("Processor for a message, 100 KB, ms", "processor_100", False),
    ("of it Dovecot, ms", "dovecot_100", False),
    ("Last octet to IDLE notice, p50, ms", "notice_p50", False),
    ("Last octet to IDLE notice, p99, ms", "notice_p99", False),
    ("Memory at rest, MB", "memory_rest", False),
    ("Memory with 50 in IDLE, MB", "memory_idle", False),
    ("Memory of a session in IDLE, MB", "memory_session", False),
    ("Memory, busy, MB", "memory_busy", False),
    ("Big mailbox: SELECT, ms", "select", False),
    ("Big mailbox: last 100 headers, ms", "headers", False),
    ("Big mailbox: body search, first, ms", "search_first", False),
    ("Big mailbox: body search, repeated, ms", "search_again", False),
    ("Disk for a message of 4 KB, octets", "octets", False),
    ("Submission to relay, messages a second", "relay", True),
)
PICTURE = ("in_4", "notice_p50", "memory_idle", "search_again")


def figures(samples: Mapping[str, Mapping[str, Any]]) -> Figures:
    """Return the figure of each row and system: medians, but for notices their percentiles."""
    found: Figures = {}
    for name, of in samples.items():
        row: dict[str, float] = {}
        for key, values in of.items():
            if key == "notice":
                row["notice_p50"] = percentile(values, 50) * 1000
                row["notice_p99"] = percentile(values, 99) * 1000
            elif isinstance(values, list) and values:
                row[key] = statistics.median(values)
        # Hibernated sessions may take less than what the figure at rest varies by.
        if row.get("memory_idle", 0) > row.get("memory_rest", 0):
            row["memory_session"] = (row["memory_idle"] - row["memory_rest"]) / IDLE_CLIENTS
        found[name] = row
    return found


def places(found: Figures, key: str, *, more: bool) -> tuple[int, int]:
    """Return our place in a row, 1 the best and 0 for none, and how many have a figure there."""
    values = {name: row[key] for name, row in found.items() if key in row}
    if OURS not in values:
        return 0, len(values)
    ours = values[OURS]
    better = sum((value > ours) if more else (value < ours) for value in values.values())
    return better + 1, len(values)


def shown(value: float | None) -> str:
    """Return a figure as the text of a cell."""
    if value is None:
        return ""
    if value < 5:
        return f"{value:.2f}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def table(results: Mapping[str, Any]) -> str:
    """Return the page of Markdown."""
    parts = [_measured(results)] if "samples" in results else []
    if "power" in results:
        parts.append(_cut(results["power"]))
    return "\n".join(parts)


def _cut(power: Mapping[str, Any]) -> str:
    """Return the part about power cuts: each system's figures, cut by cut."""
    columns = (
        *("", "date", "messages acknowledged", "in no mailbox and no queue"),
        *("of these in a file", "in a mailbox twice", "writes not flushed"),
    )
    lines = [
        "## What a power cut loses",
        "",
        "Each system in a virtual machine, with its queue and mail on a disk whose cache forgets",
        "what was not flushed; figures of each cut. Made by",
        "`make bench-peers BENCH_PEERS_ARGS='--only power'`.",
        "",
        f"| {' | '.join(columns)} |",
        "|" + "---|" * len(columns),
    ]
    for name in TITLES:
        if name not in power:
            continue
        cells = " | ".join(
            ", ".join(str(each[key]) for each in power[name]["cuts"])
            for key in ("acknowledged", "missing", "hidden", "twice", "writes")
        )
        lines.append(f"| {TITLES[name]} | {power[name]['date']} | {cells} |")
    return "\n".join(lines) + "\n"


def _measured(results: Mapping[str, Any]) -> str:
    found = figures(results["samples"])
    names = [name for name in TITLES if name in found]
    about = results["about"]
    lines = [
        "# Beside its peers, measured",
        "",
        f"{about['date']}, {about['machine']}; {about['rounds']} rounds in turns, medians;"
        f" the big mailbox has {about['mails']:,} messages of 4 KB."
        + (f" {about['note']}." if about.get("note") else "")
        + " Made by `make bench-peers`; docs/benchmarks.md says how.",
        "",
        "| | "
        + " | ".join(TITLES[name] for name in names)
        + " | our place | ours by same features |",
        "|---|" + "---:|" * (len(names) + 2),
    ]
    for title, key, more in ROWS:
        place, of = places(found, key, more=more)
        if not of:
            continue
        cells = " | ".join(shown(found[name].get(key)) for name in names)
        lines.append(
            f"| {title} | {cells} | {f'{place} of {of}' if place else ''} | {_ratio(found, key)} |"
        )
    lines += ["", "| | versions | what an acknowledged message survives | has, and we have not |"]
    lines += ["|---|---|---|---|"]
    for peer in PEERS:
        if peer.name in found:
            lines.append(
                f"| {peer.title} | {_versions(about['versions'].get(peer.name))} | {peer.safe}"
                f" | {peer.beyond} |"
            )
    if OURS in found:
        lines.append(
            f"| {TITLES[OURS]} | {_versions(about['versions'].get(OURS))} | the loss of the host:"
            " it is in S3 and SQS until message, directory and index are synced | |"
        )
    if again := about.get("again"):
        lines += ["", "Measured again, by itself: "]
        lines[-1] += "; ".join(f"{part} ({run})" for part, run in again.items()) + "."
    if proven := about.get("proven"):
        lines += ["", "Seen before anything was measured:", ""]
        for name, seen in proven.items():
            lines.append(f"- {TITLES[name]}: " + "; ".join(f"{k}: {v}" for k, v in seen.items()))
    return "\n".join(lines) + "\n"


def _ratio(found: Figures, key: str) -> str:
    """Return our figure divided by that of the system with the same features, if both are there."""
    ours, same = (found.get(name, {}).get(key) for name in (OURS, SAME))
    return f"{ours / same:.2f}" if ours and same else ""


def _versions(of: Mapping[str, str] | None) -> str:
    return ", ".join(f"{name} {version}" for name, version in (of or {}).items())


def drawn(results: Mapping[str, Any]) -> str:
    """Return the picture: a group of bars for each of four rows."""
    found = figures(results["samples"])
    names = [name for name in TITLES if name in found]
    rows = [row for row in ROWS if row[1] in PICTURE and any(row[1] in found[n] for n in names)]
    left, right, line = 230, 70, svg.BAR + svg.GAP
    group = line * len(names) + 44
    parts = svg.opening(
        60 + group * len(rows), "Postal Plexus beside its peers", "Beside its peers, one machine"
    )
    for index, (title, key, more) in enumerate(rows):
        top = 62 + group * index
        most = max(found[name].get(key, 0) for name in names) or 1
        scale = (svg.WIDTH - left - right) / most
        better = "more is better" if more else "less is better"
        parts.append(svg.text(20, top, f"{title} ({better})", svg.INK, 'font-weight="600"'))
        for row, name in enumerate(names):
            if key not in found[name]:
                continue
            y, value = top + 10 + row * line, found[name][key]
            colour = svg.OURS if name == OURS else svg.THEIRS
            parts.append(svg.text(left - 10, y + 15, TITLES[name], svg.INK, 'text-anchor="end"'))
            parts += svg.bar(left, y, value * scale, value, colour)
    return svg.closed(parts)


def write(results: Mapping[str, Any], directory: Path) -> None:
    """Write `peers.json`, `peers.md` and `peers.svg`."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "peers.json").write_text(json.dumps(results, indent=1) + "\n")
    (directory / "peers.md").write_text(table(results))
    if "samples" in results:
        (directory / "peers.svg").write_text(drawn(results))


def merged(
    before: Mapping[str, Any], found: Mapping[str, Any], parts: Sequence[str]
) -> dict[str, Any]:
    """Return results with those of a run of some parts, which replace earlier ones of these."""
    if "samples" not in before:
        return {**before, **found}
    samples = {
        name: {**before["samples"].get(name, {}), **found["samples"].get(name, {})}
        for name in TITLES
        if name in before["samples"] or name in found["samples"]
    }
    about = found["about"]
    commit = about["versions"][OURS]["commit"]
    again = runs(before["about"].get("again", {}), parts, about["date"], commit)
    return {**before, "about": {**before["about"], "again": again}, "samples": samples}
