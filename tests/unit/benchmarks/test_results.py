"""What a benchmark run says of itself: the table, the picture, the judgement."""

import xml.etree.ElementTree as ET
from typing import Any

import pytest
from benchmarks.deliver.picture import drawn
from benchmarks.deliver.results import judged, merged, table
from benchmarks.deliver.throughput import Measured, scenarios
from benchmarks.host import results as host_results
from benchmarks.imports import results as import_results
from benchmarks.mailhost.report import percentile


def measured(name: str = "4 KB, 1 mailbox") -> dict[str, Any]:
    """Three pairs of one scenario."""
    one = Measured(name, 1000, 4)
    one.deliver, one.smtp_source, one.ratios = (
        [90.0, 95.0, 100.0],
        [100.0, 100.0, 125.0],
        [0.9, 0.95, 0.8],
    )
    one.cpu_ms = [0.5, 0.4, 0.3]
    return one.in_json()


def test_medians_are_of_the_pairs() -> None:
    """The ratio is the median of the pairs' ratios, not the ratio of the medians."""
    assert (measured()["ratio"], measured()["deliver_median"]) == (0.9, 95.0)


@pytest.mark.parametrize(("percent", "wanted"), [(50, 50), (99, 99), (100, 100), (1, 1)])
def test_percentile_is_a_value_that_occurred(percent: int, wanted: int) -> None:
    """A percentile is the smallest value that is not below this percentage."""
    assert percentile([float(n) for n in range(100, 0, -1)], percent) == wanted


def test_missed_demands_are_shown_as_missed() -> None:
    """A figure on the wrong side of its demand is not reached; one not measured is not judged."""
    found = judged({"throughput_ratio": 0.89, "latency_p50_ms": 20.0, "memory_peak_mb": None})
    assert [(wanted, reached) for _, _, _, wanted, reached in found] == [(0.9, False), (20, True)]


def test_a_part_measured_again_keeps_the_others() -> None:
    """The page says when each part was measured; a ratio to another part is made anew."""
    about = {"date": "2026-11-24", "versions": {"commit": "abc"}}
    before = merged({}, about | {"predecessor_mails_per_second": 0.5}, ["predecessor"])
    later = about | {"date": "2026-11-29", "throughput": [measured("4 KB, 20 mailboxes")]}
    results = merged(before, later, ["throughput"])
    assert results["predecessor_ratio"] == 190
    page = table(results | {"machine": "a machine", "deliver_as": "container"})
    assert "predecessor 2026-11-24, commit abc; throughput 2026-11-29, commit abc." in page


def test_table_has_every_part_that_was_measured() -> None:
    """One row for each scenario, stage and length; nothing for what was left out."""
    results = {
        "date": "2026-11-24",
        "machine": "a machine",
        "deliver_as": "container",
        "versions": {"python": "3.13"},
        "throughput": [measured()],
        "growth": [
            {
                "queued": 1000,
                "mails_per_second": 100.0,
                "memory": {"peak": 12.0, "anonymous": 10.0},
                "record_bytes": 3145728,
            }
        ],
    }
    page = table(results)
    assert "| 4 KB, 1 mailbox | 95 | 100 | 0.90 | 0.80 to 0.95 | 0.40 |" in page
    assert "| 1,000 | 100 | 12.0 | 10.0 | 3,145,728 |" in page
    assert "Latency" not in page.partition("| | measured")[2]


def test_picture_is_well_formed_and_says_the_figures() -> None:
    """An SVG document with a bar for each figure, in proportion, and the ratio in words."""
    root = ET.fromstring(drawn([measured(), measured("100 KB, <20> mailboxes")], "caption & date"))
    names = "{http://www.w3.org/2000/svg}"
    texts = [text.text for text in root.iter(f"{names}text")]
    assert texts.count("90 %") == 2
    assert "100 KB, <20> mailboxes" in texts
    bars = [
        float(bar.get("width", "0")) for bar in root.iter(f"{names}rect") if bar.get("x") == "150"
    ]
    assert bars[0] / bars[1] == pytest.approx(0.95, abs=0.01)


def test_scenarios_divide_among_the_users() -> None:
    """smtp-source sends each user the same share, so a scenario's messages must divide by twenty."""
    for quick in (True, False):
        assert all(one.count % 20 == 0 for one in scenarios(quick=quick))


def test_a_neighbours_wait_stands_beside_the_same_with_nobody() -> None:
    """A row for each command, with the ratio of the worst waits."""
    rows = {
        "nobody": {"p50": 1.0, "p99": 2.0, "worst": 4.0, "commands": 0},
        "SORT": {"p50": 2.0, "p99": 5.0, "worst": 10.0, "commands": 7},
    }
    assert "| SORT | 2.0 | 5.0 | 10.0 | 2.5 |" in host_results.neighbours(rows)


def test_the_page_of_imports_shows_each_figure_and_what_was_missed() -> None:
    """Each once, those of one kind in a row."""
    figures = dict.fromkeys(
        (
            "mails_a_second",
            "one_step_a_second",
            "one_step_ratio",
            "mbsync_a_second",
            "processor_ms",
        ),
        499.5,
    ) | dict.fromkeys(("again_seconds", "peak_few_mb", "peak_many_mb", "growth", "load"), 1.25)
    found = figures | {
        "mbsync_ratio": 2.0, "quarters_mb": [1.0, 2.0, 3.0, 4.0], "peak_large_mb": 200.0, "equal": 1.0,
        "mails": 10_000, "rounds": 3, "limit": "256m", "date": "2026-11-29", "machine": "a machine",
    }  # fmt: skip
    page = import_results.page(found)
    assert "| `plexus import` relative to mbsync | 2.00 |" in page
    assert "that run | 1.00, 2.00, 3.00, 4.00 |" in page
    assert "10,000 of 1 to 12 KB" in page
    (missed,) = [line for line in page.splitlines() if line.startswith("Targets missed: ")]
    assert 3 == len(missed.split(", "))
    assert page.count("\n|") == 15
