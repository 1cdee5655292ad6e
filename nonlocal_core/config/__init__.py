"""The settings: one typed tree, the presets that fill it, and `resolve`, the only way in."""

from nonlocal_core.config.tree import Config, resolve

__all__ = ["Config", "resolve"]
