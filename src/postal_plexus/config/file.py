"""Parse the text of a Pulumi stack file (`Pulumi.<stack>.yaml`) for `lists.read_stack`.

The caller reads the file and passes its text; there is no I/O here. The text is interpreted as by
Pulumi: keys under `config` have a namespace, a value written by `pulumi config set` may be JSON in
a text, and `{secure: ...}` stands for a secret that only Pulumi can decrypt. In the place of a
password hash, a secret is replaced by a hash that no password matches. Anywhere else in our keys a
secret is a problem, because it cannot be checked.

Pulumi reads `yes`, `no`, `on` and `off` as texts where YAML 1.1 has booleans, and so does this
module.

Of two equal keys, YAML would silently use the second, and half the mailboxes would disappear. Here
this is a problem. Raises StackError. Needs the library `yaml`.
"""

import json
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import cast

import yaml

from postal_plexus.config.lists import read_stack
from postal_plexus.config.model import LISTS
from postal_plexus.config.problems import NAMESPACE, Problem, StackError, did_you_mean, quoted
from postal_plexus.directory.model import Directory
from postal_plexus.directory.password_hash import MEMORY_KIB, TIME_COST

_TRUTH_VALUE = "tag:yaml.org,2002:bool"


class _Loader(yaml.SafeLoader):
    """Loads texts as Pulumi's YAML library does: only true and false are booleans."""

    yaml_implicit_resolvers = {  # noqa: RUF012  what the library looks at
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _TRUTH_VALUE]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(  # pyright: ignore[reportUnknownMemberType]
    _TRUTH_VALUE, re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF")
)

_TWICE = "Keep one of the two; YAML would silently drop the first."
_PULUMI_KEYS = ("config", "environment", "encryptionsalt", "encryptedkey", "secretsprovider")


def _base64(octets: bytes) -> str:
    return b64encode(octets).decode().rstrip("=")


SEALED_HASH = (
    f"{{ARGON2ID}}$argon2id$v=19$m={MEMORY_KIB},t={TIME_COST},p=1"
    f"${_base64(b'sealed by Pulumi')}${_base64(sha256(b'sealed by Pulumi').digest())}"
)
"""Stands for a hash that cannot be read: it has the right form, and no password matches it."""


@dataclass(frozen=True, slots=True)
class StackFile:
    """The content of a stack file: every setting under its full key, such as `aws:region`."""

    settings: Mapping[str, object]
    sealed_hashes: int
    """The number of password hashes that are secrets and could not be checked."""

    def directory(self) -> Directory:
        """Return who has mail according to this file. Raise StackError."""
        prefix = f"{NAMESPACE}:"
        return read_stack(
            {
                key.removeprefix(prefix): value
                for key, value in self.settings.items()
                if key.startswith(prefix)
            }
        )


def read_stack_file(text: str | bytes) -> StackFile:
    """Parse a stack file's text. Raise StackError; for invalid YAML its Problem names the line.

    Bytes must be UTF-8; anything else is a problem.
    """
    if isinstance(text, bytes):
        try:
            text = text.decode()
        except UnicodeDecodeError as error:
            line = text.count(b"\n", 0, error.start) + 1
            raise _error(f"line {line}", "is not UTF-8", "Save the file as UTF-8.") from error
    document = _mapping(_parsed(text))
    if document is None or "config" not in document:
        raise _error("", "has no config", f"Write config:, and under it {NAMESPACE}:domains.")
    config = _mapping(document["config"])
    if config is None:
        raise _error("config", "is not a mapping of keys", f"Write {NAMESPACE}:domains under it.")
    problems = [*_foreign_keys(document, config), *_sealed_keys(config)]
    if problems:
        raise StackError(problems)
    settings = {str(key): _decoded(value) for key, value in config.items()}
    mailboxes = settings.get(f"{NAMESPACE}:mailboxes")
    if not isinstance(mailboxes, list):
        return StackFile(settings, 0)
    entries = cast("list[object]", mailboxes)
    opened = [_without_secrets(entry) for entry in entries]
    settings[f"{NAMESPACE}:mailboxes"] = [entry for entry, _ in opened]
    return StackFile(settings, sum(sealed for _, sealed in opened))


