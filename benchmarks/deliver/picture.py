"""The throughput as an SVG picture: a pair of bars for each scenario, with the ratio. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH = 720
LEFT, RIGHT = 150, 110
BAR, GAP, GROUP = 20, 4, 68
TOP = 74
OURS, THEIRS = "#1f6f54", "#b9c0c7"
INK, FAINT = "#1c2126", "#5c6670"


def drawn(throughput: Sequence[dict[str, Any]], caption: str) -> str:
    """The picture, on a white ground so that it can be read in light and dark pages."""
    most = max(max(found["deliver_median"], found["smtp_source_median"]) for found in throughput)
    scale = (WIDTH - LEFT - RIGHT) / most
    height = TOP + GROUP * len(throughput) + 34
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        '<g font-family="system-ui, sans-serif" font-size="13">',
        "<title>Mails a second of deliver and of smtp-source into the same Dovecot</title>",
        f'<rect width="{WIDTH}" height="{height}" rx="6" fill="#ffffff"/>',
        _text(20, 28, "Mails a second into the same Dovecot", INK, 'font-size="16"'),
        _legend(20, "deliver, with 15 ms on every AWS call", OURS),
        _legend(290, "smtp-source, with nothing else to do", THEIRS),
    ]
    for index, found in enumerate(throughput):
        y = TOP + GROUP * index
        middle = y + BAR + GAP // 2
        parts.append(_text(LEFT - 12, middle + 5, found["name"], INK, 'text-anchor="end"'))
        for offset, key, colour in (
            (0, "deliver_median", OURS),
            (BAR + GAP, "smtp_source_median", THEIRS),
        ):
            width = found[key] * scale
            parts.append(
                f'<rect x="{LEFT}" y="{y + offset}" width="{width:.1f}" height="{BAR}" rx="2" '
                f'fill="{colour}"/>'
            )
            parts.append(_text(LEFT + width + 6, y + offset + 15, f"{found[key]:.0f}", FAINT))
        parts.append(
            _text(
                WIDTH - 20,
                middle + 6,
                f"{found['ratio'] * 100:.0f} %",
                INK,
                'text-anchor="end" font-size="17" font-weight="600"',
            )
        )
    parts.append(_text(20, height - 14, caption, FAINT, 'font-size="11"'))
    parts.append("</g></svg>")
    return "\n".join(parts) + "\n"


def _text(x: float, y: float, text: str, colour: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" {more}>{escape(text)}</text>'


def _legend(x: float, text: str, colour: str) -> str:
    return f'<rect x="{x}" y="44" width="12" height="12" rx="2" fill="{colour}"/>' + _text(
        x + 18, 55, text, FAINT
    )
