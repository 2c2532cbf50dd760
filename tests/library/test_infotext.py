"""The parameters text: written in A1111's form, read from anybody, bounded, and the request back again."""

import re
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modules.core import limits
from modules.core.compat import PRESETS, SWITCHES
from modules.core.geometry import Box, Size
from modules.core.part import Part
from modules.core.request import (
    GenerationRequest,
    Hires,
    Inpaint,
    ModelChoice,
    Refiner,
    Sampling,
    SoftInpaint,
    StartFrom,
    Variation,
)
from modules.core.sampling import SAMPLERS, SCHEDULES
from modules.library.infotext import read, write
from modules.library.recall import flat
from tests.effort import effort

BASE = GenerationRequest(seed=0)
FACTS = {"model": "starter", "sha256": "ab" * 32}


def test_the_plain_text():
    request = GenerationRequest(prompt="a cat", negative_prompt="blurry", seed=5, count=3)
    assert write(request, FACTS, 2) == (
        "a cat\nNegative prompt: blurry\n"
        "Steps: 20, Sampler: DPM++ 2M, Schedule type: Automatic, CFG scale: 7, Seed: 7, Size: 512x512, "
        "Model hash: ababababab, Model: starter, RNG: NV, Version: Atelier"
    )


def test_every_key_in_its_order():
    request = GenerationRequest(
        seed=1,
        sampling=Sampling(sampler="Euler a", schedule="Karras", steps=30, cfg_scale=5.25, eta=0.5),
        size=Size(width=640, height=512),
        clip_skip=2,
        noise="gpu",
        hires=Hires(scale=1.5, steps=10, denoise_strength=0.55),
        compat=("call-clock", "unit-noise"),
        extensions={"builtin-rescale-cfg": {"amount": 0.7}},
    )
    facts = {"model": "a, b: c", "version": "1.2", "lora_hashes": {"ink": "123456789abc", "wash": "abc"}}
    assert write(request, facts, 0) == (
        "Steps: 30, Sampler: Euler a, Schedule type: Karras, CFG scale: 5.25, Seed: 1, Size: 640x512, "
        'Model: "a, b: c", Denoising strength: 0.55, Clip skip: 2, RNG: GPU, Hires upscale: 1.5, Hires steps: 10, '
        'Hires upscaler: Latent, Eta: 0.5, Lora hashes: "ink: 123456789abc, wash: abc", '
        "Compat: call-clock unit-noise, "
        r'Extension builtin-rescale-cfg: "{\"amount\": 0.7}", Version: Atelier 1.2'
    )


A1111 = """masterpiece, best quality
second line
Negative prompt: worst, low
quality
Steps: 28, Sampler: DPM++ 2M Karras, CFG scale: 7.5, Seed: 1234, Size: 512x768, Model hash: abcdef1234, \
Model: sd-v1-5, Denoising strength: 0.55, Clip skip: 2, ENSD: 31337, Hires upscale: 1.5, Hires steps: 10, \
Hires upscaler: Latent, Lora hashes: "a: 123, b: 456", Version: v1.6.0, Foo bar"""


@pytest.mark.parametrize("text", [A1111, A1111.replace("\n", "\r\n"), A1111 + "\nTemplate: x\n", A1111 + "\n\n"])
def test_reads_a1111(text):
    recall = read(text)
    assert not recall.warnings
    assert recall.unknown == {"Lora hashes": "a: 123, b: 456"}
    assert (recall.model_hash, recall.made_by) == ("abcdef1234", "v1.6.0")
    assert recall.apply(BASE) == GenerationRequest(
        prompt="masterpiece, best quality\nsecond line",
        negative_prompt="worst, low\nquality",
        size=Size(width=512, height=768),
        seed=1234,
        sampling=Sampling(sampler="DPM++ 2M", schedule="Karras", steps=28, cfg_scale=7.5),
        model=ModelChoice(checkpoint="sd-v1-5"),
        clip_skip=2,
        noise="nv",
        ensd=31337,
        hires=Hires(scale=1.5, steps=10, denoise_strength=0.55),
        compat=("a1111",),
    )