def _parsed(text: str) -> object:
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        twice = _key_that_is_twice(node)
        if twice is not None:
            raise _error(_place(twice.start_mark), f"{quoted(twice.value)} occurs twice", _TWICE)
        document = cast("object", loader.construct_document(node))  # pyright: ignore[reportUnknownMemberType]
    except yaml.MarkedYAMLError as error:
        place = _place(error.problem_mark or error.context_mark)
        what = error.problem or "cannot be read as YAML"
        raise _error(place, what, "Correct the YAML there or in the line before.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        what = f"cannot be read as YAML ({str(error).splitlines()[0]})"
        raise _error("", what, "Write it as Pulumi does: plain UTF-8 text.") from error
    return document


def _key_that_is_twice(root: yaml.Node) -> yaml.ScalarNode | None:
    """Return the first key that its mapping has twice. Anchors may make the nodes a graph."""
    waiting = [root]
    seen: set[int] = set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting.extend(node.value)
        elif isinstance(node, yaml.MappingNode):
            keys: set[str] = set()
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode):
                    if key.value in keys:
                        return key
                    keys.add(key.value)
                waiting.append(value)
    return None


def _place(mark: yaml.Mark | None) -> str:
    return "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}"


def _foreign_keys(
    document: Mapping[object, object], config: Mapping[object, object]
) -> Iterator[Problem]:
    """Yield problems of keys that look like ours but that Pulumi would not pass to our program."""
    for key in document:
        if key not in _PULUMI_KEYS:
            remedy = did_you_mean(
                str(key), _PULUMI_KEYS, "Write it under config: if it belongs to Postal Plexus."
            )
            yield Problem(str(key), "", "is not a key of a Pulumi stack file", remedy)
    for key in config:
        namespace, colon, name = str(key).partition(":")
        if not colon:
            yield Problem(str(key), "", "has no namespace", f"Write {NAMESPACE}:{key}.")
        elif namespace != NAMESPACE and did_you_mean(namespace, [NAMESPACE], ""):
            remedy = f"Write {NAMESPACE}:{name}."
            yield Problem(str(key), "", f"has the namespace {namespace}", remedy)


def _sealed_keys(config: Mapping[object, object]) -> Iterator[Problem]:
    for key in (f"{NAMESPACE}:{name}" for name in LISTS):
        if _is_sealed(config.get(key)):
            yield Problem(
                key,
                "",
                "is a secret as a whole, so it cannot be checked",
                "Write it in plain text, and make only each password-hash a secret: "
                f"pulumi config set --secret --path '{NAMESPACE}:mailboxes[0].password-hash'",
            )


def _without_secrets(entry: object) -> tuple[object, int]:
    """Return an entry with SEALED_HASH in place of each secret hash, and the number of these."""
    fields = _mapping(entry)
    if fields is None:
        return entry, 0
    opened = dict(fields)
    sealed = 0
    if _is_sealed(fields.get("password-hash")):
        opened["password-hash"] = SEALED_HASH
        sealed += 1
    apps = _mapping(fields.get("app-passwords"))
    if apps is not None:
        names = [name for name, value in apps.items() if _is_sealed(value)]
        opened["app-passwords"] = {**apps, **dict.fromkeys(names, SEALED_HASH)}
        sealed += len(names)
    return opened, sealed


def _is_sealed(value: object) -> bool:
    fields = _mapping(value)
    return fields is not None and list(fields) == ["secure"]


def _decoded(value: object) -> object:
    """Return a value as Pulumi's Config.get_object does: JSON in a text is parsed."""
    if isinstance(value, str) and value.lstrip().startswith(("[", "{")):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _mapping(value: object) -> Mapping[object, object] | None:
    return cast("Mapping[object, object]", value) if isinstance(value, Mapping) else None


def _error(key: str, what: str, remedy: str) -> StackError:
    return StackError([Problem(key, "", what, remedy)])
