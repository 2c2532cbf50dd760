"""Scripts become sheets: concrete cells in reading order, the slow axes outermost when they are made."""

import pytest

from modules.core.errors import BadValue, WorkbenchError
from modules.core.request import GenerationRequest
from modules.planning.axes import AXES
from modules.planning.sheets import word
from tests.planning.test_wording import PHRASES


def sheet_of(script, **fields):
    request = GenerationRequest.from_data({"prompt": "a red cat", "seed": 7, "script": script, **fields})
    return word(request, PHRASES).request


def plot(**sides):
    options = {name: sides.pop(name) for name in ("own_seeds", "vary") if name in sides}
    fields = {name: sides.pop(name) for name in ("prompt", "hires", "seed", "styles", "start") if name in sides}
    script = {name: {"axis": axis, "values": values} for name, (axis, values) in sides.items()}
    return sheet_of({"kind": "xyz", **script, **options}, **fields)


def cells(request):
    return [request.at(picture) for picture in range(request.count)]


def test_a_plot_is_every_combination_row_by_row():
    request = plot(x=("Steps", "4, 8"), y=("CFG Scale", "1-3"), z=("Seed", "1, 2"))
    assert request.count == 12
    made = cells(request)
    assert [one.sampling.steps for one in made] == [4, 8] * 6
    assert [one.sampling.cfg_scale for one in made] == [1, 1, 2, 2, 3, 3] * 2
    assert request.seeds() == tuple(one.seed for one in made) == (1,) * 6 + (2,) * 6
    assert all(one.count == 1 and one.script is None and one.sheet is None for one in made)
    assert [axis.title for axis in request.sheet.axes] == ["Steps", "CFG Scale", "Seed"]
    assert request.sheet.axes[1].labels == ("CFG Scale: 1", "CFG Scale: 2", "CFG Scale: 3")
    assert GenerationRequest.from_json(request.to_json()) == request
    assert word(request, PHRASES).request is request, "made once"


def test_what_is_slow_changes_least_often():
    request = plot(x=("Checkpoint name", "a, b"), y=("Steps", "1-3"), z=("VAE", "None, Automatic"))
    order = request.sheet.ordered(range(request.count))
    made = [request.at(picture) for picture in order]
    assert [one.model.checkpoint for one in made] == ["a"] * 6 + ["b"] * 6
    assert [one.vae for one in made] == (["none"] * 3 + [""] * 3) * 2
    assert sorted(order) == list(range(12))
    assert request.sheet.ordered([7, 1, 0, 6]) == [0, 6, 1, 7], "Checkpoints, then VAEs, then the rest"


def test_search_and_replace_and_order():
    request = plot(x=("Prompt S/R", 'red, blue, "black, white"'), prompt="a red cat, red nose")
    assert [one.prompt for one in cells(request)] == [
        "a red cat, red nose", "a blue cat, blue nose", "a black, white cat, black, white nose",
    ]  # fmt: skip
    request = plot(x=("Prompt order", "cat, dog"), prompt="a cat and a dog")
    assert [one.prompt for one in cells(request)] == ["a cat and a dog", "a dog and a cat"]
    for axis, values in (("Prompt S/R", "green, blue"), ("Prompt order", "cat, bird"), ("Prompt order", "cat, at")):
        with pytest.raises(BadValue) as caught:
            plot(y=(axis, values))
        assert caught.value.field == "script.y.values"


def test_seeds_stay_unless_asked_otherwise():
    assert set(plot(x=("Steps", "1-3")).seeds()) == {7}
    assert plot(x=("Steps", "1-3"), y=("CFG Scale", "1, 2"), own_seeds=True).seeds() == tuple(range(7, 13))
    assert plot(x=("Steps", "1-3"), y=("CFG Scale", "1, 2"), vary=["y"]).seeds() == (7, 7, 7, 8, 8, 8)
    assert plot(x=("Seed", "1-3"), own_seeds=True).seeds() == (1, 2, 3)


def test_styles_and_wildcards_are_chosen_cell_by_cell():
    request = plot(x=("Styles", "ink, None"), prompt="a {big|small} cat")
    first, second = cells(request)
    assert first.prompt.endswith("cat, ink wash")
    assert second.prompt in ("a big cat", "a small cat")
    assert second.prompt_template == "a {big|small} cat"
    assert request.prompt == "a {big|small} cat"


@pytest.mark.parametrize("row", AXES, ids=lambda row: row.name)
def test_every_axis_changes_what_it_says(row):
    samples = {"whole": "1, 2", "number": "0.5, 1", "switch": "yes, no", "size": "64x64, 128x64", "text": "red, blue",
               "order": "red, cat", "nothing": ""}  # fmt: skip
    values = (
        "1, 1.5"
        if row.name == "Hires upscale"
        else samples.get(row.kind) or ", ".join(f'"{name}"' for name in (row.choices or ("one", "two"))[:2])
    )
    parts = {
        "hires": {"scale": 2}, "refiner": {"checkpoint": "base"},
        "start": {"picture": "a" * 64, "inpaint": {"mask": "b" * 64}},
    }  # fmt: skip
    request = sheet_of({"kind": "xyz", "y": {"axis": row.name, "values": values}}, **parts)
    made = [one.model_copy(update={"seed": 0}) if row.name != "Seed" else one for one in cells(request)]
    assert len({one.to_json() for one in made}) == (1 if row.kind == "nothing" else 2), [one.to_json() for one in made]


