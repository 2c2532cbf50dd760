"""The words everything speaks: strict requests, strict JSON, events, settings."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as trials
from hypothesis import strategies as st

from modules.core import events, limits, settings, strictjson
from modules.core.compat import PRESETS, SWITCHES, preset_of
from modules.core.errors import BadValue, WorkbenchError
from modules.core.geometry import Box, Size
from modules.core.request import GenerationRequest, Hires, Inpaint, Refiner, Sampling, SoftInpaint, StartFrom, Variation
from modules.core.sampling import SAMPLERS, SCHEDULES, find_sampler, find_schedule, split_sampler_name

CHECKOUT = Path(__file__).resolve().parents[2]

hashes = st.sampled_from(["a" * 64, "0123456789abcdef" * 4])
boxes = st.builds(
    Box, left=st.integers(-99, 99), top=st.integers(-99, 99), width=st.integers(1, 999), height=st.integers(1, 999)
)
inpaints = st.builds(
    Inpaint, mask=hashes, blur=st.integers(0, 64), invert=st.booleans(), padding=st.integers(0, 256),
    fill=st.sampled_from(["fill", "original", "noise", "nothing"]), soft=st.none() | st.builds(SoftInpaint),
)  # fmt: skip
starts = st.builds(
    StartFrom, picture=hashes, resize=st.sampled_from(["stretch", "crop", "fill", "latent"]),
    denoise_strength=st.floats(0, 1), frame=st.none() | boxes, inpaint=st.none() | inpaints,
)  # fmt: skip
requests = st.builds(
    GenerationRequest,
    prompt=st.text(max_size=200),
    negative_prompt=st.text(max_size=50),
    size=st.builds(Size, width=st.integers(64, 4096), height=st.integers(64, 4096)),
    seed=st.integers(*limits.SEED),
    count=st.integers(1, 64),
    sampling=st.builds(
        Sampling,
        sampler=st.sampled_from([row.name for row in SAMPLERS]),
        schedule=st.sampled_from([row.name for row in SCHEDULES]),
        steps=st.integers(1, 150),
        cfg_scale=st.floats(0, 30),
        eta=st.none() | st.floats(0, 1),
    ),
    hires=st.none() | st.builds(Hires, scale=st.floats(1, 4), denoise_strength=st.floats(0, 1)),
    start=st.none() | starts,
    variation=st.none() | st.builds(Variation, seed=st.integers(*limits.SEED), strength=st.floats(0, 1)),
    refiner=st.none() | st.builds(Refiner, checkpoint=st.text(max_size=9), switch_at=st.floats(0, 1)),
    styles=st.lists(st.text(max_size=9), max_size=3).map(tuple),
    extensions=st.dictionaries(st.text(max_size=9), st.dictionaries(st.text(max_size=9), st.booleans()), max_size=2),
)


@trials(deadline=None)
@given(requests)
def test_a_request_survives_json_exactly(request):
    again = GenerationRequest.from_json(request.to_json())
    assert again == request
    assert again.hash() == request.hash()


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"seed": -1}, "seed"),
        ({"seed": True}, "seed"),
        ({"seed": "3"}, "seed"),
        ({"seed": 0, "sampling": {"steps": 10**9}}, "sampling.steps"),
        ({"seed": 0, "sampling": {"cfg_scale": "7"}}, "sampling.cfg_scale"),
        ({"seed": 0, "sampling": {"sampler": "Eulr"}}, "sampling.sampler"),
        ({"seed": 0, "size": {"width": -5, "height": 64}}, "size.width"),
        ({"seed": 0, "size": {"width": 64, "height": 10**20}}, "size.height"),
        ({"seed": 0, "count": 10**6}, "count"),
        ({"seed": 0, "prompt": "x" * 20_001}, "prompt"),
        ({"seed": 0, "stepps": 3}, "stepps"),
        ({"seed": 0, "version": 2}, "version"),
        ({"seed": 0, "seed_resize": {"width": 1, "height": 64}}, "seed_resize.width"),
        ({"seed": 0, "hires": {"sampler": "Eulr"}}, "hires.sampler"),
        ({"seed": 0, "start": {"picture": "../secret"}}, "start.picture"),
        ({"seed": 0, "start": {"picture": "a" * 64, "inpaint": {}}}, "start.inpaint.mask"),
        ({"seed": 0, "start": {"picture": "a" * 64, "inpaint": {"mask": "b" * 64, "blur": 65}}}, "start.inpaint.blur"),
        (
            {"seed": 0, "start": {"picture": "a" * 64, "frame": {"left": 0, "top": 0, "width": 0, "height": 9}}},
            "start.frame",
        ),
        ({}, "seed"),
    ],
)
def test_bad_values_name_the_field(data, field):
    with pytest.raises(BadValue) as caught:
        GenerationRequest.from_data(data)
    assert caught.value.field == field
    assert caught.value.status == 422


def test_a_lone_surrogate_is_refused():
    with pytest.raises(BadValue, match="surrogate"):
        GenerationRequest.from_data(json.loads('{"seed": 0, "prompt": "\\ud800"}'))


def test_a_range_offers_the_nearest():
    with pytest.raises(BadValue) as caught:
        GenerationRequest.from_data({"seed": 0, "sampling": {"steps": 1000}})
    assert caught.value.facts["nearest"] == 150


def test_seeds_wrap():
    assert GenerationRequest(seed=2**32 - 1, count=2).seeds() == (2**32 - 1, 0)


def test_a_request_of_the_first_days_still_loads():
    """What a program that knew no start, variation or refiner stored."""
    stored = (
        '{"clip_skip":1,"compat":["a1111"],"count":2,"extensions":{},"hires":{"denoise_strength":0.7,"scale":2.0,'
        '"steps":0,"upscaler":"Latent"},"model":{"checkpoint":"","sha256":null},"negative_prompt":"","noise":"nv",'
        '"prompt":"cat","sampling":{"cfg_scale":7.0,"eta":null,"sampler":"Euler a","schedule":"Automatic","steps":9},'
        '"seed":5,"size":{"height":512,"width":640},"version":1}'
    )
    request = GenerationRequest.from_json(stored)
    assert (request.seeds(), request.variation_seeds(), request.parents()) == ((5, 6), (), ())
    assert request.final_size() == Size(width=1280, height=1024)
    assert request.compat == PRESETS["a1111"]


def test_presets_of_compat_are_sets_of_switches():
    assert {switch for preset in PRESETS.values() for switch in preset} == set(SWITCHES)
    assert [preset_of(PRESETS[name]) for name in PRESETS] == list(PRESETS)
    mixed = GenerationRequest(seed=1, compat=("unit-noise", "call-clock", "unit-noise"))
    assert (mixed.compat, preset_of(mixed.compat)) == (("call-clock", "unit-noise"), "own")
    both = GenerationRequest.from_data({"seed": 1, "compat": ["comfy", "nearest-time", "call-clock"]})
    assert set(both.compat) == {*PRESETS["comfy"], "call-clock"}
    with pytest.raises(BadValue):
        GenerationRequest.from_data({"seed": 1, "compat": ["magic"]})


def test_a_variation_keeps_the_seed_and_counts_its_own():
    varied = GenerationRequest(seed=5, count=3, variation=Variation(seed=2**32 - 1, strength=0.1))
    assert (varied.seeds(), varied.variation_seeds()) == ((5, 5, 5), (2**32 - 1, 0, 1))
    still = GenerationRequest(seed=5, count=2, variation=Variation(seed=9))
    assert (still.seeds(), still.variation_seeds()) == ((5, 6), ())


@pytest.mark.parametrize(
    ("hires", "whole", "cut"),
    [
        ({"scale": 1.5}, "768x576", "768x576"),
        ({"width": 1024}, "1024x768", "1024x768"),
        ({"height": 1024}, "1365x1024", "1365x1024"),
        ({"width": 600, "height": 900}, "1200x900", "600x900"),
        ({"width": 1024, "height": 400}, "1024x768", "1024x400"),
    ],
)
def test_a_hires_size_is_a_scale_or_sides_of_which_both_are_covered(hires, whole, cut):
    made = Hires.model_validate(hires)
    size = Size(width=512, height=384)
    assert (str(made.whole(size)), str(made.enlarged(size))) == (whole, cut)


@pytest.mark.parametrize("text", ['{"cfg": NaN}', '{"cfg": Infinity}', '{"cfg": 1e999}', '{"a": {"cfg": -Infinity}}'])
def test_unreal_numbers_name_the_key(text):
    with pytest.raises(WorkbenchError) as caught:
        strictjson.loads(text)
    assert caught.value.status == 422
    assert caught.value.field.endswith("cfg")


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', "[" * 100_000, '{"a": ' + "9" * 5000 + "}", "{", b"\xff"])
def test_hostile_json_is_a_400(text):
    with pytest.raises(WorkbenchError) as caught:
        strictjson.loads(text)
    assert caught.value.status == 400


def test_events_survive_both_wires():
    for event in (
        events.Preview(job="a", picture=0, width=1, height=1, jpeg=b"\xff\xd8"),
        events.StepFinished(job="a", picture=0, call=1, calls=None),
        events.QueueChanged(paused=True, order=("a", "b")),
    ):
        assert events.from_json(event.model_dump_json()) == event
        assert events.from_data(event.model_dump()) == event


def test_sampler_names():
    assert find_sampler("K_EULER_A").name == "Euler a"
    assert find_sampler("Euler Ancestral CFG++").name == "Euler a CFG++"
    assert find_sampler("dpmpp_2s_ancestral_cfg_pp").name == "DPM++ 2S a CFG++"
    assert find_sampler("DDPM").name == "Euler a"
    assert find_schedule("karras").name == "Karras"
    assert find_schedule("align_your_steps_GITS").name == "Align Your Steps GITS"
    assert find_schedule("SGMUniform").name == "SGM Uniform"
    assert split_sampler_name("DPM++ 2M Align Your Steps 11") == ("DPM++ 2M", "Align Your Steps 11")
    assert split_sampler_name("DPM++ 2M Karras") == ("DPM++ 2M", "Karras")
    assert split_sampler_name("Euler a") == ("Euler a", None)
    with pytest.raises(BadValue, match="Eulr") as caught:
        find_sampler("Eulr")
    assert caught.value.facts["nearest"] == "Euler"


def test_every_name_of_a_sampler_and_a_schedule_means_one_of_them():
    for rows in (
        [(row.name, *row.aliases) for row in SAMPLERS],
        [(row.name, row.id, *row.aliases) for row in SCHEDULES],
    ):
        words = [{word.lower() for word in names} for names in rows]
        assert sum(map(len, words)) == len(set().union(*words))


def test_settings_order_is_file_environment_arguments(tmp_path):
    (tmp_path / "settings.toml").write_text('port = 1000\nhost = "127.0.0.2"\ndevice = "cpu"\n')
    environment = {"ATELIER_PORT": "2000", "ATELIER_HOST": "127.0.0.3"}
    found = settings.load(["--data-dir", str(tmp_path), "--port", "3000"], environment)
    assert (found.port, found.host, found.device) == (3000, "127.0.0.3", "cpu")


def test_saving_keeps_comments_and_other_values(tmp_path):
    (tmp_path / "settings.toml").write_text("# mine\nport = 1000\n")
    found = settings.load(["--data-dir", str(tmp_path)], {})
    settings.save(found, {"language": "zh"})
    text = (tmp_path / "settings.toml").read_text()
    assert "# mine" in text
    assert settings.load(["--data-dir", str(tmp_path)], {}).language == "zh"


def test_a_damaged_file_falls_back_to_the_last_good_one(tmp_path):
    found = settings.load(["--data-dir", str(tmp_path)], {})
    found = settings.save(found, {"language": "zh"})
    settings.save(found, {"theme": "dark"})
    (tmp_path / "settings.toml").write_text("language = ")
    again = settings.load(["--data-dir", str(tmp_path)], {})
    assert again.language == "zh"
    assert (tmp_path / "settings.toml.bad").exists()


def test_what_was_saved_before_the_damage_outlives_the_next_save(tmp_path):
    found = settings.load(["--data-dir", str(tmp_path)], {})
    for change in ({"language": "zh"}, {"theme": "dark"}, {"image_quality": 80}):
        found = settings.save(found, change)
    (tmp_path / "settings.toml").write_text("language = ")
    settings.save(settings.load(["--data-dir", str(tmp_path)], {}), {"previews": False})
    again = settings.load(["--data-dir", str(tmp_path)], {})
    assert (again.language, again.theme, again.previews) == ("zh", "dark", False)


def test_a_file_damaged_while_the_program_runs_does_not_keep_it_from_saving(tmp_path):
    found = settings.save(settings.load(["--data-dir", str(tmp_path)], {}), {"language": "zh"})
    found = settings.save(found, {"theme": "dark"})
    (tmp_path / "settings.toml").write_text("language = ")
    settings.save(found, {"previews": False})
    again = settings.load(["--data-dir", str(tmp_path)], {})
    assert (again.language, again.previews) == ("zh", False)
    assert (tmp_path / "settings.toml.bad").read_text() == "language = "


@pytest.mark.parametrize(
    ("text", "word"), [("prot = 1", "prot"), ('port = "x"', "port"), ("port = 0", "port"), ('theme = "x"', "theme")]
)
def test_bad_settings_are_named(tmp_path, text, word):
    (tmp_path / "settings.toml").write_text(text)
    with pytest.raises(BadValue, match=word):
        settings.load(["--data-dir", str(tmp_path)], {})


def test_a_save_killed_at_any_time_leaves_a_readable_file(tmp_path):
    """Twenty kills in a loop of saves: the file is always the old value or the new one (F6)."""
    code = (
        "import sys; from modules.core import settings\n"
        "s = settings.load(['--data-dir', sys.argv[1]], {})\n"
        "s = settings.save(s, {'image_quality': 1}); print('up', flush=True)\n"
        "while True:\n"
        "    for q in range(1, 100): s = settings.save(s, {'image_quality': q})\n"
    )
    for round_ in range(20):
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], cwd=CHECKOUT, stdout=subprocess.PIPE, env={**os.environ}
        )
        assert child.stdout is not None
        child.stdout.readline()
        try:
            child.wait(0.002 * round_)
        except subprocess.TimeoutExpired:
            child.kill()
        child.wait()
        child.stdout.close()
        assert 1 <= settings.load(["--data-dir", str(tmp_path)], {}).image_quality <= 99
        assert not (tmp_path / "settings.toml.bad").exists()


def test_core_does_not_import_torch():
    modules = "modules.core.request, modules.core.events, modules.core.settings"
    code = f"import sys, {modules}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=CHECKOUT, timeout=60)
