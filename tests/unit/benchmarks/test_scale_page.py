"""The ratios and the page that are made of measured runs."""

from typing import Any

from benchmarks.scale.page import foreign_ms, page, ratios


def runs(per_second: float, all_ms: float, deliver_ms: float = 1.0) -> dict[str, Any]:
    """The runs of one number of hosts."""
    return {
        "per_second": [per_second],
        "per_second_median": per_second,
        "all_ms_median": all_ms,
        "first_ms_median": all_ms / 2,
        "deliver_ms_median": deliver_ms,
    }


QUEUES = {"1": runs(30, 8.0), "2": runs(57, 8.5, 1.4), "4": runs(120, 9.5, 2.5)}


def test_a_ratio_is_over_as_many_times_one_host() -> None:
    """57 of 60 with two hosts, and exactly four times as much with four."""
    assert {"1": 1.0, "2": 0.95, "4": 1.0} == ratios(QUEUES)


def test_what_deliver_takes_more_with_more_hosts_is_their_notifications() -> None:
    """Half a millisecond for each of three other hosts; never less than nothing."""
    assert 0.5 == foreign_ms(QUEUES)
    assert 0.0 == foreign_ms({"1": runs(30, 8.0), "2": runs(60, 9.0, 0.9)})


def test_a_page_has_the_parts_that_were_measured() -> None:
    """Nothing of others; what does not work at a size is a dash, and why is said."""
    rows = [
        {"mailboxes": 1000, "object_mb": 0.2, "deliver_mb": 9.5},
        {"mailboxes": 100_000, "object_mb": 18.5, "refused": "is larger than 16 bytes"},
    ]
    about = {"date": "2026-11-29", "machine": "a machine", "load": 1.5, "commit": "abc"}
    text = page({"directory": rows, "about": {"directory": about}})
    assert "| mailboxes | 1,000 | 100,000 |" in text
    assert "| `deliver`, MB | 9.5 | - |" in text
    assert "With 100,000 mailboxes the object is larger than 16 bytes." in text
    assert "| directory | 2026-11-29 | a machine | 1.5 | abc |" in text
    both = page(
        {
            "hosts": {"queues": QUEUES, "proxy": QUEUES, "caps": "Capped."},
            "about": {"hosts": about},
        }
    )
    assert "| queues | 2 | 57.0 | 0.95 | 8.50 | 4.25 | 57.0 |" in both
    assert "takes 0.50 ms of `deliver`. Capped." in both
