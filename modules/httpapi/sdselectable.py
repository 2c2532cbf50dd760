"""A1111's selectable scripts as clients ask for them: a title, and values by their place in a list."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from modules.core.errors import BadValue
from modules.core.sheet import NOTHING
from modules.httpapi.sdpayload import ImageToImage, Payload
from modules.planning.axes import AXES

XYZ, MATRIX, LINES = "x/y/z plot", "prompt matrix", "prompts from file or textbox"
NONE = ("", "none")

# X/Y/Z plots name axes by their place in this list, which differs between the two kinds of making.
_ONLY_TEXT = ("Hires steps", "Hires sampler", "Hires upscaler")
_ONLY_IMAGE = ("Image CFG Scale", "Cond. Image Mask Weight")
_PLACES = (
    NOTHING, "Seed", "Var. seed", "Var. strength", "Steps", "Hires steps", "CFG Scale", "Image CFG Scale", "Prompt S/R",
    "Prompt order", "Sampler", "Hires sampler", "Checkpoint name", "Negative Guidance minimum sigma", "Sigma Churn",
    "Sigma min", "Sigma max", "Sigma noise", "Schedule type", "Schedule min sigma", "Schedule max sigma",
    "Schedule rho", "Beta schedule alpha", "Beta schedule beta", "Eta", "Clip skip", "Denoising",
    "Initial noise multiplier", "Extra noise", "Hires upscaler", "Cond. Image Mask Weight", "VAE", "Styles",
    "UniPC Order", "Face restore", "Token merging ratio", "Token merging ratio high-res",
    "Always discard next-to-last sigma", "SGM noise multiplier", "Refiner checkpoint", "Refiner switch at",
    "RNG source", "FP8 mode", "Size",
)  # fmt: skip
_KNOWN = {row.name for row in AXES}

Argument = tuple[str, Any]  # a value's label and what it is where a call leaves it out

_ARGUMENTS: Mapping[str, tuple[Argument, ...]] = {
    XYZ: (
        ("X type", 0), ("X values", ""), ("X values", []), ("Y type", 0), ("Y values", ""), ("Y values", []),
        ("Z type", 0), ("Z values", ""), ("Z values", []), ("Draw legend", True), ("Include Sub Images", False),
        ("Include Sub Grids", False), ("Keep -1 for seeds", False), ("Vary seeds for X", False),
        ("Vary seeds for Y", False), ("Vary seeds for Z", False), ("Grid margins (px)", 0),
        ("Use text inputs instead of dropdowns", False),
    ),
    MATRIX: (
        ("Put variable parts at start of prompt", False), ("Use different seed for each picture", False),
        ("Select prompt", "positive"), ("Select joining char", "comma"), ("Grid margins (px)", 0),
    ),
    LINES: (
        ("Iterate seed every line", False), ("Use same random seed for all lines", False),
        ("Insert prompts at the", "start"), ("List of prompt inputs", ""),
    ),
}  # fmt: skip


def info(is_img2img: bool) -> list[dict[str, Any]]:
    """The scripts with their arguments in order, as ``/script-info`` tells them."""
    return [
        {"name": name, "is_alwayson": False, "is_img2img": is_img2img,
         "args": [{"label": label, "value": value, "minimum": None, "maximum": None, "step": None,
                   "choices": axes_of(is_img2img) if label.endswith(" type") else None}
                  for label, value in arguments]}
        for name, arguments in _ARGUMENTS.items()
    ]  # fmt: skip


def axes_of(is_img2img: bool) -> list[str]:
    """The axes in the order in which a call counts them."""
    left_out = _ONLY_TEXT if is_img2img else _ONLY_IMAGE
    return [name for name in _PLACES if name not in left_out]


def script_of(payload: Payload) -> dict[str, Any] | None:
    """The payload's script as our request's plain data; None where it names none.

    Raises BadValue naming ``script_name`` for a script that there is none of, ``script_args`` for values that are none.
    """
    title = (payload.script_name or "").strip().lower()
    if title in NONE:
        return None
    if title not in _ARGUMENTS:
        raise BadValue(f"There is no script {payload.script_name!r}.", f"There are: {', '.join(_ARGUMENTS)}.",
                       field="script_name")  # fmt: skip
    given = list(payload.script_args or [])
    defaults = [value for _, value in _ARGUMENTS[title]]
    if len(given) > len(defaults):
        raise BadValue(f"{title} takes {len(defaults)} values, not {len(given)}.",
                       "GET /sdapi/v1/script-info lists them.", field="script_args")  # fmt: skip
    args = [value if value is not None else default
            for value, default in zip([*given, *defaults[len(given) :]], defaults, strict=True)]  # fmt: skip
    return _MAKERS[title](args, isinstance(payload, ImageToImage))


def wants_cells(payload: Payload) -> bool:
    """Whether the answer holds every picture beside the sheet: an X/Y/Z plot says so, other scripts always do."""
    args = payload.script_args or []
    return (payload.script_name or "").strip().lower() != XYZ or (len(args) > 10 and args[10] is True)


def _plot(args: Sequence[Any], is_img2img: bool) -> dict[str, Any]:
    as_text = _flag(args, 17)
    sides = {
        side: {"axis": _axis(args[at], is_img2img), "values": _values(args[at + 1 : at + 3], as_text)}
        for side, at in zip("xyz", (0, 3, 6), strict=True)
    }  # fmt: skip
    vary = [side for place, side in enumerate("xyz") if _flag(args, 13 + place)]
    return {"kind": "xyz", **sides, "legend": _flag(args, 9), "own_seeds": _flag(args, 12), "vary": vary,
            "margin": _whole(args, 16)}  # fmt: skip


def _axis(given: Any, is_img2img: bool) -> str:
    rows = axes_of(is_img2img)
    if isinstance(given, int) and not isinstance(given, bool) and 0 <= given < len(rows):
        name = rows[given]
    elif isinstance(given, str):
        name = given
    else:
        raise _bad(f"{given!r} is no axis of an X/Y/Z plot.", f"Give its place, 0-{len(rows) - 1}, or its name.")
    if name in _PLACES and name not in _KNOWN:
        raise _bad(f"The axis {name!r} is not supported.", "Leave it out.")
    return name


def _values(given: Sequence[Any], as_text: bool) -> str:
    """An axis's values as typed; chosen ones count unless the call says that it gives text."""
    typed, chosen = given
    if isinstance(chosen, str):
        chosen = [chosen] if chosen else []
    if not isinstance(typed, str) or not isinstance(chosen, list):
        raise _bad("An axis's values are a text and a list.", 'Send "" and [] where there are none.')
    if not chosen or as_text:
        return typed
    return ", ".join(f'"{one}"' if "," in one or '"' in one else one for one in map(str, chosen))


