"""The form's values: shapes and qualities, the way to a request and back, drafts that survive."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.core.errors import BadValue
from modules.core.geometry import Size
from modules.core.request import GenerationRequest, Hires
from modules.families.base import Defaults
from modules.webui import carried, forms
from modules.webui.controls import CONTROLS, QUALITIES, SHAPES, Form
from modules.webui.start_rows import START_ROWS
from modules.webui.walk_rows import WALK_ROWS

FORM = Form.build()
_FINER = {row.name for row in (*START_ROWS, *WALK_ROWS)}
BARE = Form(tuple(row for row in FORM.controls if row.name not in _FINER), FORM.folds)  # with few rows
SMALL = Defaults(size=Size(width=256, height=256), steps={"draft": 12, "good": 20, "best": 28}, cfg_scale=6.0,
                 sampler="DPM++ 2M")  # fmt: skip
LARGE = Defaults(size=Size(width=512, height=512), steps={"draft": 10, "good": 22, "best": 30}, cfg_scale=7.0,
                 sampler="Euler a")  # fmt: skip


def fresh(defaults=SMALL, **changes):
    return {**forms.start(FORM, defaults, "a house"), **changes}


@pytest.mark.parametrize(
    ("shape", "size"),
    [("1:1", "256x256"), ("4:3", "320x240"), ("3:4", "240x320"), ("3:2", "336x224"), ("16:9", "336x192")],
)
def test_a_shape_has_its_ratio_and_the_familys_area(shape, size):
    assert str(forms.size_of(shape, SMALL)) == size


@given(side=st.integers(min_value=8, max_value=128).map(lambda n: n * 16), shape=st.sampled_from(list(SHAPES)))
def test_shapes_differ_and_keep_to_the_bounds(side, shape):
    defaults = Defaults(size=Size(width=side, height=side), steps=SMALL.steps, cfg_scale=7.0, sampler="Euler")
    size = forms.size_of(shape, defaults)
    wide, high = SHAPES[shape]
    assert abs(size.width / size.height / (wide / high) - 1) < 0.1
    assert 0.7 < size.pixels / defaults.size.pixels < 1.4
    assert size.width % 16 == size.height % 16 == 0


@pytest.mark.parametrize("quality", QUALITIES)
def test_a_quality_brings_steps_and_hires_and_is_recognised(quality):
    values = forms.change(fresh(), {"quality": quality}, SMALL, SMALL, FORM)
    assert values["steps"] == SMALL.steps[quality]
    assert values["hires"] == (quality == "best")
    assert forms.derive(values, SMALL)["quality"] == quality


def test_steps_by_hand_are_no_quality():
    assert forms.change(fresh(), {"steps": 21}, SMALL, SMALL, FORM)["quality"] is None


def test_another_model_brings_its_own_size_and_steps_where_words_were_chosen():
    values = forms.change(fresh(shape="4:3"), {"checkpoint": "large"}, SMALL, LARGE, FORM)
    assert (values["width"], values["height"], values["steps"], values["sampler"]) == (576, 432, 22, "Euler a")


def test_another_model_leaves_numbers_set_by_hand_alone():
    by_hand = fresh(width=320, height=304, shape=None, steps=33, quality=None)
    values = forms.change(by_hand, {"checkpoint": "large"}, SMALL, LARGE, FORM)
    assert (values["width"], values["height"], values["steps"]) == (320, 304, 33)


def test_unknown_names_in_a_change_are_left_out():
    assert "nonsense" not in forms.change(fresh(), {"nonsense": 1}, SMALL, SMALL, FORM)


def test_a_request_and_back():
    request = GenerationRequest(
        prompt="one", negative_prompt="two", size=Size(width=320, height=240), seed=7, count=3,
        hires=Hires(scale=1.5, steps=9, denoise_strength=0.4), clip_skip=2, noise="cpu", compat=("a1111",),
    )  # fmt: skip
    values = {**fresh(), **forms.values_of(request, FORM, SMALL)}
    assert forms.request_of(values, FORM) == request


@pytest.mark.parametrize(
    ("switches", "word"), [((), "native"), (("a1111",), "a1111"), (("comfy",), "comfy"), (("unit-noise",), "own")]
)
def test_rules_of_other_programs_are_a_word_or_a_mixture(switches, word):
    request = GenerationRequest(seed=1, compat=switches, emphasis="no_norm")
    values = {**fresh(), **forms.values_of(request, FORM, SMALL)}
    assert values["compat"] == word
    again = forms.request_of(values, FORM)
    assert (again.compat, again.emphasis) == (request.compat, "no_norm")


def test_rules_of_other_programs_bring_their_noise():
    values = forms.change(fresh(), {"compat": "comfy"}, SMALL, SMALL, FORM)
    assert values["noise"] == "cpu"
    assert forms.change(values, {"compat": "a1111"}, SMALL, SMALL, FORM)["noise"] == "nv"
    assert forms.change(fresh(), {"compat": "comfy", "noise": "gpu"}, SMALL, SMALL, FORM)["noise"] == "gpu"


@pytest.mark.parametrize("empty", ["", "-1", " ", None])
def test_an_empty_seed_is_made_concrete_and_differs(empty):
    seeds = {forms.request_of(fresh(seed=empty), FORM).seed for _ in range(4)}
    assert len(seeds) == 4


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [("width", 30, "size.width"), ("width", None, "size.width"), ("steps", 1e9, "sampling.steps"),
     ("seed", "x", "seed"), ("seed", "99999999999", "seed"), ("count", 0, "count"), ("sampler", "Nobody", "sampling"),
     ("cfg_scale", float("nan"), "sampling.cfg_scale"), ("steps", True, "sampling.steps")],
)  # fmt: skip
def test_a_bad_value_names_its_field(name, value, field):
    with pytest.raises(BadValue) as problem:
        forms.request_of(fresh(**{name: value}), FORM)
    assert problem.value.field.startswith(field)


def test_a_stored_draft_of_another_version_is_cleaned():
    stored = {"prompt": "kept", "gone": 1, "steps": "many", "sampler": "Nobody", "hires": "yes", "width": 320}
    values = forms.cleaned(stored, FORM, fresh())
    assert (values["prompt"], values["width"], values["steps"]) == ("kept", 320, 20)
    assert values["sampler"] == "DPM++ 2M"
    assert values["hires"] is False
    assert "gone" not in values


def test_drafts_survive_a_restart_and_the_oldest_are_forgotten(tmp_path):
    drafts = forms.Drafts(tmp_path / "forms.sqlite")
    for number in range(forms.Drafts.KEEP + 5):
        drafts.save(f"w{number}", {"prompt": f"雪 {number}"})
    drafts.close()
    drafts = forms.Drafts(tmp_path / "forms.sqlite")
    assert drafts.load("w0") is None
    assert drafts.load("w204") == {"prompt": "雪 204"}
    drafts.close()


def parts_in(annotation):
    """The parts of a request that a field may hold."""
    if hasattr(annotation, "model_fields"):
        return [annotation]
    return [part for one in getattr(annotation, "__args__", ()) for part in parts_in(one)]


def has(owner, path):
    first, _, rest = path.partition(".")
    field = owner.model_fields.get(first)
    return field is not None and (not rest or any(has(part, rest) for part in parts_in(field.annotation)))


def test_every_row_of_the_table_is_a_field_of_the_request_or_the_forms_own():
    assert [row.name for row in CONTROLS if row.field and not has(GenerationRequest, row.field)] == []


def test_elements_and_names_are_unique():
    assert len({row.name for row in CONTROLS}) == len({row.elem_id for row in CONTROLS}) == len(CONTROLS)


@pytest.mark.parametrize("form", [FORM, BARE])
def test_fields_without_a_control_are_carried_and_come_back(form):
    request = GenerationRequest.from_data(
        {"seed": 7, "prompt": "one", "tiling": "x", "variation": {"seed": 4, "strength": 0.5}, "ensd": 3,
         "seed_resize": {"width": 64, "height": 128}, "sampling": {"rho": 5.0, "unipc_order": 2}, "vae": "none",
         "refiner": {"checkpoint": "second", "switch_at": 0.5},
         "hires": {"upscaler": "Lanczos", "sampler": "Heun", "prompt": "fur"},
         "start": {"picture": "0" * 64, "frame": {"left": 1, "top": 2, "width": 3, "height": 4},
                   "inpaint": {"mask": "1" * 64, "fill": "noise"}}}
    )  # fmt: skip
    values = {**fresh(), **forms.values_of(request, form, SMALL)}
    assert forms.request_of(values, form) == request
    without = forms.request_of({**values, "hires": False}, form)
    assert without == request.model_copy(update={"hires": None})


def test_what_is_as_usual_or_has_a_control_is_not_carried():
    request = GenerationRequest.from_data({"seed": 7, "hires": {"scale": 1.5}, "clip_skip": 3, "compat": ["a1111"]})
    assert forms.values_of(request, FORM, SMALL)["carried"] == "{}"
    assert forms.values_of(GenerationRequest(seed=1), FORM, SMALL)["carried"] == "{}"


def test_fields_that_are_taken_replace_what_was_carried():
    held = '{"sampling.rho": 5.0, "tiling": "x", "variation.seed": 3, "variation.strength": 0.5}'
    taken = {
        "sampling.rho": 7.5,
        "variation": None,
        "sampling.steps": 9,
        "hires.upscaler": "Lanczos",
        "start.resize": "fill",
    }
    assert carried.read(carried.after(held, taken, BARE)) == {
        "tiling": "x", "sampling.rho": 7.5, "hires.upscaler": "Lanczos",
    }  # fmt: skip
    assert carried.read("nonsense") == carried.read("[]") == {}
