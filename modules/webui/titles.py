"""What controls and folds are called, and what a fold's title says about its values; static/titles.js says the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from modules.core.sheet import NOTHING
from modules.webui.controls import Control, Fold, Form
from modules.webui.script_rows import SIDES
from modules.webui.words import say, table

ENGLISH = "en"  # what Gradio is built with; the document writes each visitor's own


def worded(texts: Iterable[tuple[str, str]], language: str = ENGLISH) -> str:
    """An extension's text in one language, else in English."""
    by_language = dict(texts)
    return by_language.get(language, by_language[ENGLISH])


def fold_id(fold: Fold) -> str:
    """The fold's id on the page."""
    return "fold_" + fold.name.replace(".", "_")


def fold_label(fold: Fold, language: str = ENGLISH) -> str:
    """The fold's name without its values."""
    if fold.title:
        return worded(fold.title, language)
    return say(language, f"fold.{fold.name}.name")


def label_of(row: Control, language: str = ENGLISH) -> str:
    """The label of one control; an extension's own words, or the switch that every extension has."""
    if row.label:
        return worded(row.label, language)
    if row.name.startswith("extensions."):
        return say(language, "control.extension.label")
    return say(language, f"{row.words}.label")


def choices_of(row: Control, language: str = ENGLISH) -> list[tuple[str, str]]:
    """(text, value) of each choice."""
    if not row.translated:
        return [(choice or say(language, f"{row.words}.same"), choice) for choice in row.choices]
    return [(say(language, f"{row.words}.{choice or 'none'}"), choice) for choice in row.choices]


def fold_title(fold: Fold, name: str, values: Mapping[str, Any], form: Form, language: str) -> str:
    """The title in one language: off, or the values in the order of the words' pattern."""
    return say(language, "fold.title", name=name, values=_values(fold, values, form, language))


def _values(fold: Fold, values: Mapping[str, Any], form: Form, language: str) -> str:
    if fold.toggle and not values.get(fold.toggle):
        return say(language, "fold.off")
    rows = {row.name: row for row in form.controls if row.fold == fold.name}
    pattern = table(language).get(f"fold.{fold.name}.values")
    if pattern is None:
        shown = [number(values.get(name, row.default)) for name, row in rows.items() if row.kind == "slider"]
        return ", ".join(shown) or say(language, "fold.on")
    if fold.name == "compatibility" and all(values.get(name) == row.default for name, row in rows.items()):
        return say(language, "fold.compatibility.native")
    facts = {}
    for name, row in rows.items():
        value = values.get(name, row.default)
        facts[name] = say(language, f"{row.words}.{value}") if row.translated and value else number(value)
    if fold.name == "script":
        return ", ".join([facts["script"], *_axes(values)])
    return say(language, f"fold.{fold.name}.values", **facts)


def _axes(values: Mapping[str, Any]) -> list[str]:
    """What an X/Y/Z plot goes along, as one text; nothing for other scripts."""
    named = [str(values.get(f"{side}_axis")) for side in SIDES] if values.get("script") == "xyz" else []
    return [" × ".join(name for name in named if name != NOTHING)] if any(name != NOTHING for name in named) else []


def number(value: Any) -> str:
    """A value as people write it: 7.0 is 7, and at most two decimals."""
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return "" if value is None else str(value)
