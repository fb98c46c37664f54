"""A table from the ways in which people type non-ASCII domains to their stored form, for Dovecot.

Dovecot gets names as clients send them: `Eva@STRASSE.example` names another domain than
`eva@straße.example`, but `eva@Straße.example`, with any normalization of its letters and any width
of its dots, is the same (UTS 46, nontransitional, without the rare mappings). Dovecot's Lua script
has no Unicode tables, so it gets what the stack's own domains need; nothing if all are ASCII:

    spelling<TAB>typed<TAB>kept      replace each `typed` in the domain by `kept`, in this order
    domain<TAB>U-labels<TAB>A-labels

U-labels are the Punycode decoding (RFC 3492) of the A-labels; `idn` checks on the operator's side
that these are valid IDNA 2008. Nothing here raises.
"""

from collections.abc import Iterable, Iterator

# RFC 3490, 3.1 lists the dots that people type; the alphabet of A-labels has other widths too.
_DOTS = "\u3002\uff0e\uff61"
_ASCII = "abcdefghijklmnopqrstuvwxyz0123456789-"
_WIDE_AND_NARROW = range(0xFF01, 0xFFEF)


def dovecot_domains(domains: Iterable[str]) -> str:
    """Render the table for domains in A-labels."""
    shown = {u_labels(domain): domain for domain in domains}
    typed = {kept: domain for kept, domain in shown.items() if not kept.isascii()}
    if not typed:
        return ""
    spellings = dict.fromkeys(_DOTS, ".") | dict(_spellings(set("".join(typed))))
    lines = [("spelling", *pair) for pair in spellings.items()]
    lines += [("domain", kept, domain) for kept, domain in typed.items()]
    return "".join("\t".join(line) + "\n" for line in lines)


def u_labels(domain: str) -> str:
    """Return a domain in A-labels for people to read; a label that is not Punycode stays."""
    return ".".join(map(_u_label, domain.split(".")))


def _u_label(label: str) -> str:
    if not label.startswith("xn--"):
        return label
    try:
        shown = label[4:].encode("ascii").decode("punycode")
        shown.encode()  # Punycode can encode surrogates, which are not text
    except UnicodeError:
        return label
    return shown


def _spellings(kept: set[str]) -> Iterator[tuple[str, str]]:
    """Yield each letter's other cases and widths, then compositions, the longest first."""
    # A megabyte of tables, only for stacks with such a domain.
    from unicodedata import decomposition, normalize  # noqa: PLC0415

    letters = {part for letter in kept for part in normalize("NFD", letter) + letter}
    letters.update(_ASCII)
    for letter in sorted(letters):
        for other in (letter.upper(), letter.title(), *("ẞ" * (letter == "ß"))):
            if not letter.isascii() and other != letter and other.lower() == letter:
                yield other, letter
    for number in _WIDE_AND_NARROW:
        letter = normalize("NFKC", chr(number)).lower()
        if letter in letters:
            yield chr(number), letter
    composed = {normalize("NFD", letter): letter for letter in kept}
    for letter in kept:
        one_step = decomposition(letter)
        if one_step and not one_step.startswith("<"):
            composed["".join(chr(int(number, 16)) for number in one_step.split())] = letter
    for parts in sorted(composed, key=len, reverse=True):
        if len(parts) > 1:
            yield parts, composed[parts]
