"""Edit a stack file's text in places; everything else stays, octet by octet, also comments. Pure.

The YAML parser tells where each node is in the text, and the text is cut there. Every edit is made
twice: in the text, and in the parsed content. `finish` parses the edited text and refuses it unless
it equals the edited content, so a file with unexpected syntax is not damaged.

A path is a tuple of keys and positions: `("config", "postal-plexus:mailboxes", 0, "address")`.
Raises UneditableError.
"""

import copy
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

import yaml

Path = tuple[str | int, ...]

# Texts that need no quotes, neither on a line of their own nor between brackets: addresses.
_PLAIN = re.compile(r"\w[\w.+-]*@\w[\w.-]*")
_PROPERTIES = re.compile(r"(?:[&!]\S*\s+)*")


class UneditableError(Exception):
    """The text uses syntax that this module cannot edit. It is unchanged."""


class YamlText:
    """A text and its parsed content. Each edit changes both."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.says: dict[str, Any] = _without_anchors(_read(text))

    def finish(self) -> str:
        """Return the edited text, if it means what it should."""
        if _read(self.text) != self.says:
            raise UneditableError
        return self.text

    def value(self, path: Path) -> Any:
        """Return the value at a path, or None."""
        found: Any = self.says
        for step in path:
            try:
                found = found[step]
            except (LookupError, TypeError):
                return None
        return found

    def replace(self, path: Path, new: object) -> None:
        """Replace a text or number by another value; a text's style of quotes stays."""
        node = self._node(path)
        if not isinstance(node, yaml.ScalarNode) or node.style in {"|", ">"}:
            raise UneditableError
        start, stop = node.start_mark.index, node.end_mark.index
        start += len(_matched(_PROPERTIES, self.text, start))
        quote = cast("str | None", node.style)
        if not isinstance(new, str) or not quote:
            written = _flow(new)
        else:
            written = "'" + new.replace("'", "''") + "'" if quote == "'" else _json(new)
        self.value(path[:-1])[path[-1]] = new
        self._cut(start, stop, written)

    def append(self, path: Path, item: object, *, after: str = "") -> None:
        """Append an item to a list.

        If the list does not exist, create it below its sibling `after`.
        """
        key, node = self._pair(path)
        if node is None:
            self._new_list(path, item, after)
        elif isinstance(node, yaml.SequenceNode) and not node.flow_style:
            at = self._below(node, self._inner_column(key, node))
            column = node.start_mark.column
            first = cast("list[yaml.Node]", node.value)[0]
            offset = max(first.start_mark.column - column, 2)
            self._insert(at, _block_item(item, column, offset))
        elif isinstance(node, yaml.SequenceNode) and node.value:
            at = cast("list[yaml.Node]", node.value)[-1].end_mark.index
            self._cut(at, at, f", {_flow(item)}")
        else:
            self._first_item(key, node, item)
        parent = self.value(path[:-1])
        parent[path[-1]] = [*(parent.get(path[-1]) or []), item]

    def _new_list(self, path: Path, item: object, after: str) -> None:
        key, node = self._pair((*path[:-1], after))
        if node is None:
            raise UneditableError
        column = key.start_mark.column
        at = self._below(node, self._inner_column(key, node))
        self._insert(at, block_list(str(path[-1]), [item], column))

    def _first_item(self, key: yaml.Node, node: yaml.Node, item: object) -> None:
        """Write the first item of an empty list, which may be nothing, `null`, or `[]`."""
        is_empty = isinstance(node, yaml.SequenceNode) or (
            isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"
        )
        if not is_empty:
            raise UneditableError
        colon = self.text.index(":", key.end_mark.index)
        start, stop = node.start_mark.index, node.end_mark.index
        line_end = self._line_end(colon)
        if stop > line_end:
            self._cut(stop - 1, stop - 1, _flow(item))
            return
        if start < stop:
            self._cut(colon + 1, stop, "")
        self._insert(self._line_end(colon), _block_item(item, key.start_mark.column + 2, 2))

    def put(self, path: Path, value: object, *, after: str | None = None) -> None:
        """Add a new key to a mapping: below `after`, by default before all others."""
        mapping = self._node(path[:-1])
        if not isinstance(mapping, yaml.MappingNode) or not mapping.value:
            raise UneditableError
        pairs = cast("list[tuple[yaml.Node, yaml.Node]]", mapping.value)
        name = str(path[-1])
        key, before = next(
            ((key, value) for key, value in pairs if after in {None, key.value}), pairs[-1]
        )
        if mapping.flow_style:
            written = f"{_key(name)}: {_flow(value)}"
            if after is None:
                self._cut(key.start_mark.index, key.start_mark.index, f"{written}, ")
            else:
                self._cut(before.end_mark.index, before.end_mark.index, f", {written}")
        else:
            column = key.start_mark.column
            at = (
                self._line_start(key.start_mark.index)
                if after is None
                else self._line_after(before)
            )
            self._insert(at, " " * column + _block_value(_key(name), value, column))
        self.value(path[:-1])[path[-1]] = value

    def remove(self, path: Path) -> None:
        """Remove an item from a list, or a key from a mapping. An empty list stays as `[]`."""
        parent_path, step = path[:-1], path[-1]
        parent = self._node(parent_path)
        if isinstance(parent, yaml.SequenceNode) and isinstance(step, int):
            items = cast("list[yaml.Node]", parent.value)
            spans = [(item.start_mark.index, item) for item in items]
            self._remove_item(parent_path, parent, spans, step)
        elif isinstance(parent, yaml.MappingNode):
            pairs = cast("list[tuple[yaml.Node, yaml.Node]]", parent.value)
            position = next(at for at, (key, _) in enumerate(pairs) if key.value == step)
            if len(pairs) == 1:
                raise UneditableError
            spans = [(key.start_mark.index, value) for key, value in pairs]
            if parent.flow_style:
                self._remove_between(spans, position)
            elif position == 0:
                self._cut(spans[0][0], spans[1][0], "")
            else:
                key, value = pairs[position]
                self._cut(
                    self._line_start(spans[position][0]),
                    self._below(value, key.start_mark.column),
                    "",
                )
        else:
            raise UneditableError
        del self.value(parent_path)[step]

    def _remove_item(
        self,
        path: Path,
        parent: yaml.SequenceNode,
        spans: list[tuple[int, yaml.Node]],
        position: int,
    ) -> None:
        if parent.flow_style:
            self._remove_between(spans, position)
            return
        column = parent.start_mark.column
        dash = re.compile(rf" {{{column}}}-(?=\s)")
        start = self._line_start(spans[position][0])
        while not dash.match(self.text, start):
            if start == 0:
                raise UneditableError
            start = self._line_start(start - 1)
        self._cut(start, self._below(spans[position][1], column), "")
        if len(spans) == 1:
            key, _ = self._pair(path)
            colon = self.text.index(":", key.end_mark.index)
            self._cut(colon + 1, colon + 1, " []")

    def _remove_between(self, spans: list[tuple[int, yaml.Node]], position: int) -> None:
        """Remove an element between brackets, and one comma."""
        start, node = spans[position]
        stop = node.end_mark.index
        if position + 1 < len(spans):
            stop = spans[position + 1][0]
        elif position:
            start = spans[position - 1][1].end_mark.index
        self._cut(start, stop, "")

    # Positions ---------------------------------------------------------------------------------

    def _node(self, path: Path) -> yaml.Node | None:
        node = _composed(self.text)
        for step in path:
            if isinstance(node, yaml.MappingNode):
                pairs = cast("list[tuple[yaml.Node, yaml.Node]]", node.value)
                node = next((value for key, value in pairs if key.value == step), None)
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
                node = cast("list[yaml.Node]", node.value)[step]
            else:
                return None
        return node

    def _pair(self, path: Path) -> tuple[yaml.Node, yaml.Node | None]:
        """Return a key and its value, or the mapping and None if it has no such key."""
        mapping = self._node(path[:-1])
        if not isinstance(mapping, yaml.MappingNode):
            raise UneditableError
        pairs = cast("list[tuple[yaml.Node, yaml.Node]]", mapping.value)
        return next((pair for pair in pairs if pair[0].value == path[-1]), (mapping, None))

    def _inner_column(self, key: yaml.Node, node: yaml.Node) -> int:
        """Return the column beyond which a comment below a value belongs to it."""
        column = cast("int", key.start_mark.column)
        is_block = isinstance(node, yaml.CollectionNode) and not node.flow_style
        return max(column, node.start_mark.column - 1) if is_block else column

    def _below(self, node: yaml.Node, column: int) -> int:
        """Return the start of the line below a node and the comments that belong to it."""
        at = self._line_after(node)
        comment = re.compile(r"(?:[ \t]*\n)*( *)#[^\n]*(?:\n|\Z)")
        while (found := comment.match(self.text, at)) and len(found[1]) > column:
            at = found.end()
        return at

    def _line_after(self, node: yaml.Node) -> int:
        """Return the start of the line below a node.

        The end that the parser gives for a block is the beginning of the next node.
        """
        while isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
            last: yaml.Node | tuple[yaml.Node, yaml.Node] = node.value[-1]
            node = last[1] if isinstance(last, tuple) else last
        end = cast("int", node.end_mark.index)
        if node.end_mark.column == 0 and isinstance(node, yaml.ScalarNode) and node.style:
            return end
        line_end = self._line_end(end)
        return line_end + 1 if line_end < len(self.text) else line_end

    def _line_start(self, at: int) -> int:
        return self.text.rfind("\n", 0, at) + 1

    def _line_end(self, at: int) -> int:
        end = self.text.find("\n", at)
        return len(self.text) if end < 0 else end

    # Changes -----------------------------------------------------------------------------------

    def _insert(self, at: int, lines: str) -> None:
        """Insert whole lines before the line that begins at `at`, or after one that ends there."""
        if at and self.text[at - 1] != "\n":
            has_end = at < len(self.text)
            lines = "\n" + (lines.removesuffix("\n") if has_end else lines)
        self._cut(at, at, lines)

    def _cut(self, start: int, stop: int, new: str) -> None:
        self.text = self.text[:start] + new + self.text[stop:]


