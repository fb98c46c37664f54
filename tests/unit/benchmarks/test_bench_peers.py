"""The comparison with peers: its definitions are complete, and its report computes what it says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.peers import definitions, power, processes, report

START = Path(definitions.__file__).parent / "start"
ABOUT = {
    "date": "2026-11-29",
    "machine": "a machine",
    "rounds": 3,
    "mails": 50_000,
    "note": "Others ran beside",
    "versions": {"courier": {"courier-mta": "1.4.1"}, "ours": {"dovecot": "2.4.1"}},
}
SAMPLES = {
    "ours": {"in_4": [100, 300, 200], "notice": [n / 1000 for n in range(1, 101)]},
    "courier": {"in_4": [250, 260, 10], "notice": [0.5, 0.5], "search_again": [2000.0]},
}


def test_each_peer_has_a_start_script_and_what_the_report_says_about_it():
    """A peer without a script, a package list or a statement of its promise is incomplete."""
    names = [peer.name for peer in definitions.PEERS]
    assert len(names) == len(set(names)) == 6
    for peer in definitions.PEERS:
        script = (START / peer.name).read_text()
        assert script.startswith("#!/bin/sh\n")
        assert ". /bench/start/common" in script
        assert set(peer.versions) <= set(peer.packages)
        assert peer.safe
        assert peer.beyond
        assert peer.store in {"maildir", "sdbox", "cyrus"}
        assert all(package in peer.recipe for package in peer.packages)


def test_an_image_is_named_by_its_recipe():
    """Peers with other packages never share an image."""
    assert len({peer.image for peer in definitions.PEERS}) == len(definitions.PEERS)


def test_figures_are_medians_and_percentiles():
    """A single slow round does not move a figure; notices keep their tail."""
    found = report.figures(SAMPLES)
    assert found["ours"]["in_4"] == 200
    assert found["courier"]["in_4"] == 250
    assert round(found["ours"]["notice_p50"]) == 50
    assert round(found["ours"]["notice_p99"]) == 99


def test_our_place_depends_on_what_is_better():
    """More messages a second are better, fewer milliseconds are."""
    found = report.figures(SAMPLES)
    assert report.places(found, "in_4", more=True) == (2, 2)
    assert report.places(found, "notice_p50", more=False) == (1, 2)
    assert report.places(found, "search_again", more=False) == (0, 1)


def test_the_table_shows_every_figure_and_who_promises_what():
    """What a run has measured is in the table, and what it has not leaves no row."""
    page = report.table({"about": ABOUT, "samples": SAMPLES})
    assert "| Messages in a second, 4 KB | 200 | 250 | 2 of 2 |  |" in page
    assert "courier-mta 1.4.1" in page
    assert "Others ran beside." in page
    assert "Memory at rest" not in page


def test_ours_is_compared_with_the_system_of_the_same_features():
    """The last column is our figure divided by theirs."""
    samples = {"ours": {"in_4": [200]}, definitions.SAME: {"in_4": [250]}}
    about = ABOUT | {"proven": {definitions.SAME: {"quota": "81 KB"}}}
    page = report.table({"about": about, "samples": samples})
    assert "| Messages in a second, 4 KB | 200 | 250 | 2 of 2 | 0.80 |" in page
    assert "- Postfix + Dovecot, same features: quota: 81 KB" in page


def test_a_cut_is_reported_with_and_without_other_figures():
    """Each cut has its figure, and what was measured before stays on the page."""
    cut = {"acknowledged": 40, "missing": 3, "hidden": 1, "twice": 2, "queued": 0, "writes": 7}
    cuts = {"courier": {"date": "2026-11-29", "cuts": [cut, cut | {"missing": 0}]}}
    row = "| Courier | 2026-11-29 | 40, 40 | 3, 0 | 1, 1 | 2, 2 | 7, 7 |"
    assert row in report.table({"power": cuts})
    page = report.table({"about": ABOUT, "samples": SAMPLES, "power": cuts})
    assert row in page
    assert "| Messages in a second" in page


def test_a_part_measured_again_replaces_only_its_own_figures():
    """The page says which part it was, and when."""
    before = {"about": ABOUT, "samples": {"ours": {"in_4": [100.0], "memory_rest": [50.0]}}}
    versions = {"ours": {"commit": "abc"}}
    found = {
        "about": ABOUT | {"date": "2030-01-01", "versions": versions},
        "samples": {"ours": {"memory_rest": [60.0]}},
    }
    results = report.merged(before, found, ["memory"])
    assert results["samples"]["ours"] == {"in_4": [100.0], "memory_rest": [60.0]}
    assert "Measured again, by itself: memory (2030-01-01, commit abc)." in report.table(results)
    assert report.merged({"power": {}}, found, ["memory"]) == {"power": {}} | found


def test_the_time_of_a_program_is_that_of_its_processes_and_of_those_that_ended():
    """Names with blanks and parentheses are parsed; a child of a child belongs to the program."""
    stat = "{} ({}) S {} 1 1 0 -1 4194560 1 2 3 4 10 20 300 4000 20 0 1 0 5 6 7"
    found = dict(
        processes.parsed(stat.format(pid, name, parent))
        for pid, name, parent in (
            (2, "dovecot", 1),
            (3, "a (b) c", 2),
            (4, "lmtp", 3),
            (5, "master", 1),
        )
    )
    assert found[3].name == "a (b) c"
    assert processes.tree_ticks(found, "dovecot") == 3 * 4330
    assert processes.tree_ticks(found, "courier") == 0


def test_what_is_in_no_mailbox_and_no_queue_is_missing():
    """Messages not acknowledged count for nothing, except when they are there twice."""
    found = Counter({"cut-1": 1, "cut-2": 2, "cut-9": 1})
    cut = power.judged(["cut-1", "cut-2", "cut-3", "cut-4"], found, 0, {"cut-3", "cut-1"})
    assert (cut.acknowledged, cut.missing, cut.hidden, cut.twice) == (4, 2, 1, 1)
    assert power.judged(["cut-3", "cut-4"], found, 1, set()).missing == 1


def test_the_picture_is_well_formed_and_scales_to_its_widest_bar():
    """No bar leaves the picture."""
    picture = ElementTree.fromstring(report.drawn({"about": ABOUT, "samples": SAMPLES}))
    bars = [each for each in picture.iter() if each.tag.endswith("rect") and each.get("rx") == "2"]
    assert len(bars) == 5
    assert all(float(each.get("x", "0")) + float(each.get("width", "0")) <= 720 for each in bars)
