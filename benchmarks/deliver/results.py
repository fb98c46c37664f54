"""What a run found, as JSON, as a table, and the demands of the issue beside it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from benchmarks.mailhost import report
from benchmarks.mailhost.report import short

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

# What must be reached: name, key, comparison, figure.
DEMANDS = (
    ("Throughput over smtp-source, worst scenario", "throughput_ratio", ">=", 0.90),
    ("Throughput over the predecessor's loop", "predecessor_ratio", ">=", 1500),
    ("Own CPU a message, ms", "cpu_ms_per_mail", "<=", 0.4),
    ("Start-up to the first receive, ms", "start_up_ms", "<=", 80),
    ("Memory peak at start, MB", "memory_peak_start_mb", "<=", 24),
    ("Memory peak after 10,000 messages, MB", "memory_peak_after_mails_mb", "<=", 26),
    ("Memory peak with 10 messages of 40 MB, MB", "memory_peak_mb", "<=", 40),
    ("Latency p50, ms", "latency_p50_ms", "<=", 20),
    ("Latency p99, ms", "latency_p99_ms", "<=", 30),
)


def merged(
    before: Mapping[str, Any], found: Mapping[str, Any], parts: Iterable[str]
) -> dict[str, Any]:
    """Return results with those of a run of some parts, which replace earlier ones of these."""
    commit = found["versions"]["commit"]
    runs = report.runs(before.get("runs", {}), parts, found["date"], commit)
    results = {**before, **found, "runs": runs}
    if speed := results.get("predecessor_mails_per_second"):
        for one in results.get("throughput", []):
            if one["name"] == "4 KB, 20 mailboxes":
                results["predecessor_ratio"] = one["deliver_median"] / speed
    return results


def judged(results: dict[str, Any]) -> list[tuple[str, float, str, float, bool]]:
    """Return each demand whose figure was measured: name, found, comparison, wanted, reached."""
    return report.judged(results, DEMANDS)


def table(results: dict[str, Any]) -> str:
    """Return a page of Markdown: demands, throughput, growth, and the machine."""
    lines = [
        "# deliver, measured",
        "",
        f"{results['date']}, {results['machine']}; deliver as a {results['deliver_as']}; "
        + ", ".join(f"{name} {version}" for name, version in results["versions"].items())
        + ". Made by `make bench`; docs/benchmarks.md says how. Runs: "
        + "; ".join(f"{part} {run}" for part, run in results.get("runs", {}).items())
        + ".",
        "",
        "| | measured | wanted | reached |",
        "|---|---:|---:|---|",
    ]
    lines += [
        f"| {name} | {short(value)} | {comparison} {wanted:g} | {'yes' if reached else 'no'} |"
        for name, value, comparison, wanted, reached in judged(results)
    ]
    if results.get("throughput"):
        lines += [
            "",
            "| Messages a second | deliver | smtp-source | ratio | of the pairs | own CPU, ms |",
            "|---|---:|---:|---:|---|---:|",
        ]
        lines += [_throughput(found) for found in results["throughput"]]
    if results.get("latency_dovecot_alone_p50_ms"):
        lines += [
            "",
            "| Latency, ms | p50 | p99 |",
            "|---|---:|---:|",
            *(
                f"| {name} | {results[f'{key}_p50_ms']:.1f} | {results[f'{key}_p99_ms']:.1f} |"
                for name, key in (
                    ("SendMessage to IDLE notice", "latency"),
                    ("of that, LMTP to IDLE notice: Dovecot alone", "latency_dovecot_alone"),
                )
            ),
        ]
    if results.get("memory"):
        lines += ["", "| Memory, MB | peak of the control group | anonymous |", "|---|---:|---:|"]
        lines += [
            f"| {stage} | {memory['peak']} | {memory['anonymous']} |"
            for stage, memory in results["memory"].items()
        ]
    if results.get("growth"):
        lines += [
            "",
            "| Messages queued | a second | memory peak, MB | anonymous, MB | record, bytes |",
            "|---:|---:|---:|---:|---:|",
        ]
        lines += [
            f"| {found['queued']:,} | {found['mails_per_second']:.0f} | {found['memory']['peak']} "
            f"| {found['memory']['anonymous']} | {found['record_bytes']:,} |"
            for found in results["growth"]
        ]
    return "\n".join(lines) + "\n"


def write(results: dict[str, Any], picture: str, directory: Path) -> None:
    """`deliver.json`, `deliver.md` and, where there is one, `deliver.svg`."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "deliver.json").write_text(json.dumps(results, indent=1) + "\n")
    (directory / "deliver.md").write_text(table(results))
    if picture:
        (directory / "deliver.svg").write_text(picture)


def _throughput(found: dict[str, Any]) -> str:
    ours, theirs = found["deliver_median"], found["smtp_source_median"]
    return (
        f"| {found['name']} | {ours:.0f} | {theirs:.0f} | {found['ratio']:.2f} "
        f"| {_range(found['ratios'])} | {found['cpu_ms_median']:.2f} |"
    )


def _range(values: Sequence[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}"