@pytest.mark.parametrize(
    ("axis", "values", "field"),
    [
        ("Stepps", "1", "script.x.axis"), ("Steps", "", "script.x.values"), ("Steps", "1, x", "script.x.values"),
        ("Steps", "500", "script.x.values"), ("Sampler", "Eulr", "script.x.values"), ("Size", "9", "script.x.values"),
        ("Hires steps", "1, 2", "script.x.axis"), ("Steps", "1-150, 1-150, 1-150", "script.x.values"),
        ("SGM noise multiplier", "maybe", "script.x.values"),
    ],
)  # fmt: skip
def test_a_mistake_names_its_box(axis, values, field):
    with pytest.raises(WorkbenchError) as caught:
        plot(x=(axis, values))
    assert (caught.value.field, caught.value.status) == (field, 422)
    assert caught.value.hint


def test_too_many_cells_are_refused():
    with pytest.raises(BadValue, match="450 cells"):
        plot(x=("Steps", "1-30"), y=("CFG Scale", "1-15"))


def test_all_of_an_axis():
    assert plot(x=("RNG source", "*")).count == 3
    request = GenerationRequest.from_data(
        {"seed": 1, "script": {"kind": "xyz", "x": {"axis": "Checkpoint name", "values": "*"}}}
    )
    made = word(request, PHRASES, {"checkpoints": lambda: ["one", "two"]}).request
    assert [one.model.checkpoint for one in cells(made)] == ["one", "two"]


def test_a_prompt_matrix():
    request = sheet_of({"kind": "matrix"}, prompt="a cat|in snow|at night")
    assert [one.prompt for one in cells(request)] == [
        "a cat", "a cat, in snow", "a cat, at night", "a cat, in snow, at night",
    ]  # fmt: skip
    assert [axis.labels for axis in request.sheet.axes] == [("–", "in snow"), ("–", "at night")]
    request = sheet_of(
        {"kind": "matrix", "of": "negative_prompt", "joined": "space", "at_start": True, "own_seeds": True},
        negative_prompt="blur|dark",
    )
    assert [one.negative_prompt for one in cells(request)] == ["blur", "dark blur"]
    assert request.seeds() == (7, 8)
    for prompt in ("a cat", "a" + "|b" * 9, "a" + "|b" * 100):
        with pytest.raises(BadValue) as caught:
            sheet_of({"kind": "matrix"}, prompt=prompt)
        assert caught.value.field == "script.of"


def test_prompts_from_lines():
    text = 'a dog\n\n--prompt "a \\"big\\" bird" --steps 5 --seed 3 --n_iter 2 --sampler_name "Euler a" --width 64\n'
    request = sheet_of({"kind": "lines", "text": text})
    one, two, three = cells(request)
    assert (one.prompt, one.seed, one.sampling.sampler) == ("a dog", 7, "DPM++ 2M")
    assert (two.prompt, two.seed, three.seed, two.sampling.steps) == ('a "big" bird', 3, 4, 5)
    assert (two.sampling.sampler, two.size.width, two.size.height) == ("Euler a", 64, 512)
    request = sheet_of({"kind": "lines", "text": "x\ny", "own_seeds": True, "insert": "start"})
    assert [(one.prompt, one.seed) for one in cells(request)] == [("a red cat x", 7), ("a red cat y", 8)]


def test_every_key_of_a_line():
    line = ("--sd_model base --outpath_samples x --prompt p q --negative_prompt n --styles ink --seed 4 --subseed 5 "
            '--subseed_strength 0.5 --seed_resize_from_h 64 --seed_resize_from_w 128 --sampler_name "DPM++ 2M Karras" '
            "--batch_size 1 --n_iter 1 --steps 6 --cfg_scale 2.5 --width 72 --height 80 --restore_faces false "
            "--tiling true --do_not_save_samples true")  # fmt: skip
    (made,) = cells(sheet_of({"kind": "lines", "text": line}))
    assert (made.model.checkpoint, made.prompt, made.negative_prompt) == ("base", "p q, ink wash", "n, photo")
    assert (made.seed, made.variation.seed, made.variation.strength) == (4, 5, 0.5)
    assert (made.seed_resize.width, made.seed_resize.height) == (128, 64)
    assert (made.sampling.sampler, made.sampling.schedule, made.sampling.steps) == ("DPM++ 2M", "Karras", 6)
    assert (made.sampling.cfg_scale, made.size.width, made.size.height, made.tiling) == (2.5, 72, 80, "both")


@pytest.mark.parametrize("line", ["--nope 1", "--steps x", "--steps 0", '--prompt "open', "--seed -5", "--width 1"])
def test_a_bad_line_is_named(line):
    with pytest.raises(WorkbenchError) as caught:
        sheet_of({"kind": "lines", "text": f"fine\n{line}"})
    assert caught.value.field == "script.text"
