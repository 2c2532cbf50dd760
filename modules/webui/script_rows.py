"""The rows of scripts (X/Y/Z plot, prompt matrix, prompts from a text), and their way to a request and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modules.core import limits
from modules.core.request import GenerationRequest
from modules.core.sheet import NOTHING, XYZ, Lines, Matrix
from modules.webui.rows import Control, Fold

SCRIPT_FOLD = Fold("script", toggle="script")
SIDES = ("x", "y", "z")
# Which cells get a seed of their own: none, all, or those along some sides of a plot.
SEEDS = ("one", "each", "x", "y", "z", "xy", "xz", "yz")


def _side(side: str, order: int) -> tuple[Control, ...]:
    return (
        Control(
            f"{side}_axis", "choice", NOTHING, f"script_txt2img_xyz_plot_{side}_type", order, f"script.{side}.axis",
            fold="script", choices=(NOTHING,), when=("xyz",),
        ),
        Control(
            f"{side}_values", "text", "", f"script_txt2img_xyz_plot_{side}_values", order + 1,
            f"script.{side}.values", fold="script", lines=(1, 6), when=("xyz",),
        ),
    )  # fmt: skip


SCRIPT_ROWS: tuple[Control, ...] = (
    Control(
        "script", "choice", "", "script_list", 510, "script", fold="script",
        choices=("", "xyz", "matrix", "lines"), translated=True,
    ),
    *_side("x", 520), *_side("y", 530), *_side("z", 540),
    Control(
        "matrix_of", "choice", "prompt", "script_txt2img_prompt_matrix_prompt_type", 550, "script.of", fold="script",
        choices=("prompt", "negative_prompt"), translated=True, pair=True, when=("matrix",),
    ),
    Control(
        "matrix_joined", "choice", "comma", "script_txt2img_prompt_matrix_variations_delimiter", 551, "script.joined",
        fold="script", choices=("comma", "space"), translated=True, when=("matrix",),
    ),
    Control(
        "matrix_at_start", "toggle", False, "script_txt2img_prompt_matrix_put_at_start", 552, "script.at_start",
        fold="script", when=("matrix",),
    ),
    Control(
        "lines_text", "text", "", "script_txt2img_prompts_from_file_or_textbox_prompt_txt", 560, "script.text",
        fold="script", lines=(4, 12), when=("lines",),
    ),
    Control(
        "lines_insert", "choice", "none", "script_txt2img_prompts_from_file_or_textbox_prompt_position", 561,
        "script.insert", fold="script", choices=("none", "start", "end"), translated=True, when=("lines",),
    ),
    Control(
        "script_seeds", "choice", "one", "script_txt2img_xyz_plot_no_fixed_seeds", 570, "script.own_seeds",
        fold="script", choices=SEEDS, translated=True, when=("xyz", "matrix", "lines"),
    ),
    Control(
        "script_legend", "toggle", True, "script_txt2img_xyz_plot_draw_legend", 571, "script.legend", fold="script",
        when=("xyz", "matrix"),
    ),
    Control(
        "script_margin", "slider", 0, "script_txt2img_xyz_plot_margin_size", 572, "script.margin", fold="script",
        low=0, high=limits.SHEET_MARGIN, step=2, when=("xyz", "matrix"),
    ),
)  # fmt: skip


def script_of(values: Mapping[str, Any], margin: int) -> dict[str, Any] | None:
    """The script that the values ask for as plain data, None where none is chosen; ``margin`` in pixels."""
    kind, seeds = values["script"], values["script_seeds"] or "one"
    laid = {"legend": bool(values["script_legend"]), "margin": margin}
    if kind == "xyz":
        sides = {side: {"axis": values[f"{side}_axis"] or NOTHING, "values": values[f"{side}_values"] or ""}
                 for side in SIDES}  # fmt: skip
        vary = [] if seeds in ("one", "each") else list(seeds)
        return {"kind": kind, **sides, "own_seeds": seeds == "each", "vary": vary, **laid}
    if kind == "matrix":
        return {
            "kind": kind, "of": values["matrix_of"], "joined": values["matrix_joined"],
            "at_start": bool(values["matrix_at_start"]), "own_seeds": seeds == "each", **laid,
        }  # fmt: skip
    if kind == "lines":
        return {"kind": kind, "text": values["lines_text"] or "", "insert": values["lines_insert"],
                "own_seeds": seeds == "each"}  # fmt: skip
    return None


def values_of(request: GenerationRequest) -> dict[str, Any]:
    """The values of these rows that ask for the request's script again; what another script says is left as it is."""
    script = request.script
    if script is None:
        return {"script": ""}
    made: dict[str, Any] = {"script": script.kind, "script_seeds": "each" if script.own_seeds else "one"}
    if isinstance(script, XYZ):
        for side in SIDES:
            along = getattr(script, side)
            made |= {f"{side}_axis": along.axis, f"{side}_values": along.values}
        if script.vary and not script.own_seeds:
            along_all = "".join(side for side in SIDES if side in script.vary)
            made["script_seeds"] = along_all if along_all in SEEDS else "each"
    elif isinstance(script, Matrix):
        made |= {"matrix_of": script.of, "matrix_joined": script.joined, "matrix_at_start": script.at_start}
    elif isinstance(script, Lines):
        made |= {"lines_text": script.text, "lines_insert": script.insert}
    if isinstance(script, XYZ | Matrix):
        made |= {"script_legend": script.legend, "script_margin": script.margin}
    return made