def test_silence_means_the_defaults():
    base = GenerationRequest(
        seed=9, clip_skip=2, noise="cpu", hires=Hires(), extensions={"x": {}}, sampling=Sampling(eta=0.5),
        model=ModelChoice(checkpoint="a", sha256="0" * 64),
    )  # fmt: skip
    found = read("cat\nSteps: 20, Sampler: Euler, Seed: 5, Model: b").apply(base)
    assert (found.clip_skip, found.noise, found.hires, found.extensions) == (1, "nv", None, {})
    assert (found.sampling.eta, found.sampling.schedule) == (None, "Automatic")
    assert found.model == ModelChoice(checkpoint="b")


def test_only_a_prompt():
    assert read("a cat: b, c: d").fields == {"prompt": "a cat: b, c: d"}
    assert read("").fields == {"prompt": ""}
    assert read("a\nNegative prompt: b").fields == {"prompt": "a", "negative_prompt": "b"}


def test_hires_resize():
    assert read("Steps: 9, Seed: 1, Size: 512x512, Hires resize: 1024x768").apply(BASE).hires == Hires(
        width=1024, height=768
    )


@pytest.mark.parametrize(
    ("pair", "field"),
    [
        ("Size: 9999999x1", "size.width"),
        ("Size: 512", "size"),
        ("Steps: 1000000000", "sampling.steps"),
        ("Steps: nan", "sampling.steps"),
        ("Steps: 20.5", "sampling.steps"),
        ("CFG scale: 1e999", "sampling.cfg_scale"),
        ("CFG scale: inf", "sampling.cfg_scale"),
        ("Seed: -1", "seed"),
        ("Clip skip: 99", "clip_skip"),
        ("Sampler: Nonsense", "sampling.sampler"),
        ("RNG: dice", "noise"),
        ("Hires upscale: 99", "hires.scale"),
    ],
)
def test_values_are_checked_as_the_api_checks_them(pair, field):
    key = pair.split(":")[0]
    others = [one for one in ("Steps: 20", "Seed: 5", "CFG scale: 7", "Size: 512x512") if one.split(":")[0] != key]
    recall = read(", ".join(["Ignored: 1", *others, pair]))
    (warning,) = recall.warnings
    assert warning.field is not None
    assert warning.field.split(".")[0] == field.split(".")[0]
    assert warning.hint
    assert recall.fields.get(field) in (None, 1)  # 1: what a text means that says no clip skip
    recall.apply(BASE)


def test_extensions_of_others_are_not_ours():
    text = "Steps: 20, Seed: 5, CFG scale: 7, Extension x: 1"
    assert read(text).unknown == {"Extension x": "1"}
    (warning,) = read(text + ", Version: Atelier").warnings
    assert warning.field == "extensions.x"


@pytest.mark.parametrize(
    ("line", "unknown"),
    [
        ('Steps: 1, Seed: 2, CFG scale: 3, Foo: "a, \\"b\\": c"', {"Foo": 'a, "b": c'}),
        ('Steps: 1, Seed: 2, CFG scale: 3, Foo: "open, Bar: 2', {"Foo": '"open', "Bar": "2"}),
        ('Steps: 1, Seed: 2, CFG scale: 3, Hashes: {"a": "b", "c": "d"}, Bar: 2', {
            "Hashes": '{"a": "b", "c": "d"}', "Bar": "2",
        }),
        ("Steps: 1, Seed: 2, CFG scale: 3, Tiling, Foo: , X: 1, (odd) Bar: 2", {"Foo": "", "Bar": "2"}),
        ("Steps: 1, Seed: 2, CFG scale: 3, Version: v1.10.1, User: a:b", {"User": "a:b"}),
    ],
)  # fmt: skip
def test_quoting_and_odd_pairs(line, unknown):
    assert read(line).unknown == unknown


