"""The Create tab: the form's controls in their column, the Generate bar, and empty hosts for stage, bar and rail."""

from __future__ import annotations

from typing import Any

import gradio as gr

from modules.webui.controls import Control, Form
from modules.webui.titles import ENGLISH, choices_of, fold_id, fold_label, label_of
from modules.webui.words import say

HELPED = ("x_values", "y_values", "z_values", "lines_text")  # below these our modules draw something


def build(form: Form) -> dict[str, Any]:
    """Draw the tab inside the current Blocks; returns every control's component by its name."""
    made: dict[str, Any] = {}
    with gr.Column(elem_id="create"):
        with gr.Column(elem_id="controls"):
            _rows([row for row in form.controls if not row.fold], made)
            gr.Column(elem_id="model_row")
            for fold in form.folds:
                with gr.Accordion(fold_label(fold), open=False, elem_id=fold_id(fold), elem_classes=["fold", "pro"]):
                    _rows([row for row in form.controls if row.fold == fold.name], made)
        with gr.Column(elem_id="generate_bar"):
            gr.Button(say(ENGLISH, "generate.generate"), elem_id="txt2img_generate", variant="primary")
        gr.Column(elem_id="stage")
        gr.Column(elem_id="stage_bar")
        gr.Column(elem_id="rail")
    return made


def _rows(rows: list[Control], made: dict[str, Any]) -> None:
    waiting = list(rows)
    while waiting:
        row = waiting.pop(0)
        if row.pair and waiting:
            with gr.Row(elem_classes=["pair", *_when(row)]):
                made[row.name] = _component(row)
                beside = waiting.pop(0)
                made[beside.name] = _component(beside)
        else:
            made[row.name] = _component(row)
        if row.name in HELPED:
            gr.Column(elem_id=f"help_{row.name}", elem_classes=["help", *_when(row)])
        if row.name == "prompt":
            gr.Column(elem_id="styles_row")
            gr.Column(elem_id="start_row")
            gr.Column(elem_id="carried_row")


def _when(row: Control) -> list[str]:
    """Classes by which the stylesheet shows a control only while its fold's toggle says so."""
    return ["when", *(f"when-{value}" for value in row.when)] if row.when else []


def _component(row: Control) -> Any:
    shared: dict[str, Any] = {
        "label": label_of(row),
        "elem_id": row.elem_id,
        "elem_classes": [row.kind, row.face, *_when(row)],
        "interactive": True,  # a control that is no event's input would be drawn disabled
    }
    if row.kind == "hidden":
        return gr.Textbox(row.default, **{**shared, "visible": "hidden"})
    if row.kind == "text":
        return gr.Textbox(row.default, lines=row.lines[0], max_lines=row.lines[1], min_width=0, **shared)
    if row.kind == "number":
        return gr.Number(row.default, minimum=row.low, maximum=row.high, step=row.step or 1, min_width=0, **shared)
    if row.kind == "slider":
        return gr.Slider(row.low or 0, row.high or 1, row.default, step=row.step, buttons=[], **shared)
    if row.kind == "toggle":
        return gr.Checkbox(row.default, **shared)
    if row.kind == "segments":
        return gr.Radio(choices_of(row), value=row.default, **shared)
    return gr.Dropdown(choices_of(row), value=row.default, min_width=0, **shared)
