"""What runs found, as JSON, as tables, and the demands beside them.

A run may measure some parts only; the others stay as an earlier run left them, each part with its
own date and commit.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from benchmarks.mailhost import report
from benchmarks.mailhost.report import short

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# What must be reached: name, key, comparison, figure.
DEMANDS = (
    ("Processes killed for want of memory", "killed", "<=", 0),
    ("Limit of dovecot, MB", "limit_dovecot", "<=", 64),
    ("Limit of postfix, MB", "limit_postfix", "<=", 64),
    ("Limit of deliver, MB", "limit_deliver", "<=", 40),
    ("IDLE notice after LMTP's reply, p50, ms", "notice_ours_p50_ms", "<=", 20),
    ("IDLE notice after LMTP's reply, p99, ms", "notice_ours_p99_ms", "<=", 30),
    ("SELECT of the big mailbox, warm, ms", "select_ms", "<=", 1),
    ("Headers of the last 100, ms", "headers_ms", "<=", 5),
    ("Repeated body search, ms", "search_ms", "<=", 20),
    ("Delivery into the big mailbox over into an empty one", "delivery_ratio", ">=", 0.75),
    ("Relay over Postfix's default configuration", "relay_ratio", ">=", 0.95),
    ("... and its memory over the default's", "relay_memory_ratio", "<=", 1 / 3),
)


def flat(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return all figures of all parts by their keys."""
    found: dict[str, Any] = {}
    for part in parts.values():
        found |= part["found"]
    if "memory" in found:
        ours = found["memory"]["ours"]
        found["killed"] = sum(used["killed"] for used in ours.values())
        found |= {f"limit_{name}": used["limit"] for name, used in ours.items()}
    return found


def judged(parts: Mapping[str, Any]) -> list[tuple[str, float, str, float, bool]]:
    """Return each demand whose figure was measured: name, found, comparison, wanted, reached."""
    return report.judged(flat(parts), DEMANDS)


def table(parts: Mapping[str, Any]) -> str:
    """Return a page of Markdown."""
    found = flat(parts)
    lines = [
        "# The three containers of a host, measured",
        "",
        "Made by `make bench-host`; docs/benchmarks.md says how.",
        "",
        "| | measured | wanted | reached |",
        "|---|---:|---:|---|",
    ]
    lines += [
        f"| {name} | {short(value)} | {comparison} {short(wanted)} | {'yes' if reached else 'no'} |"
        for name, value, comparison, wanted, reached in judged(parts)
    ]
    if "memory" in found:
        lines += _memory(found["memory"])
    if "notice_ours_p50_ms" in found:
        lines += [
            "",
            "| IDLE notice after LMTP's reply, ms | p50 | p99 |",
            "|---|---:|---:|",
            *(
                f"| {which} | {found[f'notice_{which}_p50_ms']:.1f} "
                f"| {found[f'notice_{which}_p99_ms']:.1f} |"
                for which in ("ours", "defaults")
            ),
        ]
    if "select_ms" in found:
        lines += _mailbox(found)
    if "searched_mails" in found:
        lines += _search(found)
    if "neighbour" in found:
        lines += neighbours(found["neighbour"])
    if "index_copy" in found:
        lines += _index_copy(found["index_copy"])
    if "relay_ours" in found:
        lines += [
            "",
            "| Postfix, from a neighbour to SES | messages a second | anonymous memory, MB |",
            "|---|---:|---:|",
            f"| ours | {found['relay_ours']:.0f} | {found['relay_memory_ours']} |",
            f"| defaults | {found['relay_defaults']:.0f} | {found['relay_memory_defaults']} |",
        ]
    if "formats" in found:
        lines += _formats(found["formats"])
    lines += ["", "| part | measured on | with |", "|---|---|---|"]
    lines += [
        f"| {name} | {part['date']} | {part['machine']}; "
        + ", ".join(f"{of} {version}" for of, version in part["versions"].items())
        + " |"
        for name, part in parts.items()
    ]
    return "\n".join(lines) + "\n"


def _index_copy(copied: Mapping[str, Any]) -> list[str]:
    indexes, messages = f"{copied['copied_folders']:,}", f"{copied['copied_mails']:,}"
    return [
        "",
        f"| Copy of {indexes} indexes, {messages} messages | s |",
        "|---|---:|",
        *(
            f"| {name} | {copied[f'copy_{key}_seconds']:.1f} |"
            for name, key in (
                ("the first time", "new"),
                ("after a change in 20 folders", "few"),
                ("after a change in each folder", "all"),
            )
        ),
    ]