def test_a_second_negative_prompt_never_stands_in_the_text():
    request = GenerationRequest(prompt="a\nNegative prompt: b", negative_prompt="Negative prompt: c", seed=1)
    text = write(request, {}, 0)
    assert text.count("Negative prompt:") == 1
    assert read(text).fields["prompt"] == "a\nNegative prompt : b"


def test_control_characters_and_bounds():
    request = GenerationRequest(prompt="a\0\x1b[31m" + "猫" * 19_000, seed=1, extensions={"x": {"a": "猫" * 200_000}})
    text = write(request, {"model": "\ud800" + "m" * 200_000}, 0)
    assert "\0" not in text
    assert len(text.encode()) <= limits.INFOTEXT_WRITTEN_BYTES
    assert read(text).fields["prompt"] == "a\x1b[31m" + "猫" * 19_000
    (warning,) = read("a" * (limits.INFOTEXT_READ_BYTES + 1)).warnings
    assert warning.code == "infotext_too_long"


HOSTILE = [
    "kk: v, " * 100_000,
    "a" * 1_000_000,
    'kk: "' * 200_000,
    "kk: {" * 200_000,
    'kk: "\\", ' * 100_000,
    "kk" + " " * 900_000 + ": 1,",
    "a/-" * 300_000 + "(:",
    " " * 1_000_000,
    "\n" * 1_000_000,
    ", ".join(f"key {i}: {i}" for i in range(50_000)),
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: repr(text[:10]))
def test_hostile_text_is_read_in_linear_time(text):
    with effort(5.0):  # 0.1 s when nothing else runs
        read(text)


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=60).filter(
    lambda text: "Negative prompt:" not in text
)
NAME = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30).map(str.strip)
FLOATS = st.floats(0, 1)


