"""Memory of the three containers as an SVG picture: ours beside the defaults. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Mapping

WIDTH = 720
LEFT, RIGHT = 110, 90
BAR, GAP, GROUP = 20, 4, 68
TOP = 74
COLOURS = {"ours": "#1f6f54", "defaults": "#b9c0c7"}
INK, FAINT = "#1c2126", "#5c6670"


def drawn(found: Mapping[str, Any]) -> str:
    """The picture, on a white ground; empty where memory was not measured."""
    memory = found.get("memory")
    if not memory:
        return ""
    names = list(memory["ours"])
    most = max(used["anonymous"] for which in memory.values() for used in which.values())
    scale = (WIDTH - LEFT - RIGHT) / most
    height = TOP + GROUP * len(names) + 16
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        '<g font-family="system-ui, sans-serif" font-size="13">',
        "<title>Memory of the containers in a busy hour, ours and with default settings</title>",
        f'<rect width="{WIDTH}" height="{height}" rx="6" fill="#ffffff"/>',
        _text(20, 28, "Memory in a busy hour, MB that cannot be dropped", INK, 'font-size="16"'),
    ]
    for x, (which, colour) in zip((20, 110), COLOURS.items(), strict=True):
        parts.append(f'<rect x="{x}" y="44" width="12" height="12" rx="2" fill="{colour}"/>')
        parts.append(_text(x + 18, 55, which, FAINT))
    for index, name in enumerate(names):
        y = TOP + GROUP * index
        parts.append(_text(LEFT - 12, y + BAR + 7, name, INK, 'text-anchor="end"'))
        for row, which in enumerate(memory):
            value = memory[which][name]["anonymous"]
            top, width = y + row * (BAR + GAP), value * scale
            parts.append(
                f'<rect x="{LEFT}" y="{top}" width="{width:.1f}" height="{BAR}" rx="2" '
                f'fill="{COLOURS[which]}"/>'
            )
            parts.append(_text(LEFT + width + 6, top + 15, f"{value:.0f}", FAINT))
    parts.append("</g></svg>")
    return "\n".join(parts) + "\n"


def _text(x: float, y: float, text: str, colour: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" {more}>{escape(text)}</text>'
