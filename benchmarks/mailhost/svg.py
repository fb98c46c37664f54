"""What the reports' pictures are made of: SVG elements in one hand. Pure."""

from __future__ import annotations

from xml.sax.saxutils import escape

WIDTH = 720
BAR, GAP, GROUP = 20, 4, 68
TOP = 74
OURS, THEIRS = "#1f6f54", "#b9c0c7"
INK, FAINT = "#1c2126", "#5c6670"


def opening(height: int, title: str, heading: str) -> list[str]:
    """Return the picture's beginning, with a white ground, readable on light and dark pages."""
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        '<g font-family="system-ui, sans-serif" font-size="13">',
        f"<title>{title}</title>",
        f'<rect width="{WIDTH}" height="{height}" rx="6" fill="#ffffff"/>',
        text(20, 28, heading, INK, 'font-size="16"'),
    ]


def closed(parts: list[str]) -> str:
    """Return the whole picture."""
    return "\n".join([*parts, "</g></svg>"]) + "\n"


def text(x: float, y: float, words: str, colour: str, more: str = "") -> str:
    """Return a text that begins, or with `more` ends, at `x`."""
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" {more}>{escape(words)}</text>'


def bar(left: int, top: int, width: float, value: float, colour: str) -> list[str]:
    """Return a bar, with its value after it."""
    return [
        f'<rect x="{left}" y="{top}" width="{width:.1f}" height="{BAR}" rx="2" fill="{colour}"/>',
        text(left + width + 6, top + 15, f"{value:.0f}", FAINT),
    ]


def legend(x: int, words: str, colour: str) -> list[str]:
    """Return the legend of a colour."""
    return [
        f'<rect x="{x}" y="44" width="12" height="12" rx="2" fill="{colour}"/>',
        text(x + 18, 55, words, FAINT),
    ]
