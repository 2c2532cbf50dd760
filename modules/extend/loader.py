"""Finds extensions on disk, imports each behind a guard, and knows which are switched on."""

import importlib.util
import re
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modules.core import limits
from modules.core.errors import BadValue, ExtensionFailed, NotFound
from modules.extend.api import Control, Extension, about, controls, make
from modules.extend.hooks import NAMES, Hooks, check_hooks, in_words

BUILTIN = "builtin-"
SAFE_MODE = "it is left out in safe mode"


@dataclass(frozen=True)
class Found:
    """One extension as the page lists it; ``problem`` says in one line why it could not be loaded."""

    name: str
    folder: Path
    builtin: bool
    enabled: bool
    kind: type[Extension] | None = None
    problem: str = ""

    @property
    def title(self) -> str:
        return (self.kind.title if self.kind else "") or self.name

    @property
    def active(self) -> bool:
        return self.enabled and self.kind is not None

    def about(self, language: str = "en") -> str:
        return about(self.kind, language) if self.kind else ""

    def controls(self) -> tuple[Control, ...]:
        return controls(self.kind) if self.kind else ()

    def has(self, point: str) -> bool:
        """Whether the extension implements a hook."""
        return self.kind is not None and hasattr(getattr(self.kind, point, None), "atelier_impl")

    def acts_on_pictures(self) -> bool:
        """Whether it has a per-request hook, so that the form shows it."""
        return any(self.has(point) for point in NAMES[: NAMES.index("image_saved")])


class Registry:
    """Every extension found, loaded once; switching one on or off changes ``generation`` and needs no restart."""

    def __init__(self, found: Iterable[Found]) -> None:
        self._found = {row.name: row for row in found}
        self._lock = threading.Lock()
        self._failures: dict[str, int] = {}
        self._listeners: list[Callable[[], object]] = []
        self.generation = 1

    def on_change(self, listener: Callable[[], object]) -> None:
        """Call it now, and whenever an extension was switched."""
        self._listeners.append(listener)
        listener()

    def all(self) -> list[Found]:
        """All extensions, by title."""
        return sorted(self._found.values(), key=lambda row: row.title.lower())

    def active(self) -> list[Found]:
        """Those switched on and loaded, by title."""
        return [row for row in self.all() if row.active]

    def get(self, name: str) -> Found:
        """Raises NotFound naming the extension."""
        if name not in self._found:
            raise NotFound(f"There is no extension named {name!r}.", "Look at the Extensions tab for their names.")
        return self._found[name]

    def set_enabled(self, name: str, enabled: bool) -> Found:
        """Switch one on or off; takes effect with the next job and the next build of the page."""
        self._switch({self.get(name).name: enabled})
        return self.get(name)

    def set_off(self, names: Iterable[str]) -> None:
        """Exactly these are switched off from now on, all at once: listeners never see half of the change."""
        off = set(names)
        changes = {name: name not in off for name, row in self._found.items() if row.enabled == (name in off)}
        if changes:
            self._switch(changes)

    def _switch(self, changes: Mapping[str, bool]) -> None:
        with self._lock:
            for name, enabled in changes.items():
                self._found[name] = replace(self._found[name], enabled=enabled)
                self._failures.pop(name, None)
            self.generation += 1
        self._tell()

    def names_off(self) -> tuple[str, ...]:
        return tuple(sorted(name for name, row in self._found.items() if not row.enabled))

    def make(self, settings: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, Extension]]:
        """The extensions of one request, by name; raises BadValue for an unknown or switched-off one."""
        made = []
        for name in sorted(settings):
            row = self._found.get(name)
            if row is None or row.kind is None or not row.enabled:
                why = "is switched off" if row and row.kind else "is not installed"
                raise BadValue(
                    f"The extension {name!r} {why}.", "Switch it on in the Extensions tab, or leave it out.",
                    field=f"extensions.{name}", extension=name,
                )  # fmt: skip
            made.append((name, make(row.kind, settings[name], name)))
        return made

    def hooks_for(self, settings: Mapping[str, Mapping[str, Any]], failed: Callable[[ExtensionFailed], None]) -> Hooks:
        """The guarded hooks of one request's extensions."""
        return Hooks(self.make(settings), failed)

    def program_hooks(self, failed: Callable[[ExtensionFailed], None], only: str = "") -> Hooks:
        """The guarded hooks of every active extension (or ``only`` one) with its defaults, outside any request."""
        rows = [row for row in self.active() if not only or row.name == only]
        return Hooks([(row.name, row.kind()) for row in rows if row.kind], failed)

    def count_failure(self, name: str) -> bool:
        """Count a failed job; True where the extension was just switched off for failing several in a row."""
        with self._lock:
            self._failures[name] = self._failures.get(name, 0) + 1
            row = self._found.get(name)
            if row is None or not row.enabled or self._failures[name] < limits.HOOK_FAILURES_IN_A_ROW:
                return False
            self._found[name] = replace(row, enabled=False)
            self.generation += 1
        self._tell()
        return True

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()

    def count_success(self, names: Iterable[str]) -> None:
        """A job in which these did not fail ends their row of failures."""
        with self._lock:
            for name in names:
                self._failures.pop(name, None)


def discover(folders: Iterable[Path], off: Iterable[str] = (), *, safe_mode: bool = False) -> Registry:
    """Find and import every ``<folder>/<name>/extension.py``.

    One that cannot be imported, hangs longer than its budget, or misspells a hook is listed with its problem; the
    others load. With ``safe_mode`` only the built-in ones are imported; which are switched on stays as it was, so that
    a change saved meanwhile outlives the safe mode as it was meant.
    """
    off = set(off)
    found: dict[str, Found] = {}
    for folder in folders:
        for file in sorted(folder.glob("*/extension.py")):
            builtin = file.parent.name.startswith(BUILTIN)
            name = file.parent.name.removeprefix(BUILTIN)
            if name in found:
                continue
            row = Found(name, file.parent, builtin, enabled=name not in off)
            found[name] = replace(row, problem=SAFE_MODE) if safe_mode and not builtin else _loaded(row)
    return Registry(found.values())


def _loaded(row: Found) -> Found:
    answer: list[Found] = []
    thread = threading.Thread(target=lambda: answer.append(_import(row)), daemon=True, name=f"import {row.name}")
    thread.start()
    thread.join(limits.EXTENSION_IMPORT_S)
    if not answer:
        return replace(row, problem=f"its import took longer than {limits.EXTENSION_IMPORT_S:.0f} s")
    return answer[0]


def _import(row: Found) -> Found:
    module_name = "atelier_extension_" + re.sub(r"\W", "_", row.folder.name)
    try:
        spec = importlib.util.spec_from_file_location(module_name, row.folder / "extension.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module  # dataclasses look their module up here
        spec.loader.exec_module(module)
        kind = _the_extension(module)
        controls(kind)
        check_hooks(kind)
    except ModuleNotFoundError as problem:
        return replace(row, problem=f"it needs the package {problem.name!r}, which is not installed")
    except BaseException as problem:  # a guest's import must not end the program
        return replace(row, problem=in_words(problem))
    return replace(row, kind=kind)


def _the_extension(module: Any) -> type[Extension]:
    kinds = [
        member
        for member in vars(module).values()
        if isinstance(member, type) and issubclass(member, Extension) and member.__module__ == module.__name__
    ]
    if len(kinds) != 1:
        raise TypeError(f"extension.py defines {len(kinds)} extensions; it must define exactly one")
    return kinds[0]