def block_list(key: str, items: Sequence[object], column: int) -> str:
    """Return a list and its key in whole lines, indented by `column`."""
    if not items:
        return f"{' ' * column}{key}: []\n"
    return f"{' ' * column}{key}:\n" + "".join(_block_item(item, column + 2, 2) for item in items)


def _read(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UneditableError from error


def _composed(text: str) -> yaml.Node | None:
    try:
        return cast("yaml.Node | None", yaml.compose(text, Loader=yaml.SafeLoader))  # pyright: ignore[reportUnknownMemberType]
    except (yaml.YAMLError, RecursionError) as error:
        raise UneditableError from error


def _without_anchors(value: Any) -> Any:
    """Return a copy in which nothing is shared, so that an edit changes one place only."""
    if isinstance(value, dict):
        return {key: _without_anchors(each) for key, each in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list):
        return [_without_anchors(each) for each in cast("list[Any]", value)]
    return copy.copy(value)


def _matched(pattern: re.Pattern[str], text: str, at: int) -> str:
    found = pattern.match(text, at)
    return found.group() if found else ""


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _key(name: str) -> str:
    return (
        name
        if re.fullmatch(r"(?!no$|on$|off$|yes$|true$|false$|null$)[a-z][a-z-]*", name)
        else _json(name)
    )


def _scalar(value: object) -> str:
    """Return a text, number or boolean in YAML. A JSON string is valid YAML."""
    is_plain = isinstance(value, str) and _PLAIN.fullmatch(value)
    return value if is_plain and isinstance(value, str) else _json(value)


def _flow(value: object) -> str:
    if isinstance(value, Mapping):
        fields = cast("Mapping[str, object]", value)
        return "{" + ", ".join(f"{_key(key)}: {_flow(each)}" for key, each in fields.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(_flow, cast("Sequence[object]", value))) + "]"
    return _scalar(value)


def _block_item(item: object, column: int, offset: int) -> str:
    """Return an item of a list in whole lines; a mapping has a line for each key."""
    if not isinstance(item, Mapping):
        return f"{' ' * column}- {_flow(item)}\n"
    fields = cast("Mapping[str, object]", item)
    inner = column + offset
    lines = [_block_value(_key(key), value, inner) for key, value in fields.items()]
    head = f"{' ' * column}-{' ' * (offset - 1)}"
    return head + (" " * inner).join(lines)


def _block_value(key: str, value: object, column: int) -> str:
    """Return a key and its value in whole lines, without the first line's indentation."""
    if not isinstance(value, Mapping):
        return f"{key}: {_flow(value)}\n"
    fields = cast("Mapping[str, object]", value)
    indent = " " * (column + 2)
    return f"{key}:\n" + "".join(
        f"{indent}{_key(k)}: {_flow(each)}\n" for k, each in fields.items()
    )
