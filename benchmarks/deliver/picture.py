"""The throughput as an SVG picture: a pair of bars for each scenario, with the ratio. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.mailhost import svg
from benchmarks.mailhost.svg import BAR, GAP, GROUP, TOP, WIDTH

if TYPE_CHECKING:
    from collections.abc import Sequence

LEFT, RIGHT = 150, 110


def drawn(throughput: Sequence[dict[str, Any]], caption: str) -> str:
    """Return the picture as SVG."""
    most = max(max(found["deliver_median"], found["smtp_source_median"]) for found in throughput)
    scale = (WIDTH - LEFT - RIGHT) / most
    height = TOP + GROUP * len(throughput) + 34
    parts = svg.opening(
        height,
        "Messages a second of deliver and of smtp-source into the same Dovecot",
        "Messages a second into the same Dovecot",
    )
    parts += svg.legend(20, "deliver, with 15 ms on every AWS call", svg.OURS)
    parts += svg.legend(290, "smtp-source, with nothing else to do", svg.THEIRS)
    for index, found in enumerate(throughput):
        y = TOP + GROUP * index
        middle = y + BAR + GAP // 2
        parts.append(svg.text(LEFT - 12, middle + 5, found["name"], svg.INK, 'text-anchor="end"'))
        for top, key, colour in (
            (y, "deliver_median", svg.OURS),
            (y + BAR + GAP, "smtp_source_median", svg.THEIRS),
        ):
            parts += svg.bar(LEFT, top, found[key] * scale, found[key], colour)
        parts.append(
            svg.text(
                WIDTH - 20,
                middle + 6,
                f"{found['ratio'] * 100:.0f} %",
                svg.INK,
                'text-anchor="end" font-size="17" font-weight="600"',
            )
        )
    parts.append(svg.text(20, height - 14, caption, svg.FAINT, 'font-size="11"'))
    return svg.closed(parts)
