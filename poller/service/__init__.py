"""The composition root: settings become adapters, and adapters an engine with its servers."""

from .running import Service

__all__ = ["Service"]
