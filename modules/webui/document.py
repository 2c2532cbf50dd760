"""Our index document: Gradio's HTML with our styles, modules, saved values, language, theme and a first paint."""

from __future__ import annotations

import html
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modules.webui import theme
from modules.webui.controls import TABS, Control, Drawn, Form
from modules.webui.files import Static
from modules.webui.titles import choices_of, fold_id, fold_label, fold_title, label_of, worded
from modules.webui.words import say, table

POLICY = (
    "default-src 'self'; script-src 'self' 'nonce-{nonce}'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; object-src 'none'; base-uri 'self'; frame-ancestors 'self'"
)
STYLES = ("frame.css", "controls.css", "regions.css", "canvas.css", "phone.css")
FRAME = (Path(__file__).parent / "frame.html").read_text("utf-8")
TAGS = {"en": "en", "zh": "zh-CN"}  # what <html lang> says

_CONFIG = "window.gradio_config = "
# Links to other sites, to a file that a mounted Gradio does not have, and the loader of a helper for iframes.
_FOREIGN = re.compile(
    r'\s*<meta\s+(?:property|name)="(?:og|twitter):[^>]*>|\s*<link rel="manifest"[^>]*>'
    r"|\s*<script>\s*\(\(\) => \{\s*const root = (?:(?!</script>).)*</script>",
    re.DOTALL,
)
# Runs before the first paint: only the browser knows whether the system is dark.
_DARK = (
    "(()=>{const r=document.documentElement,m=matchMedia('(prefers-color-scheme: dark)');"
    "const s=()=>r.classList.toggle('dark',r.dataset.theme==='dark'||(r.dataset.theme==='system'&&m.matches));"
    "s();m.addEventListener('change',s)})()"
)


@dataclass(frozen=True)
class Visitor:
    """Who asks for the page: everything that differs between two openings of one build."""

    origin: str  # scheme and host, as the browser knows us
    language: str
    theme: str  # light, dark or system
    workspace: str
    values: Mapping[str, Any]  # what the form shows from the first paint on
    is_first: bool  # no picture was ever made here


