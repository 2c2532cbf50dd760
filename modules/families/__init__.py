"""The architectures of text-to-image models, one file each; importing this package registers the built-in ones."""

from modules.families import sd1

__all__ = ["sd1"]
