"""Which extensions there are, for both processes alike."""

from collections.abc import Callable

from modules.core.errors import ExtensionFailed
from modules.core.settings import CHECKOUT, Settings
from modules.extend.loader import Registry, discover
from modules.extend.registers import Registers, gather
from modules.families.base import set_guests


def extensions(settings: Settings) -> Registry:
    """The checkout's extensions, where the built-in ones are, then those of the data folder."""
    folders = tuple(dict.fromkeys((CHECKOUT / "extensions", settings.data / "extensions")))
    return discover(folders, settings.extensions_off, safe_mode=settings.safe_mode)


def announce(registry: Registry, failed: Callable[[ExtensionFailed], None]) -> Registers:
    """Make the samplers, schedules and families of the active extensions known in this process."""
    made = gather(registry, failed)
    set_guests(made.families)
    return made
