"""Memory of the three containers as an SVG picture: ours beside the defaults. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.mailhost import svg
from benchmarks.mailhost.svg import BAR, GAP, GROUP, TOP, WIDTH

if TYPE_CHECKING:
    from collections.abc import Mapping

LEFT, RIGHT = 110, 90
COLOURS = {"ours": svg.OURS, "defaults": svg.THEIRS}


def drawn(found: Mapping[str, Any]) -> str:
    """Return the picture as SVG; empty if memory was not measured."""
    memory = found.get("memory")
    if not memory:
        return ""
    names = list(memory["ours"])
    most = max(used["anonymous"] for which in memory.values() for used in which.values())
    scale = (WIDTH - LEFT - RIGHT) / most
    parts = svg.opening(
        TOP + GROUP * len(names) + 16,
        "Memory of the containers in a busy hour, ours and with default settings",
        "Memory in a busy hour, MB that cannot be dropped",
    )
    for x, (which, colour) in zip((20, 110), COLOURS.items(), strict=True):
        parts += svg.legend(x, which, colour)
    for index, name in enumerate(names):
        y = TOP + GROUP * index
        parts.append(svg.text(LEFT - 12, y + BAR + 7, name, svg.INK, 'text-anchor="end"'))
        for row, which in enumerate(memory):
            value = memory[which][name]["anonymous"]
            parts += svg.bar(LEFT, y + row * (BAR + GAP), value * scale, value, COLOURS[which])
    return svg.closed(parts)
