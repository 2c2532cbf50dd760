"""The parameters text: written in A1111's form, read from anybody, bounded, and the request back again."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.core import limits
from modules.core.geometry import Size
from modules.core.request import GenerationRequest, Hires, ModelChoice, Sampling
from modules.core.sampling import SAMPLERS, SCHEDULES
from modules.library.infotext import read, write

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
        compat=("a1111",),
        extensions={"builtin-rescale-cfg": {"amount": 0.7}},
    )
    facts = {"model": "a, b: c", "version": "1.2", "lora_hashes": {"ink": "123456789abc", "wash": "abc"}}
    assert write(request, facts, 0) == (
        "Steps: 30, Sampler: Euler a, Schedule type: Karras, CFG scale: 5.25, Seed: 1, Size: 640x512, "
        'Model: "a, b: c", Denoising strength: 0.55, Clip skip: 2, RNG: GPU, Hires upscale: 1.5, Hires steps: 10, '
        'Hires upscaler: Latent, Lora hashes: "ink: 123456789abc, wash: abc", Eta: 0.5, Compat: a1111, '
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
    assert recall.unknown == {"ENSD": "31337", "Lora hashes": "a: 123, b: 456"}
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


def test_hires_resize_becomes_a_scale():
    assert read("Steps: 9, Seed: 1, Size: 512x512, Hires resize: 1024x768").apply(BASE).hires == Hires(scale=2.0)


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
    start = time.process_time()
    read(text)
    assert time.process_time() - start < 1.0  # 0.1 s when nothing else runs


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=60).filter(
    lambda text: "Negative prompt:" not in text
)
NAME = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30).map(str.strip)
FLOATS = st.floats(0, 1)


@settings(max_examples=200, deadline=None)
@given(
    request=st.builds(
        GenerationRequest,
        prompt=TEXT,
        negative_prompt=TEXT,
        size=st.builds(Size, width=st.integers(64, 4096), height=st.integers(64, 4096)),
        seed=st.integers(0, 2**32 - 1),
        sampling=st.builds(
            Sampling,
            sampler=st.sampled_from([row.name for row in SAMPLERS]),
            schedule=st.sampled_from([row.name for row in SCHEDULES]),
            steps=st.integers(1, 150),
            cfg_scale=st.floats(0, 30),
            eta=st.none() | FLOATS,
        ),
        model=st.builds(ModelChoice, checkpoint=NAME, sha256=st.none()),
        clip_skip=st.integers(1, 12),
        noise=st.sampled_from(["nv", "cpu", "gpu"]),
        hires=st.none() | st.builds(Hires, scale=st.floats(1, 4), steps=st.integers(0, 150), denoise_strength=FLOATS),
        compat=st.sampled_from([(), ("a1111",)]),
        extensions=st.dictionaries(
            st.from_regex(r"\A[a-z][a-z0-9\-]{0,20}\Z"),
            st.dictionaries(TEXT, st.integers() | FLOATS | TEXT | st.booleans(), max_size=3),
            max_size=3,
        ),
    )
)
def test_round_trip(request):
    recall = read(write(request, {}, 0))
    assert not recall.warnings
    assert not recall.unknown
    assert recall.apply(BASE) == request


@settings(max_examples=200, deadline=None)
@given(
    st.text(max_size=200) | st.lists(st.sampled_from([*'a:,"\\{}\n', "Steps: 1, ", "Size: 1x", "Seed: "])).map("".join)
)
def test_any_text_is_read(text):
    read(text)