HASH = st.text("0123456789abcdef", min_size=64, max_size=64)
SIZES = st.builds(Size, width=st.integers(64, 4096), height=st.integers(64, 4096))
SAMPLER = st.sampled_from([row.name for row in SAMPLERS])
SCHEDULE = st.sampled_from([row.name for row in SCHEDULES])
POSITIVE = st.floats(0.1, 10)
LINE = NAME.filter(lambda text: text and not text.startswith("Use same "))
SAMPLING = st.builds(
    Sampling, sampler=SAMPLER, schedule=SCHEDULE, steps=st.integers(1, 150), cfg_scale=st.floats(0, 30),
    eta=st.none() | FLOATS, s_churn=st.none() | FLOATS, s_tmin=st.none() | FLOATS, s_tmax=st.none() | POSITIVE,
    s_noise=st.none() | FLOATS, sigma_min=st.none() | FLOATS, sigma_max=st.none() | POSITIVE,
    rho=st.none() | POSITIVE, beta_alpha=POSITIVE, beta_beta=POSITIVE, discard_penultimate=st.none() | st.booleans(),
    zero_terminal_snr=st.booleans(), sgm_noise_multiplier=st.booleans(), unipc_order=st.none() | st.integers(1, 50),
    unipc_variant=st.sampled_from(["bh1", "bh2"]),
    unipc_skip=st.sampled_from(["time_uniform", "time_quadratic", "logSNR"]), unipc_lower_order_final=st.booleans(),
)  # fmt: skip
HIRES = st.builds(
    Hires, scale=st.floats(1, 4), steps=st.integers(0, 150), denoise_strength=FLOATS, upscaler=LINE,
    sampler=st.just("") | SAMPLER, schedule=st.just("") | SCHEDULE, cfg_scale=st.none() | st.floats(0, 30),
    checkpoint=LINE, prompt=LINE, negative_prompt=LINE, prompt_template=st.none() | LINE,
    negative_prompt_template=st.none() | LINE,
) | st.builds(Hires, width=st.integers(0, 4096), height=st.integers(1, 4096))  # fmt: skip
START = st.builds(
    StartFrom, picture=HASH, resize=st.sampled_from(["stretch", "crop", "fill", "latent"]), denoise_strength=FLOATS,
    exact_steps=st.booleans(), noise_multiplier=FLOATS, extra_noise=FLOATS, image_cfg_scale=FLOATS,
    color_correction=st.booleans(), frame=st.none() | st.builds(Box, left=st.integers(-9, 9), top=st.integers(-9, 9),
                                                                width=st.integers(1, 99), height=st.integers(1, 99)),
    inpaint=st.none() | st.builds(
        Inpaint, mask=HASH, blur=st.integers(0, 64), invert=st.booleans(), padding=st.integers(0, 256),
        fill=st.sampled_from(["fill", "original", "noise", "nothing"]), area=st.sampled_from(["whole", "masked"]),
        conditioning_weight=FLOATS, overlay=st.booleans(),
        soft=st.none() | st.builds(SoftInpaint, mask_influence=FLOATS),
    ),
)  # fmt: skip
REQUESTS = st.builds(
    GenerationRequest,
    prompt=TEXT,
    negative_prompt=TEXT,
    styles=st.lists(NAME, max_size=3).map(tuple),
    combinations=st.booleans(),
    size=SIZES,
    seed=st.integers(0, 2**32 - 1),
    variation=st.none() | st.builds(Variation, seed=st.integers(0, 2**32 - 1), strength=st.floats(0.01, 1)),
    seed_resize=st.none() | SIZES,
    ensd=st.integers(-(2**31), 2**31 - 1),
    sampling=SAMPLING,
    model=st.builds(ModelChoice, checkpoint=NAME, sha256=st.none()),
    vae=NAME,
    refiner=st.none() | st.builds(Refiner, checkpoint=LINE, switch_at=FLOATS),
    clip_skip=st.integers(1, 12),
    noise=st.sampled_from(["nv", "cpu", "gpu"]),
    emphasis=st.sampled_from(["original", "no_norm", "ignore", "none"]),
    tiling=st.sampled_from(["none", "both", "x", "y"]),
    start=st.none() | START,
    hires=st.none() | HIRES,
    compat=st.sampled_from([(), ("a1111",), ("comfy",)]) | st.lists(st.sampled_from(list(SWITCHES))).map(tuple),
    extensions=st.dictionaries(
        st.from_regex(r"\A[a-z][a-z0-9\-]{0,20}\Z"),
        st.dictionaries(TEXT, st.integers() | FLOATS | TEXT | st.booleans(), max_size=3),
        max_size=3,
    ),
)
# What the text alone does not say: pictures of one job differ in seed and words, the rest is about files.
# A sheet's cells are requests of their own, and the sheet itself is in the program's own part of the file.
SHEET = {"axes.title", "axes.labels", "axes.cost", "cells.at", "cells.seed", "cells.changes"}
UNSAID = {"version", "count", "prompts", "negative_prompts", "model.sha256", "hires.sha256", "refiner.sha256",
          "hires.prompts", "hires.negative_prompts", "script", *(f"sheet.{name}" for name in SHEET)}  # fmt: skip


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(request=REQUESTS, templates=st.none() | st.tuples(TEXT, TEXT))
def test_round_trip(request, templates):
    if templates:
        names = ("prompt_template", "negative_prompt_template")
        request = request.model_copy(update=dict(zip(names, map(str.strip, templates), strict=True)))
    recall = read(write(request, {}, 0))
    assert not recall.warnings
    assert not recall.unknown
    assert recall.apply(BASE) == request
    assert GenerationRequest.from_json(request.to_json()) == request


def test_a_value_may_hold_the_words_that_start_the_negative_prompt():
    request = BASE.model_copy(update={"vae": "Negative prompt: x"})
    assert read(write(request, {}, 0)).apply(BASE) == request


