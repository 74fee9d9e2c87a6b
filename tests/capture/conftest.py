"""Fixtures of the capture tests."""

from network_namespace import cable, namespace, other

__all__ = ["cable", "namespace", "other"]
