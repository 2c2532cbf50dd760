"""The architectures of text-to-image models, one file each; importing this package registers the built-in ones."""

from modules.families import analytic, sd1, sd2, sd3, sdxl

__all__ = ["analytic", "sd1", "sd2", "sd3", "sdxl"]
