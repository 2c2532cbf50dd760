"""Which extensions there are, for both processes alike."""

from modules.core.settings import CHECKOUT, Settings
from modules.extend.loader import Registry, discover


def extensions(settings: Settings) -> Registry:
    """The checkout's extensions, where the built-in ones are, then those of the data folder."""
    folders = tuple(dict.fromkeys((CHECKOUT / "extensions", settings.data / "extensions")))
    return discover(folders, settings.extensions_off, safe_mode=settings.safe_mode)


def switch(registry: Registry, off: tuple[str, ...]) -> None:
    """Make exactly these extensions be switched off."""
    for found in registry.all():
        if found.enabled == (found.name in off):
            registry.set_enabled(found.name, found.name not in off)
