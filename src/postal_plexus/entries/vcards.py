"""Make a contact readable for every program: a name (FN), and vCard 3.0 instead of 2.1. Pure.

Outlook and old telephones export vCard 2.1: parameters without names (`TEL;WORK;VOICE:`), values in
quoted-printable and in any character set, line ends inside values. Clients of CardDAV read 3.0 (RFC
6352, section 5.1).
"""

import quopri
import re
from collections.abc import Iterator, Sequence

from postal_plexus.entries.lines import first, folded, unfolded

_PARAMETER = re.compile(r';((?:"[^"]*"|[^;":])*)')
_ENCODINGS = {"QUOTED-PRINTABLE", "BASE64", "8BIT", "7BIT", "B"}
# What names a contact that has no name.
_NAMES = ("N", "ORG", "NICKNAME", "EMAIL", "TEL", "UID")


def with_a_name(lines: Sequence[str]) -> list[str]:
    """Return a card that has FN, which vCard requires (RFC 6350, 6.2.1), made of what it has."""
    if any(re.match(r"(?:[^:;.]+\.)?FN[;:]", line, re.IGNORECASE) for line in lines):
        return list(lines)
    words = [each.strip() for each in re.split(r"(?<!\\);", first(lines, *_NAMES))]
    if first(lines, "N"):
        family, given = [*words, ""][:2]
        words = [given, family]
    name = " ".join(each for each in words if each) or "?"
    return [*lines[:-1], folded(f"FN:{name}"), lines[-1]]


def is_old(lines: Sequence[str]) -> bool:
    """Return whether a card is a vCard 2.1."""
    return first(lines, "VERSION") == "2.1"


def modern(lines: Sequence[str]) -> list[str]:
    """Return a vCard 2.1 as 3.0; a line that cannot be converted stays as it is."""
    found: list[str] = []
    for line in _whole(lines):
        found += _modern(line).split("\r\n")
    return found


def _whole(lines: Sequence[str]) -> Iterator[str]:
    """Yield logical lines; in quoted-printable, a line that ends in `=` goes on."""
    current = ""
    for line in unfolded(lines):
        if current:
            current = current[:-1] + line
        elif line.strip():
            current = line
        else:
            continue
        head = current.partition(":")[0].upper()
        if "QUOTED-PRINTABLE" in head and current.endswith("="):
            continue
        yield current
        current = ""
    if current:
        yield current


def _modern(line: str) -> str:
    head, colon, value = line.partition(":")
    name, _, rest = head.partition(";")
    if not colon:
        return line
    if name.upper() == "VERSION":
        return "VERSION:3.0"
    types, others = list[str](), list[str]()
    charset, encoding = "utf-8", ""
    for word in _PARAMETER.findall(f";{rest}") if rest else ():
        key, has_value, setting = word.partition("=")
        if key.upper() == "CHARSET":
            charset = setting.strip('"')
        elif key.upper() == "ENCODING" or (not has_value and key.upper() in _ENCODINGS):
            encoding = (setting or key).upper()
        elif key.upper() == "TYPE" or not has_value:
            types.append(setting or key)
        else:
            others.append(word)
    if encoding == "QUOTED-PRINTABLE":
        value = _decoded(value, charset)
    if encoding in {"BASE64", "B"}:
        others.append("ENCODING=b")
        value = "".join(value.split())
    if types:
        others.insert(0, f"TYPE={','.join(types)}")
    return folded(";".join([name, *others]) + ":" + value)


def _decoded(value: str, charset: str) -> str:
    octets = quopri.decodestring(value.encode("utf-8"))
    try:
        text = octets.decode(charset)
    except (LookupError, UnicodeDecodeError):
        text = octets.decode("cp1252", "replace")
    return re.sub(r"\r\n|\n|\r", r"\\n", text)
