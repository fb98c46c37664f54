"""The desk that built images come into service on."""

from system.conftest import desk

__all__ = ["desk"]
