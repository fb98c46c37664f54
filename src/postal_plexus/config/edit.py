"""A line of a stack file put in or taken out, with all else, comments too, left as it is. Pure.

App passwords come and go between two looks at the whole file, so a command may do it. The text is
cut where the YAML parser says that a thing stands; then old and new text are both read, and unless
they differ by exactly what was asked, nothing is changed. So a file that is written in a way that
nobody thought of is refused, not spoilt.

Fails with StackError: no such mailbox, no such app password, one that is there already, a file that
is no YAML, or one that has to be edited by hand.
"""

import json
from collections.abc import Mapping
from typing import Any, cast

import yaml

from postal_plexus.config.problems import NAMESPACE, Problem, StackError, did_you_mean, quoted
from postal_plexus.directory.address import AddressError
from postal_plexus.directory.idn import kept_address

_KEY = f"{NAMESPACE}:mailboxes"
_FIELD = "app-passwords"


def with_app_password(text: str, address: str, name: str, password_hash: str) -> str:
    """Give the text with one more app password in the entry of `address`'s mailbox."""
    mailbox = _mailbox(text, address)
    apps = _pairs(_value(mailbox, _FIELD))
    line = f"{json.dumps(name)}: {json.dumps(password_hash)}\n"
    if name in (key.value for key, _ in apps):
        raise _problem(address, f"has an app password {name} already", "Revoke that first.")
    if apps:
        first = apps[0][0].start_mark
        at, added = _line_start(text, first.line), " " * first.column + line
    else:
        key, value = _pairs(mailbox)[0]
        indent = " " * key.start_mark.column
        at = _line_start(text, _line_after(value))
        added = f"{indent}{_FIELD}:\n{indent}  {line}"
    before = text[:at] if text[:at].endswith("\n") else f"{text[:at]}\n"
    wanted = _app_passwords(text, address) | {name: password_hash}
    return _proved(text, before + added + text[at:], address, wanted)


def without_app_password(text: str, address: str, name: str) -> str:
    """Give the text without the app password; the last one takes its heading with it."""
    mailbox = _mailbox(text, address)
    apps = _pairs(_value(mailbox, _FIELD))
    names = [str(key.value) for key, _ in apps]
    if name not in names:
        has = f"It has {', '.join(names)}." if names else "It has none."
        what = f"has no app password {quoted(name)}"
        raise _problem(address, what, did_you_mean(name, names, has))
    # The heading begins the cut where nothing else would be left under it.
    among, wanted = (_pairs(mailbox), _FIELD) if len(names) == 1 else (apps, name)
    key, value = next((key, value) for key, value in among if key.value == wanted)
    start, stop = _line_start(text, key.start_mark.line), _line_start(text, _line_after(value))
    rest = {k: v for k, v in _app_passwords(text, address).items() if k != name}
    return _proved(text, text[:start] + text[stop:], address, rest)


def _proved(text: str, edited: str, address: str, app_passwords: Mapping[str, object]) -> str:
    """The edited text, if it says what the old one says but for the app passwords."""
    document = _read(text)
    entries = [
        _with_field(entry, app_passwords) if _is_of(entry, address) else entry
        for entry in _entries(document)
    ]
    wanted = {**document, "config": {**document["config"], _KEY: entries}}
    try:
        is_wanted = wanted == _read(edited)
    except yaml.YAMLError:
        is_wanted = False
    if not is_wanted:
        what = f"has {_FIELD} that this command cannot edit"
        raise _problem(address, what, "Write a name and a hash a line, or edit them by hand.")
    return edited


def _with_field(entry: Mapping[str, object], app_passwords: Mapping[str, object]) -> object:
    rest = {key: value for key, value in entry.items() if key != _FIELD}
    return {**rest, _FIELD: dict(app_passwords)} if app_passwords else rest


def _app_passwords(text: str, address: str) -> dict[str, object]:
    entry = next(entry for entry in _entries(_read(text)) if _is_of(entry, address))
    return dict(entry.get(_FIELD) or {})


def _read(text: str) -> dict[str, Any]:
    return cast("dict[str, Any]", yaml.safe_load(text))


def _entries(document: Mapping[str, Any]) -> list[Any]:
    return document["config"][_KEY]


def _is_of(entry: Mapping[str, object], address: str) -> bool:
    return _kept(str(entry.get("address"))) == _kept(address)


def _mailbox(text: str, address: str) -> yaml.MappingNode:
    """The node of the entry of a mailbox."""
    try:
        root = cast("yaml.Node | None", yaml.compose(text, Loader=yaml.SafeLoader))  # pyright: ignore[reportUnknownMemberType]
    except yaml.YAMLError as error:
        where = "Correct it: plexus check says where."
        raise StackError([Problem("", "", "cannot be read as YAML", where)]) from error
    entries = _value(_value(root, "config"), _KEY)
    found = cast("list[yaml.Node]", entries.value) if isinstance(entries, yaml.SequenceNode) else []
    for entry in found:
        named = _value(entry, "address")
        if (
            isinstance(entry, yaml.MappingNode)
            and named is not None
            and _kept(str(named.value)) == _kept(address)
        ):
            return entry
    remedy = "Write it there as an entry of its own, - address: and password-hash: below."
    raise StackError([Problem(_KEY, "", f"has no mailbox {quoted(address)}", remedy)])


def _value(node: yaml.Node | None, key: str) -> yaml.Node | None:
    return next((value for name, value in _pairs(node) if name.value == key), None)


def _pairs(node: yaml.Node | None) -> list[tuple[yaml.Node, yaml.Node]]:
    if not isinstance(node, yaml.MappingNode):
        return []
    return cast("list[tuple[yaml.Node, yaml.Node]]", node.value)


def _line_after(node: yaml.Node) -> int:
    """The line below a node, counted from 0. A block's own end is where the next thing begins."""
    while isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last: yaml.Node | tuple[yaml.Node, yaml.Node] = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    end = node.end_mark
    return end.line + (1 if end.column else 0)


def _line_start(text: str, line: int) -> int:
    """Where a line begins, counted from 0; the end of the text if it has no such line."""
    return sum(map(len, text.splitlines(keepends=True)[:line]))


def _kept(address: str) -> str:
    try:
        return str(kept_address(address)).lower()
    except AddressError:
        return address


def _problem(address: str, what: str, remedy: str) -> StackError:
    return StackError([Problem(_KEY, address, what, remedy)])
