"""The tables of docs/configuration.md, made of the model.

Run as a program, it writes them into the file.
"""

import re
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from postal_plexus.config.model import (
    AliasEntry,
    DomainEntry,
    Keys,
    MailboxEntry,
    People,
    SubmissionLimits,
)
from postal_plexus.config.reading import by_key, choices_of, told

DOCUMENT = Path(__file__).parents[3] / "docs" / "configuration.md"
MODELS: tuple[type[BaseModel], ...] = (
    People,
    DomainEntry,
    MailboxEntry,
    AliasEntry,
    Keys,
    SubmissionLimits,
)
_HEAD = "| key | value | default | meaning |\n|---|---|---|---|\n"


def table(model: type[BaseModel]) -> str:
    """Return one model's keys, a row each."""
    return _HEAD + "".join(_row(key, field) for key, field in by_key(model).items())


def document(text: str) -> str:
    """Return the document with its tables made anew, each after a line that names its model."""
    for model in MODELS:
        start = f"<!-- {model.__name__} -->\n"
        before, _, after = text.partition(start)
        _, _, rest = after.partition("\n\n")
        text = f"{before}{start}{table(model)}\n{rest}"
    return text


def _row(key: str, field: FieldInfo) -> str:
    default = "(required)" if told(field, "required") else _shown(field.default)
    return f"| `{key}` | {_value(field)} | {default} | {field.description} |\n"


def _value(field: FieldInfo) -> str:
    bounds = {type(each).__name__: each for each in field.metadata}
    if choices := choices_of(field):
        return ", ".join(f"`{choice}`" for choice in choices)
    if field.annotation is bool:
        return "`true`, `false`"
    if "Ge" in bounds:
        return f"{bounds['Ge'].ge} to {bounds['Le'].le}"
    remedy: str = told(field, "remedy")
    if field.annotation is int:
        return re.sub(r"Choose one of |[().]", "", remedy)
    kind = str(field.annotation)
    kinds = {"dict": "mapping", "Mapping": "mapping", "list": "list", "Submission": "mapping"}
    return next((told for name, told in kinds.items() if name in kind), "text")


def _shown(default: Any) -> str:
    if default is True or default is False:
        return f"`{str(default).lower()}`"
    if isinstance(default, BaseModel):
        return "below"
    if isinstance(default, float):
        return f"`{default:g}`"
    return f"`{default}`" if default or default == 0 else "none"


if __name__ == "__main__":
    sys.stdout.write(f"{DOCUMENT}\n")
    DOCUMENT.write_text(document(DOCUMENT.read_text()))
