"""The form as one table: a row a control; page, form, stored drafts, infotext and documentation read it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from modules.core import limits
from modules.core.compat import OWN, PRESETS
from modules.core.sampling import SAMPLERS, SCHEDULES
from modules.core.upscaling import UPSCALERS
from modules.library.infotextkeys import EMPHASIS
from modules.planning.axes import AXES
from modules.webui.rows import Control, Fold
from modules.webui.script_rows import SCRIPT_FOLD, SCRIPT_ROWS, SIDES
from modules.webui.start_rows import START_FOLDS, START_ROWS
from modules.webui.walk_rows import WALK_ROWS

if TYPE_CHECKING:
    from modules.extend.loader import Found

TABS = ("create", "gallery", "models", "extensions", "settings")
SHAPES: dict[str, tuple[int, int]] = {
    "1:1": (1, 1), "4:3": (4, 3), "3:4": (3, 4), "3:2": (3, 2), "2:3": (2, 3), "16:9": (16, 9)
}  # fmt: skip
QUALITIES = ("draft", "good", "best")
RANDOM_SEED = -1  # as A1111 writes it


FOLDS: tuple[Fold, ...] = (
    *START_FOLDS,
    Fold("sampling"),
    Fold("size"),
    Fold("hires", toggle="hires"),
    Fold("refiner", toggle="refiner_checkpoint"),
    Fold("variation", toggle="variation_strength"),
    Fold("compatibility"),
    SCRIPT_FOLD,
)

_steps, _cfg = limits.STEPS, limits.CFG_SCALE

CONTROLS: tuple[Control, ...] = (
    Control("face", "segments", "simple", "atelier_face", 0, face="simple", choices=("simple", "pro"), translated=True),
    Control("prompt", "text", "", "txt2img_prompt", 10, "prompt", "simple", a1111="Prompt", lines=(4, 12)),
    Control(
        "negative_prompt", "text", "", "txt2img_neg_prompt", 20, "negative_prompt",
        a1111="Negative prompt", lines=(1, 6),
    ),
    Control("styles", "hidden", "[]", "txt2img_styles", 22, "styles"),  # JSON: names in the order of applying
    Control("carried", "hidden", "{}", "atelier_carried", 23),  # JSON: fields of a request that no control shows
    Control("chance", "hidden", "", "atelier_chance", 24, "combinations"),  # "all": every combination of the prompt
    Control("shape", "segments", "1:1", "atelier_shape", 30, face="simple", choices=tuple(SHAPES)),
    Control("quality", "segments", "good", "atelier_quality", 40, face="simple", choices=QUALITIES, translated=True),
    Control(
        "seed", "text", "", "txt2img_seed", 50, "seed", a1111="Seed", pair=True
    ),  # text: "" is random and says so as its placeholder
    Control("count", "number", 1, "txt2img_batch_count", 60, "count", "simple", low=1, high=8, step=1),
    Control("checkpoint", "hidden", "", "setting_sd_model_checkpoint", 70, "model.checkpoint", "simple", a1111="Model"),
    Control(
        "sampler", "choice", "DPM++ 2M", "txt2img_sampling", 110, "sampling.sampler", fold="sampling",
        a1111="Sampler", choices=tuple(row.name for row in SAMPLERS), pair=True,
    ),
    Control(
        "schedule", "choice", "Automatic", "txt2img_scheduler", 120, "sampling.schedule", fold="sampling",
        a1111="Schedule type", choices=tuple(row.name for row in SCHEDULES),
    ),
    Control(
        "steps", "slider", 20, "txt2img_steps", 130, "sampling.steps", fold="sampling",
        a1111="Steps", low=_steps[0], high=_steps[1], step=1,
    ),
    Control(
        "cfg_scale", "slider", 7.0, "txt2img_cfg_scale", 140, "sampling.cfg_scale", fold="sampling",
        a1111="CFG scale", low=_cfg[0], high=_cfg[1], step=0.5,
    ),
    Control(
        "width", "number", 512, "txt2img_width", 210, "size.width", fold="size",
        a1111="Size", low=limits.SIDE[0], high=limits.SIDE[1], step=8, pair=True,
    ),
    Control(
        "height", "number", 512, "txt2img_height", 220, "size.height", fold="size",
        a1111="Size", low=limits.SIDE[0], high=limits.SIDE[1], step=8,
    ),
    Control("hires", "toggle", False, "txt2img_enable_hr", 310, "hires", fold="hires"),
    Control(
        "hires_scale", "slider", 2.0, "txt2img_hr_scale", 320, "hires.scale", fold="hires",
        a1111="Hires upscale", low=limits.HIRES_SCALE[0], high=limits.HIRES_SCALE[1], step=0.05,
    ),
    Control(
        "hires_steps", "slider", 0, "txt2img_hires_steps", 330, "hires.steps", fold="hires",
        a1111="Hires steps", low=0, high=_steps[1], step=1,
    ),
    Control(
        "hires_denoise", "slider", 0.7, "txt2img_denoising_strength", 340, "hires.denoise_strength", fold="hires",
        a1111="Denoising strength", low=0.0, high=1.0, step=0.01,
    ),
    Control(
        "clip_skip", "slider", 1, "setting_CLIP_stop_at_last_layers", 410, "clip_skip", fold="compatibility",
        a1111="Clip skip", low=limits.CLIP_SKIP[0], high=limits.CLIP_SKIP[1], step=1,
    ),
    Control(
        "noise", "choice", "nv", "setting_randn_source", 420, "noise", fold="compatibility",
        a1111="RNG", choices=("nv", "cpu", "gpu"), translated=True,
    ),
    Control(
        "emphasis", "choice", "original", "setting_emphasis", 425, "emphasis", fold="compatibility",
        a1111="Emphasis", choices=tuple(EMPHASIS), translated=True,
    ),
    Control(
        "compat", "choice", "native", "atelier_compat", 430, "compat", fold="compatibility",
        choices=(*PRESETS, OWN), translated=True,
    ),
    Control("compat_own", "hidden", "[]", "atelier_compat_own", 432, "compat"),  # JSON: switches that are no preset
    *START_ROWS,
    *WALK_ROWS,
    *SCRIPT_ROWS,
)  # fmt: skip


def extension_name(extension: str) -> str:
    """The draft's key of an extension's switch; its fields are "<this>.<field>"."""
    return f"extensions.{extension}"


def for_extensions(found: Iterable[Found]) -> tuple[tuple[Fold, ...], tuple[Control, ...]]:
    """The folds and controls of the active extensions that act on pictures: a switch, then the fields."""
    folds, rows = [], []
    order = 1_000
    for extension in found:
        if not extension.acts_on_pictures():
            continue
        switch = extension_name(extension.name)
        folds.append(Fold(switch, toggle=switch, title=_translations(extension, "title", extension.title)))
        order += 10
        rows.append(Control(switch, "toggle", False, f"extension_{extension.name}", order, fold=switch))
        for field in extension.controls():
            order += 10
            rows.append(
                Control(
                    f"{switch}.{field.name}",
                    field.kind,
                    field.default,
                    f"extension_{extension.name}_{field.name}",
                    order,
                    fold=switch,
                    low=field.low,
                    high=field.high,
                    step=field.step or (1 if isinstance(field.default, int) else 0.01),
                    choices=field.choices,
                    label=_translations(extension, field.name, field.label),
                    info=_translations(extension, f"{field.name}.help", field.help),
                )
            )
    return tuple(folds), tuple(rows)


def _translations(extension: Found, key: str, english: str) -> tuple[tuple[str, str], ...]:
    words = extension.kind.words if extension.kind else {}
    return (("en", english), *((language, said[key]) for language, said in words.items() if key in said))


@dataclass(frozen=True)
class Form:
    """The table of one build of the page: the program's rows and those of its active extensions, in order."""

    controls: tuple[Control, ...]
    folds: tuple[Fold, ...]

    @classmethod
    def build(cls, found: Iterable[Found] = ()) -> Form:
        folds, rows = for_extensions(found)
        samplers, schedules = [row.name for row in SAMPLERS], [row.name for row in SCHEDULES]
        names = {
            "sampler": samplers, "schedule": schedules, "hires_sampler": ["", *samplers],
            "hires_schedule": ["", *schedules], "hires_upscaler": [row.name for row in UPSCALERS],
            **{f"{side}_axis": [row.name for row in AXES] for side in SIDES},
        }  # fmt: skip
        own = [replace(row, choices=tuple(names[row.name])) if row.name in names else row for row in CONTROLS]
        ordered = sorted((*own, *rows), key=lambda row: row.order)
        return cls(tuple(ordered), (*FOLDS, *folds))

    def defaults(self) -> dict[str, Any]:
        return {row.name: row.default for row in self.controls}

    def named(self, name: str) -> Control:
        """The row of that name; raises KeyError."""
        return next(row for row in self.controls if row.name == name)


@dataclass(frozen=True)
class GuestTab:
    """An extension's tab: its element, its title by language, and what draws it."""

    elem_id: str
    title: tuple[tuple[str, str], ...]
    draw: Callable[[], None]


@dataclass(frozen=True)
class Drawn:
    """Everything of one build that the document words anew for each visitor."""

    form: Form
    guests: tuple[GuestTab, ...] = ()
