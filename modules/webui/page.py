"""One build of the page: Gradio's Blocks with the form, empty hosts for our modules, and the hidden buttons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from modules.webui.calls import Calls
from modules.webui.controls import TABS, Form, GuestTab
from modules.webui.tabs import create
from modules.webui.titles import worded
from modules.webui.words import say

# Names of the hidden buttons and what they do; static/form.js presses them.
PRESSES = ("save", "generate", "front")


def build(form: Form, calls: Calls, guests: Sequence[GuestTab] = ()) -> gr.Blocks:
    """Draw the page.

    Every event is ``queue=False`` and answers at once, with ``preprocess=False``: values come as the browser has
    them, so that one validation (the request's) speaks about all mistakes instead of Gradio's toasts.
    """
    with gr.Blocks(analytics_enabled=False, fill_width=True, title=say("en", "name")) as blocks:
        with gr.Tabs(elem_id="tabs"):
            for tab in TABS:
                with gr.Tab(say("en", f"tab.{tab}"), id=tab, elem_id=f"tab_{tab}"):
                    if tab == "create":
                        made = create.build(form)
                    else:
                        gr.Column(elem_id=tab)
            for guest in guests:
                with (
                    gr.Tab(worded(guest.title), id=guest.elem_id, elem_id=guest.elem_id),
                    gr.Column(elem_classes=["guest"]),
                ):
                    guest.draw()
        workspace = gr.Textbox("", elem_id="atelier_workspace", visible="hidden", interactive=True)
        note = gr.Textbox("", elem_id="atelier_note", visible="hidden", interactive=True)
        controls = [made[row.name] for row in form.controls]
        inputs = [workspace, note, *controls]
        for press in PRESSES:
            _event(press, getattr(calls, press), inputs, [])
        _event("apply", calls.apply, inputs, controls)
    return blocks


def _event(name: str, answer: Callable[..., Any], inputs: list[Any], outputs: list[Any]) -> None:
    button = gr.Button(name, elem_id=f"atelier_{name}", visible="hidden")
    button.click(
        answer,
        inputs,
        outputs,
        queue=False,
        show_progress="hidden",
        api_visibility="private",
        preprocess=False,
        postprocess=False,
        trigger_mode="multiple",
    )