def _memory(memory: Mapping[str, Any]) -> list[str]:
    lines = [
        "",
        "| Memory in a busy hour, MB | limit | peak | anonymous | killed |",
        "|---|---:|---:|---:|---:|",
    ]
    for which, containers in memory.items():
        lines += [
            f"| {name}, {which} | {used['limit']} | {used['peak']} | {used['anonymous']} "
            f"| {used['killed']} |"
            for name, used in containers.items()
        ]
        peak, anonymous = (
            sum(used[key] for used in containers.values()) for key in ("peak", "anonymous")
        )
        lines.append(f"| together, {which} | | {peak:.1f} | {anonymous:.1f} | |")
    return lines


def neighbours(found: Mapping[str, Any]) -> list[str]:
    """Return the table of how long other users wait, by what the busy user does."""
    alone = found["nobody"]
    return [
        "",
        "| A neighbour waits, ms, while one user repeats | p50 | p99 | worst | over alone |",
        "|---|---:|---:|---:|---:|",
        *(
            f"| {name} | {row['p50']:.1f} | {row['p99']:.1f} | {row['worst']:.1f} "
            f"| {row['worst'] / alone['worst']:.1f} |"
            for name, row in found.items()
        ),
    ]


def _mailbox(found: Mapping[str, Any]) -> list[str]:
    rows = (
        ("SELECT, warm (p99)", "select_ms", "select_p99_ms"),
        ("SELECT in a new session", "select_new_session_ms", None),
        ("Headers of the last 100 (the first time)", "headers_ms", "headers_first_ms"),
        ("Body search, repeated (p99)", "search_ms", "search_p99_ms"),
        ("Body search, the first time (slowest)", "search_first_ms", "search_first_most_ms"),
    )
    lines = [
        "",
        f"| In a mailbox of {found['mails']:,} messages, ms | median | |",
        "|---|---:|---:|",
    ]
    lines += [
        f"| {name} | {found[key]:.2f} | {f'{found[other]:.2f}' if other else ''} |"
        for name, key, other in rows
    ]
    hits, most = found["search_hits"], found["search_hits_most"]
    rate = found["index_mails"] / found["index_seconds"]
    return [
        *lines,
        f"| Messages that a body search finds (most) | {hits:,} | {most:,} |",
        f"| Making its search index anew, messages a second | {rate:.0f} | |",
        "",
        "| Delivery, messages a second | |",
        "|---|---:|",
        f"| into an empty mailbox | {found['delivery_empty']:.0f} |",
        f"| into that of {found['mails']:,} | {found['delivery_big']:.0f} |",
    ]


def _search(found: Mapping[str, Any]) -> list[str]:
    languages = ("latin", "japanese")
    rows = (
        (
            "Index, octets a message",
            lambda of: found[f"{of}_index_octets"] / found["searched_mails"],
        ),
        (
            "Making it, messages a processor second",
            lambda of: found["searched_mails"] / found[f"{of}_index_seconds"],
        ),
        ("A word, processor ms", lambda of: found[f"{of}_word_ms"]),
        ("A phrase of one message", lambda of: found[f"{of}_rare_phrase_ms"]),
        ("A phrase of common words", lambda of: found[f"{of}_common_phrase_ms"]),
        ("... messages found", lambda of: found[f"{of}_common_phrase_hits"]),
    )
    return [
        "",
        f"| Body searches in {found['searched_mails']:,} messages | latin | japanese |",
        "|---|---:|---:|",
        *(
            f"| {name} | " + " | ".join(short(value(of)) for of in languages) + " |"
            for name, value in rows
        ),
    ]


def _formats(formats: Mapping[str, Any]) -> list[str]:
    names = list(formats)
    rows = list(next(iter(formats.values())))
    return [
        "",
        "| Format of the mail store | " + " | ".join(names) + " |",
        "|---|" + "---:|" * len(names),
        *(
            f"| {row} | " + " | ".join(_cell(formats[name].get(row)) for name in names) + " |"
            for row in rows
        ),
    ]


def _cell(value: object) -> str:
    return short(value) if isinstance(value, int | float) else str(value)


def merged(directory: Path, fresh: Mapping[str, Any]) -> dict[str, Any]:
    """Earlier parts with the fresh ones in their places."""
    path = directory / "mailhost.json"
    earlier = report.read(path)
    return earlier | dict(fresh)


def write(parts: Mapping[str, Any], picture: str, directory: Path) -> None:
    """`mailhost.json`, `mailhost.md` and, where there is one, `mailhost.svg`."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "mailhost.json").write_text(json.dumps(parts, indent=1) + "\n")
    (directory / "mailhost.md").write_text(table(parts))
    if picture:
        (directory / "mailhost.svg").write_text(picture)