def _matrix(args: Sequence[Any], is_img2img: bool) -> dict[str, Any]:
    of = {"positive": "prompt", "negative": "negative_prompt"}.get(args[2])
    if of is None or args[3] not in ("comma", "space"):
        raise _bad("A prompt matrix takes positive or negative, and comma or space.", "Send positive and comma.")
    return {"kind": "matrix", "at_start": _flag(args, 0), "own_seeds": _flag(args, 1), "of": of, "joined": args[3],
            "margin": _whole(args, 4)}  # fmt: skip


def _lines(args: Sequence[Any], is_img2img: bool) -> dict[str, Any]:
    if args[2] not in ("start", "end") or not isinstance(args[3], str):
        raise _bad("Prompts from a text take start or end, and a text.", 'Send "start" and the prompts, one a line.')
    # There the lines are put at the start or the end of the form's prompt; here it is the other way round.
    return {"kind": "lines", "text": args[3], "own_seeds": _flag(args, 0),
            "insert": "end" if args[2] == "start" else "start"}  # fmt: skip


_MAKERS: Mapping[str, Callable[[Sequence[Any], bool], dict[str, Any]]] = {XYZ: _plot, MATRIX: _matrix, LINES: _lines}


def _flag(args: Sequence[Any], place: int) -> bool:
    if not isinstance(args[place], bool):
        raise _bad(f"Value {place + 1} of the script is neither true nor false.", "Send true or false.")
    return args[place]


def _whole(args: Sequence[Any], place: int) -> int:
    value = args[place]
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise _bad(f"Value {place + 1} of the script is no whole number.", "Send a whole number.")
    return int(value)


def _bad(message: str, hint: str) -> BadValue:
    return BadValue(message, hint, field="script_args")