def paths(kind, path=""):
    for name, row in kind.model_fields.items():
        inner = next((one for one in (row.annotation, *get_args(row.annotation))
                      if isinstance(one, type) and issubclass(one, Part)), None)  # fmt: skip
        if inner and (name == "size" or inner not in (Size, Box)):
            yield from paths(inner, f"{path}{name}.")
        else:
            yield path + name


def test_the_written_list_of_fields_is_complete():
    text = (Path(__file__).resolve().parents[2] / "docs" / "infotext.md").read_text()
    table = text.partition("## Fields")[2].partition("Only in our record")[0]
    named = {word for row in table.splitlines() if row.startswith("|") for word in re.findall(r"`([a-z_.0-9]+)`", row)}
    assert named - {"name", "ngms"} == set(paths(GenerationRequest)) - UNSAID


@pytest.mark.parametrize(
    ("change", "rules"),
    [("Version: v1.5.2", 1), ("Version: v1.6.0", 0), ("Sampler: DDIM, Version: v1.5.2", 2), ("Version: 1.10.1", 0),
     ("Refiner: x, Version: v1.7.0", 1), ("Version: f2.0.1v1.5.0", 0), ("Model: x", 0)],
)  # fmt: skip
def test_rules_of_earlier_versions_are_said(change, rules):
    text = f"a [b:c:5]\nSteps: 20, Sampler: Euler, Seed: 5, Size: 64x64, Hires upscale: 2, {change}"
    recall = read(text)
    assert [warning.code for warning in recall.warnings] == ["older_rules"] * rules


def test_every_field_of_a_request_is_in_the_round_trip():
    request = GenerationRequest.from_data(FULL)
    plain = flat(GenerationRequest(seed=0).model_dump(mode="json"))
    silent = {path for path, value in flat(request.model_dump(mode="json")).items() if plain.get(path) == value}
    said = read(write(request, {}, 0))
    told = {path for path in flat(said.apply(BASE).model_dump(mode="json")) if path not in silent}
    assert set(paths(GenerationRequest)) - told - UNSAID == set()


FULL = {
    "prompt": "a", "negative_prompt": "b", "prompt_template": "c", "negative_prompt_template": "d", "styles": ["e"],
    "combinations": True, "size": {"width": 64, "height": 72}, "seed": 1, "variation": {"seed": 2, "strength": 0.5},
    "seed_resize": {"width": 64, "height": 80}, "ensd": 3, "vae": "f", "clip_skip": 2, "noise": "cpu",
    "sampling": {
        "sampler": "Euler", "schedule": "Karras", "steps": 9, "cfg_scale": 3.0, "eta": 0.1, "s_churn": 0.2,
        "s_tmin": 0.3, "s_tmax": 0.4, "s_noise": 0.5, "sigma_min": 0.6, "sigma_max": 0.7, "rho": 0.8,
        "beta_alpha": 0.9, "beta_beta": 1.1, "discard_penultimate": True, "zero_terminal_snr": True,
        "sgm_noise_multiplier": True, "unipc_order": 2, "unipc_variant": "bh2", "unipc_skip": "logSNR",
        "unipc_lower_order_final": False,
    },
    "model": {"checkpoint": "g"}, "refiner": {"checkpoint": "h", "switch_at": 0.5}, "emphasis": "none",
    "tiling": "x", "compat": ["a1111"], "extensions": {"i": {"j": 1}},
    "hires": {"scale": 1.5, "width": 96, "height": 104, "steps": 4, "denoise_strength": 0.3, "upscaler": "k",
              "sampler": "Heun", "schedule": "Simple", "cfg_scale": 2.0, "checkpoint": "l", "prompt": "m",
              "negative_prompt": "n", "prompt_template": "o", "negative_prompt_template": "p"},
    "start": {
        "picture": "0" * 64, "resize": "fill", "denoise_strength": 0.4, "exact_steps": True, "noise_multiplier": 0.9,
        "extra_noise": 0.1, "image_cfg_scale": 1.2, "color_correction": True,
        "frame": {"left": 1, "top": 2, "width": 3, "height": 4},
        "inpaint": {"mask": "1" * 64, "blur": 5, "invert": True, "fill": "noise", "area": "masked", "padding": 6,
                    "conditioning_weight": 0.5, "overlay": False,
                    "soft": {"schedule_bias": 2.0, "preservation_strength": 1.0, "transition_contrast_boost": 2.0,
                             "mask_influence": 0.5, "difference_threshold": 1.0, "difference_contrast": 1.0}},
    },
}  # fmt: skip


