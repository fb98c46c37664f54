"""The comparison with peers: its definitions are complete, and its report computes what it says."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from benchmarks.peers import definitions, report

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
    assert len(names) == len(set(names)) == 5
    for peer in definitions.PEERS:
        script = (START / peer.name).read_text()
        assert script.startswith("#!/bin/sh\n")
        assert ". /bench/start/common" in script
        assert set(peer.versions) <= set(peer.packages)
        assert peer.safe
        assert peer.beyond
        assert peer.store in {"maildir", "cyrus"}
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
    assert "| Messages in a second, 4 KB | 200 | 250 | 2 of 2 |" in page
    assert "courier-mta 1.4.1" in page
    assert "Others ran beside." in page
    assert "Memory at rest" not in page


def test_the_picture_is_well_formed_and_scales_to_its_widest_bar():
    """No bar leaves the picture."""
    picture = ElementTree.fromstring(report.drawn({"about": ABOUT, "samples": SAMPLES}))
    bars = [each for each in picture.iter() if each.tag.endswith("rect") and each.get("rx") == "2"]
    assert len(bars) == 5
    assert all(float(each.get("x", "0")) + float(each.get("width", "0")) <= 720 for each in bars)
