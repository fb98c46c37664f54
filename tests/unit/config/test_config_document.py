"""docs/configuration.md has every key, as the model reads it."""

from key_tables import DOCUMENT, MODELS, document

from postal_plexus.config.model import ALL_KEYS


def test_the_tables_are_those_of_the_model() -> None:
    """Key, value, default and meaning; to write them: .venv/bin/python tests/unit/config/key_tables.py."""
    text = DOCUMENT.read_text()
    assert all(f"<!-- {model.__name__} -->" in text for model in MODELS)
    assert document(text) == text
    assert set() == {key for key in ALL_KEYS if f"| `{key}` |" not in text}