class Document:
    """One build's HTML, cut open once where each visitor's own parts are written in."""

    def __init__(self, rendered: str, drawn: Drawn, build: int, prefix: str, static: Static) -> None:
        before, rest = _FOREIGN.sub("", rendered).split(_CONFIG, 1)
        self._config, end = json.JSONDecoder().raw_decode(rest)
        self._config["components"] = [_without_api(part) for part in self._config["components"]]
        self._start = re.sub(r'<base href="[^"]*"', f'<base href="{prefix}/"', before) + _CONFIG
        self._head, self._body = rest[end:].split("</head>", 1)
        self._form = drawn.form
        self._by_language: dict[str, str] = {}
        self._build = build
        self._prefix = prefix
        self._static = static
        self._rows = {row.elem_id: row for row in drawn.form.controls}
        self._folds = {fold_id(fold): fold for fold in drawn.form.folds}
        self._guests = {guest.elem_id: guest for guest in drawn.guests}

    def write(self, visitor: Visitor, boot: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
        """The HTML for one visitor and its headers; ``boot`` is what our modules read besides words and controls."""
        nonce = secrets.token_urlsafe(16)
        components = [self._component(part, visitor) for part in self._config["components"]]
        config = {**self._config, "root": visitor.origin + self._prefix, "components": components}
        mode = "" if visitor.theme == "system" else f' theme_mode="{visitor.theme}"'
        body = self._body.replace("<gradio-app", f"{_frame(visitor)}<gradio-app{mode}", 1)
        page = "".join((
            _opened(self._start, visitor),
            _script_json(config),
            self._head,
            self._links(),
            "</head>",
            body.replace("</body>", self._scripts(visitor, boot) + "</body>", 1),
        ))  # fmt: skip
        return page.replace("<script", f'<script nonce="{nonce}"'), {
            "content-security-policy": POLICY.format(nonce=nonce),
            "x-frame-options": "SAMEORIGIN",
            "x-content-type-options": "nosniff",
            "referrer-policy": "same-origin",
            "cache-control": "no-store",
        }

    def _component(self, part: dict[str, Any], visitor: Visitor) -> dict[str, Any]:
        """One component of Gradio's config in the visitor's language, with the visitor's value."""
        elem_id = part["props"].get("elem_id") or ""
        tab = elem_id.removeprefix("tab_")
        said: dict[str, Any] = {}
        if elem_id in self._rows:
            said = self._control(self._rows[elem_id], visitor)
        elif elem_id in self._folds:
            fold = self._folds[elem_id]
            name = fold_label(fold, visitor.language)
            said = {"label": fold_title(fold, name, visitor.values, self._form, visitor.language)}
        elif elem_id in self._guests:
            said = {"label": worded(self._guests[elem_id].title, visitor.language)}
        elif elem_id == "atelier_workspace":
            said = {"value": visitor.workspace}
        elif elem_id == "txt2img_generate":
            said = {"value": say(visitor.language, "generate.generate")}
        elif tab in TABS and tab != elem_id:
            said = {"label": say(visitor.language, f"tab.{tab}")}
        return {**part, "props": {**part["props"], **said}} if said else part

    def _control(self, row: Control, visitor: Visitor) -> dict[str, Any]:
        said: dict[str, Any] = {
            "label": label_of(row, visitor.language),
            "value": visitor.values.get(row.name, row.default),
        }
        if row.choices:
            said["choices"] = [list(choice) for choice in choices_of(row, visitor.language)]
        if row.kind == "text" and not row.label:
            said["placeholder"] = table(visitor.language).get(f"{row.words}.placeholder", "")
        return said

    def _same(self, language: str) -> str:
        """The end of a JSON object: what is equal for all visitors of one language, written once."""
        if language not in self._by_language:
            known = {"form": _rows_for_browser(self._form, language), "words": dict(table(language))}
            self._by_language[language] = _script_json(known)[1:]
        return self._by_language[language]

    def _links(self) -> str:
        sheets = [f"{self._prefix}/theme.css?v={self._config.get('theme_hash', '')}"]
        sheets += [self._static.url(name) for name in STYLES]
        links = [f'<link rel="icon" type="image/svg+xml" href="{self._static.url("icon.svg")}">']
        links += [f'<link rel="stylesheet" href="{sheet}">' for sheet in sheets]
        links += [f'<link rel="modulepreload" href="{self._static.url(name)}">' for name in self._static.modules()]
        return f"<style>{theme.tokens()}</style>{''.join(links)}<script>{_DARK}</script>"

    def _scripts(self, visitor: Visitor, boot: Mapping[str, Any]) -> str:
        known = {
            **boot,
            "build": self._build,
            "language": visitor.language,
            "theme": visitor.theme,
            "workspace": visitor.workspace,
            "values": dict(visitor.values),
            "static": self._static.root,
        }
        return (
            f'<script type="application/json" id="boot">{_script_json(known)[:-1]},'
            f"{self._same(visitor.language)}</script>"
            f'<script type="module" src="{self._static.url("main.js")}"></script>'
        )


def _without_api(part: dict[str, Any]) -> dict[str, Any]:
    """A component of Gradio's config without what only its page about the API shows: half of all bytes."""
    return {name: value for name, value in part.items() if not name.startswith("api_info") and name != "example_inputs"}


def _opened(start: str, visitor: Visitor) -> str:
    """Gradio's opening of the document, with language, theme and face on the html element."""
    face = "pro" if visitor.values.get("face") == "pro" else "simple"
    classes = [
        f"face-{face}",
        *(["dark"] if visitor.theme == "dark" else []),
        *(["no-pictures"] if visitor.is_first else []),
        *(["starts"] if visitor.values.get("start_picture") else []),
        *(["masks"] if visitor.values.get("start_inpaint") else []),
    ]
    opened = f'<html lang="{TAGS[visitor.language]}" class="{" ".join(classes)}" data-theme="{visitor.theme}"'
    return re.sub(r'<html\s+lang="[^"]*"', opened, start, count=1)


def _frame(visitor: Visitor) -> str:
    """What stands before Gradio's own: header, and a skeleton whose prompt can be written in at once."""
    known = {"early": str(visitor.values.get("prompt") or "")}

    def text(found: re.Match[str]) -> str:
        return html.escape(known[found[1]] if found[1] in known else say(visitor.language, found[1]))

    return re.sub(r"\{\{([\w.]+)\}\}", text, FRAME)


def _rows_for_browser(form: Form, language: str) -> dict[str, Any]:
    """The table as our modules read it: which element is which control, and how folds are made up."""
    return {
        "controls": [
            {
                "name": row.name,
                "kind": row.kind,
                "id": row.elem_id,
                "field": row.field,
                "fold": row.fold,
                "default": row.default,
                "low": row.low,
                "high": row.high,
                "words": row.words,
                "choices": row.translated,
                "list": [list(choice) for choice in choices_of(row, language)],
            }
            for row in form.controls
        ],
        "folds": [{"name": fold.name, "id": fold_id(fold), "toggle": fold.toggle} for fold in form.folds],
    }


def _script_json(data: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
