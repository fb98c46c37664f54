"""Lists of addresses in header fields: read as leniently as people write them, written strictly.

`read` accepts any octets and never fails, in linear time and without recursion: what it cannot
parse is in `faults`. It writes RFC 5322's mailbox-list in ASCII: names by RFC 2047, local parts
quoted if RFC 5321 requires it, domains as A-labels.
"""

import re
from binascii import a2b_base64, a2b_qp, b2a_base64

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
      | (?P<word>=\?[A-Za-z0-9*_-]+\?[BbQq]\?[!->@-~]*\?=)
      | "(?P<quoted>(?:[^"\\]|\\.)*)"
      | (?P<literal>\[[^\[\]\\<>@,;:\s]*\])
      | (?P<special>[<>@,;:()\[\]"\\])
      | (?P<atom>[^ \t\r\n<>@,;:()\[\]"\\]+)""",
    re.VERBOSE | re.DOTALL,
)
_COMMENT = re.compile(r"\\.|[()]", re.DOTALL)
_DOT_ATOM = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})+")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
# RFC 2047, section 5 (3): what an encoded word may contain within a phrase.
_ENCODED_WORD = r"=\?[A-Za-z0-9*_-]+\?[BbQq]\?[A-Za-z0-9!*+/=_-]{1,200}\?="
_ENCODED = re.compile(rf"{_ENCODED_WORD}(?: {_ENCODED_WORD})*")
_ANY_ENCODED = re.compile(
    r"=\?([A-Za-z0-9_-]+)(?:\*[A-Za-z0-9-]*)?\?([BbQq])\?([!->@-~]*)\?=(?:\s+(?==\?))?"
)
_LONGEST_NAME = 200
_LONGEST_LOCAL_PART = 64


class Mailbox:
    """A name, which may be empty, and an address: local part without quotes, domain in A-labels."""

    __slots__ = ("domain", "local", "name")

    def __init__(self, name: str, local: str, domain: str) -> None:
        self.name = name
        self.local = local
        self.domain = domain

    @property
    def address(self) -> str:
        """The address in its written form (RFC 5321, Mailbox)."""
        return written_address(self.local, self.domain)

    def __str__(self) -> str:
        return f"{phrase(self.name)} <{self.address}>" if self.name else self.address


class Mailboxes:
    """A field's content.

    `clean`: it may stay as it is. `faults`: the parts that are not addresses.
    """

    __slots__ = ("claimed", "clean", "empty_group", "faults", "mailboxes", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.mailboxes: list[Mailbox] = []
        self.claimed: list[tuple[str, str]] = []
        """Addresses that stand unquoted in a name: (local part, domain)."""
        self.faults: list[str] = []
        self.clean = True
        self.empty_group = False

    def __str__(self) -> str:
        return written(self.mailboxes)


def as_text(value: bytes) -> str:
    """Return a field's octets as text without control characters: UTF-8, or else Latin-1."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = value.decode("latin-1")
    return "".join(c if c.isprintable() or c in "\t\r\n" else " " for c in text)


def read(value: bytes) -> Mailboxes:
    """Parse a field's value, with its folds. Never fails."""
    found = Mailboxes(as_text(value))
    found.clean = value.isascii() and not re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", value)
    element: list[tuple[str, str]] = []
    comments: list[str] = []
    waiting: list[str] = []  # words before a comma that no quotes keep in a name
    in_group = in_angle = False
    members = 0
    for kind, text in _tokens(found):
        if kind == "comment":
            comments.append(text)
            continue
        if kind != "special" or text not in "<>,;:" or (in_angle and text != ">"):
            element.append((kind, text))
            continue
        if text in "<>":
            in_angle = text == "<"
            element.append((kind, text))
        elif text == ":":
            if in_group:
                found.faults.append("a group inside a group")
                return found
            in_group = True
            found.clean = found.clean and bool(element) and _is_phrase(element)
            members = len(found.mailboxes)
            element, comments, waiting = [], [], []
        else:
            if text == ";":
                found.clean = found.clean and in_group
                found.empty_group = in_group and not element and members == len(found.mailboxes)
                in_group = False
            _element(found, element, comments, waiting)
            if not element and text == ",":
                found.clean = False
            element, comments = [], []
    _element(found, element, comments, waiting)
    if not element and found.text.rstrip().endswith(","):
        found.clean = False
    if waiting:
        found.faults.append(" ".join(waiting))
    if in_angle or in_group:
        found.clean = False
    found.clean = found.clean and not found.faults
    return found


def _tokens(found: Mailboxes) -> list[tuple[str, str]]:
    """Yield (kind, text): atom, quoted, literal, special, comment."""
    text = found.text
    tokens: list[tuple[str, str]] = []
    place = 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:  # a lone backslash at the very end
            break
        place = match.end()
        kind = match.lastgroup or ""
        if kind == "space":
            continue
        value = match[kind]
        kind = "atom" if kind == "word" else kind
        if kind == "special" and value == "(":
            place, comment = _comment(text, place)
            tokens.append(("comment", comment))
            found.clean = False
        elif kind == "quoted":
            tokens.append(
                (kind, re.sub(r"\\(.)", r"\1", re.sub(r"\r?\n", "", value), flags=re.DOTALL))
            )
        else:
            if kind == "special" and value in '()[]"\\':
                found.clean = False
                kind = "atom" if value in '"\\' else kind
            tokens.append((kind, value))
    return tokens


def _comment(text: str, place: int) -> tuple[int, str]:
    """Return where a comment that began before `place` ends, and its content."""
    depth, began = 1, place
    for match in _COMMENT.finditer(text, place):
        if match[0] == "(":
            depth += 1
        elif match[0] == ")":
            depth -= 1
            if not depth:
                return match.end(), re.sub(
                    r"\\(.)", r"\1", text[began : match.start()], flags=re.DOTALL
                )
    return len(text), text[began:]


def _element(
    found: Mailboxes, tokens: list[tuple[str, str]], comments: list[str], waiting: list[str]
) -> None:
    """One member of the list: a mailbox, or words that may belong to the next one's name."""
    if not tokens:
        return
    specials = [text for kind, text in tokens if kind == "special"]
    if "<" not in specials:
        if "@" not in specials:
            waiting.append(_said(tokens))
            return
        address = _address(found, tokens)
        name = "" if address is None else " ".join(comments)
        before: list[tuple[str, str]] = []
    else:
        start = tokens.index(("special", "<"))
        end = next((i for i, token in enumerate(tokens) if token == ("special", ">")), len(tokens))
        before, inner = tokens[:start], tokens[start + 1 : end]
        if ("special", ":") in inner and inner[0] == ("special", "@"):
            # A route (RFC 5322, 4.4): the address follows it.
            inner = inner[len(inner) - inner[::-1].index(("special", ":")) :]
            found.clean = False
        address = _address(found, inner) if end == len(tokens) - 1 else None
        name = _said(before) or " ".join(comments)
        found.clean = found.clean and _is_phrase(before)
        if ("special", "@") in before:
            claimed = _address(found, before)
            if claimed is None:
                address = None
            else:
                found.claimed.append(claimed)
                name = written_address(*claimed)
    if address is None:
        found.faults.append(_said(tokens))
        return
    if waiting:
        name = ", ".join([*waiting, name]) if name else ", ".join(waiting)
        found.clean = False
        waiting.clear()
    found.mailboxes.append(Mailbox(" ".join(name.split()), *address))


def _is_phrase(tokens: list[tuple[str, str]]) -> bool:
    """Return whether tokens are words of a name as RFC 5322 and RFC 2047 write them."""
    return all(
        kind == "quoted"
        or (kind == "atom" and (_ENCODED if "=?" in text else _ATOMS).fullmatch(text) is not None)
        for kind, text in tokens
    )


def _address(found: Mailboxes, tokens: list[tuple[str, str]]) -> tuple[str, str] | None:
    """Return local part and domain of an addr-spec, or None if it is not one."""
    if len(tokens) != 3 or tokens[1] != ("special", "@"):
        return None
    (local_kind, local), _, (domain_kind, domain) = tokens
    if local_kind not in ("atom", "quoted") or domain_kind != "atom" or not local:
        return None
    if local_kind == "quoted" or not _DOT_ATOM.fullmatch(local):
        found.clean = False
    if not local.isascii() or not local.isprintable():
        return None
    ascii_domain = a_labels(domain)
    if ascii_domain is None or len(_local(local)) > _LONGEST_LOCAL_PART:
        return None
    if ascii_domain != domain:
        found.clean = False
    return local, ascii_domain


def a_labels(domain: str) -> str | None:
    """Return a domain as in DNS, or None if it is not valid.

    IDNA 2008 (RFC 5891) for lower-case U-labels, as a user types a hosted domain. It does not check
    which characters a registry would allow, because the name is only compared, or replied to.
    """
    if not domain.isascii():
        import unicodedata  # noqa: PLC0415  (half a megabyte that few need)

        domain = unicodedata.normalize("NFC", domain.replace("\u3002", ".").lower())
        labels = domain.split(".")
        try:
            domain = ".".join(
                label if label.isascii() else "xn--" + label.encode("punycode").decode()
                for label in labels
            )
        except UnicodeError:
            return None
    if len(domain) > 253 or not _DOMAIN.fullmatch(domain):
        return None
    return domain


def _said(tokens: list[tuple[str, str]]) -> str:
    return " ".join(text for _, text in tokens)


def _local(local: str) -> str:
    if _DOT_ATOM.fullmatch(local):
        return local
    return '"' + re.sub(r'(["\\])', r"\\\1", local) + '"'


def written_address(local: str, domain: str) -> str:
    """Return the address of an unquoted local part and a domain."""
    return f"{_local(local)}@{domain}"


def written(mailboxes: list[Mailbox]) -> str:
    """Return a field's value, folded so that no line is long. Line ends are LF."""
    lines: list[str] = []
    for each in mailboxes:
        text = str(each)
        if lines and len(lines[-1]) + len(text) < 76:
            lines[-1] += f" {text},"
        else:
            lines.append(f"{text},")
    return "\n ".join(lines).removesuffix(",")


def phrase(name: str) -> str:
    """Return a display name in ASCII (RFC 5322 phrase; RFC 2047 if necessary), folded with LF."""
    name = " ".join(name.split())
    if _ENCODED.fullmatch(name) and len(name) < 4 * _LONGEST_NAME:
        return name.replace(" ", "\n ") if len(name) > 60 else name
    name = decoded(name)[:_LONGEST_NAME]
    if name.isascii() and name.isprintable() and "=?" not in name:
        if _ATOMS.fullmatch(name):
            return name
        return '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'
    return encoded_words(name)


def decoded(text: str) -> str:
    """Return text with its encoded words decoded (RFC 2047); invalid ones stay as they are."""

    def read_one(match: re.Match[str]) -> str:
        charset, encoding, value = match.groups()
        try:
            if encoding in "Bb":
                octets = a2b_base64(value)
            else:
                octets = a2b_qp(value.replace("_", " ").encode(), header=True)
            said = octets.decode(charset, "replace")
        except (ValueError, LookupError):
            return match[0]
        return "".join(char if char.isprintable() else " " for char in said)

    return _ANY_ENCODED.sub(read_one, text)


def encoded_words(text: str) -> str:
    """Return RFC 2047 B-encoded words of UTF-8, each with whole characters, folded with LF."""
    words: list[str] = []
    piece = b""
    for char in text:
        octets = char.encode("utf-8", "replace")
        if len(piece) + len(octets) > 42:
            words.append(_word(piece))
            piece = b""
        piece += octets
    if piece:
        words.append(_word(piece))
    return "\n ".join(words)


def _word(octets: bytes) -> str:
    return f"=?utf-8?b?{b2a_base64(octets, newline=False).decode()}?="