EXTENDED = {"ngms": {"below": 1.2, "every_step": True}, "skip-early-cfg": {"share": 0.2}}


@pytest.mark.parametrize("settings", [EXTENDED["ngms"], {"below": 1.2}, {"below": 1.2, "every_step": False}, {}])
def test_extensions_that_a1111_has_keys_for_come_back_whole(settings):
    request = BASE.model_copy(update={"extensions": {"ngms": settings}})
    text = write(request, {}, 0)
    assert ("Extension ngms" in text) == (len(settings) < 2)
    assert read(text).fields["extensions"] == {"ngms": settings}


def test_a_stored_request_of_earlier_says_its_skips_as_extensions():
    old = {"seed": 1, "sampling": {"steps": 9, "s_min_uncond": 1.2, "s_min_uncond_all": True, "skip_early_cond": 0.2}}
    request = GenerationRequest.from_data(old)
    assert (request.extensions, request.sampling.steps) == (EXTENDED, 9)
    silent = {"s_min_uncond": 0.0, "s_min_uncond_all": False, "skip_early_cond": 0.0}
    assert GenerationRequest.from_data({"seed": 1, "sampling": silent}) == GenerationRequest(seed=1)


def test_switches_of_a_later_program_are_named_and_left_out():
    recall = read("a\nSteps: 9, Sampler: Euler, Seed: 1, Compat: call-clock tomorrow a1111, Version: Atelier 9")
    assert recall.fields["compat"] == ["call-clock", "a1111"]
    assert [warning.field for warning in recall.warnings] == ["compat"]
    assert recall.apply(BASE).compat == PRESETS["a1111"]


def test_the_whole_text_in_its_order():
    text = write(GenerationRequest.from_data({**FULL, "extensions": EXTENDED}), {"vae_sha256": "cd" * 32}, 0)
    assert text.splitlines()[2] == (
        "Steps: 9, Sampler: Euler, Schedule type: Karras, CFG scale: 3, Image CFG scale: 1.2, Seed: 1, Size: 64x72, "
        "Model: g, VAE hash: cdcdcdcdcd, VAE: f, Variation seed: 2, Variation seed strength: 0.5, "
        "Seed resize from: 64x80, Denoising strength: 0.4, Conditional mask weight: 0.5, Clip skip: 2, ENSD: 3, "
        "RNG: CPU, NGMS: 1.2, Tiling: X, Hires resize: 96x104, Hires steps: 4, Hires upscaler: k, "
        "Hires checkpoint: l, Hires sampler: Heun, Hires schedule type: Simple, Hires prompt: m, "
        "Hires negative prompt: n, Hires CFG Scale: 2, Hires denoising strength: 0.3, Refiner: h, "
        "Refiner switch at: 0.5, Mask mode: Inpaint not masked, Mask blur: 5, Inpaint area: Only masked, "
        "Masked area padding: 6, Masked content: latent noise, Noise multiplier: 0.9, Extra noise: 0.1, Eta: 0.1, "
        "Sigma churn: 0.2, Sigma tmin: 0.3, Sigma tmax: 0.4, Sigma noise: 0.5, Schedule min sigma: 0.6, "
        "Schedule max sigma: 0.7, Schedule rho: 0.8, Beta schedule alpha: 0.9, Beta schedule beta: 1.1, "
        "Discard penultimate sigma: True, SGM noise multiplier: True, UniPC variant: bh2, UniPC skip type: logSNR, "
        "UniPC order: 2, UniPC lower order final: False, NGMS all steps: True, Skip Early CFG: 0.2, "
        "Noise Schedule: Zero Terminal SNR, Emphasis: None, Soft inpainting enabled: True, "
        "Soft inpainting schedule bias: 2, Soft inpainting preservation strength: 1, "
        "Soft inpainting transition contrast boost: 2, Soft inpainting mask influence: 0.5, "
        "Soft inpainting difference threshold: 1, Soft inpainting difference contrast: 1, Template: c, "
        'Negative Template: d, Hires Template: o, Hires Negative Template: p, Styles: ["e"], '
        "Combinations: True, Start: " + text.splitlines()[2].partition(" Start: ")[2]
    )
    assert text.endswith(f", Compat: {' '.join(PRESETS['a1111'])}, Version: Atelier")


