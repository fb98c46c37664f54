"""Text from outside on one line: for a header field, an attribute, a log or a terminal."""


def printable(text: str, most: int | None = None, instead: str = " ") -> str:
    """Return the first `most` characters, with `instead` for each that is not printable."""
    text = text[:most]
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else instead for char in text)