INPAINTED = """a cat
Steps: 20, Sampler: Euler a, Schedule type: Automatic, CFG scale: 7, Seed: 5, Size: 512x512, Model: x, \
Variation seed: 9, Variation seed strength: 0.25, Seed resize from: 256x384, Denoising strength: 0.6, \
Conditional mask weight: 0.5, Mask mode: Inpaint not masked, Mask blur: 8, Inpaint area: Only masked, \
Masked area padding: 16, Masked content: latent noise, Noise multiplier: 0.95, Refiner: base [0123456789], \
Refiner switch at: 0.7, Tiling: True, Emphasis: No norm, Soft inpainting enabled: True, \
Soft inpainting schedule bias: 2, Script: X/Y/Z plot, Version: v1.10.1"""


def test_a1111s_inpainting_is_read_where_there_is_a_picture_to_start_from():
    recall = read(INPAINTED)
    assert not recall.warnings
    assert recall.unknown == {"Script": "X/Y/Z plot"}
    plain = recall.apply(BASE)
    assert plain.start is None
    assert plain.variation == Variation(seed=9, strength=0.25)
    assert (plain.seed_resize, plain.tiling, plain.emphasis) == (Size(width=256, height=384), "both", "no_norm")
    assert plain.refiner == Refiner(checkpoint="base", switch_at=0.7)
    masked = StartFrom(picture="1" * 64, inpaint=Inpaint(mask="2" * 64))
    start = recall.apply(BASE.model_copy(update={"start": masked})).start
    assert start == masked.model_copy(
        update={
            "denoise_strength": 0.6, "noise_multiplier": 0.95,
            "inpaint": Inpaint(mask="2" * 64, blur=8, invert=True, fill="noise", area="masked", padding=16,
                               conditioning_weight=0.5, soft=SoftInpaint(schedule_bias=2.0)),
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("pair", "field"),
    [("ENSD: 1e12", "ensd"), ("Variation seed: -5, Variation seed strength: 0.5", "variation.seed"),
     ("Seed resize from: 9x9", "seed_resize.width"), ("Emphasis: Loud", "emphasis"),
     ("Sigma churn: -1", "sampling.s_churn"),
     ("UniPC variant: x", "sampling.unipc_variant"), ("Refiner: x, Refiner switch at: 2", "refiner.switch_at"),
     ("Hires upscale: 2, Hires sampler: X", "hires.sampler"), ("Mask blur: 999", "start.inpaint.blur"),
     ("Masked content: x", "start.inpaint.fill"), ("Noise multiplier: 9", "start.noise_multiplier")],
)  # fmt: skip
def test_bad_values_of_the_rest_become_warnings(pair, field):
    recall = read(f"Steps: 20, Sampler: Euler, Seed: 5, {pair}")
    assert [warning.field for warning in recall.warnings] == [field]
    recall.apply(BASE)


@settings(max_examples=200, deadline=None)
@given(
    st.text(max_size=200) | st.lists(st.sampled_from([*'a:,"\\{}\n', "Steps: 1, ", "Size: 1x", "Seed: "])).map("".join)
)
def test_any_text_is_read(text):
    read(text)
