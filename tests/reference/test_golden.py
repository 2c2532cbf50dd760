"""Golden numbers of a tiny SD1 and a tiny SDXL: what the program computes, worked out again from the written rules.

Expectations come from `tests.reference.rules` (docs/parity.md in plain loops of 64 bit) and from the networks that the
checkpoints were written from. Tolerances: sigmas 1e-6; states and latents 2e-4 of values around 1, since networks
answer in 32 bit.
"""

import io
import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from modules.core.geometry import Size
from modules.core.plan import Pass
from modules.core.sampling import SAMPLERS, SCHEDULES, find_sampler
from modules.engine import conditioning, loading
from modules.engine.guidance import Weighted, guide
from modules.engine.noise import ImageNoise
from modules.engine.prediction import Prediction
from modules.engine.run import run
from modules.engine.samplers import SAMPLERS as WALKS
from modules.engine.schedules import later_part, sigmas_for
from modules.extend.api import Extension, hook
from modules.extend.hooks import Hooks
from modules.families.base import SAFE
from modules.families.sd1 import SD1
from modules.library import blobs
from modules.library.blobs import Blobs
from modules.prompt import emphasis, tokens
from modules.training import networks, tinies
from modules.training.layout import save_checkpoint
from tests.engine.bench import Bench, KeepingJob
from tests.reference import rules

CPU = torch.device("cpu")
SEED, STEPS, SCALE = 3, 6, 3.0
START, END, COMMA, CAT, DOG, BLURRY = 49406, 49407, 267, 2368, 1929, 21977
MODELS = ("sd1", "sdxl")


def sd1_networks():
    """From the seed, with a last norm that leaves a mean, as trained ones do: emphasis divides by it."""
    made = networks.networks_of(networks.TINY, SEED)
    (norm,) = [one for name, one in made.text.named_modules() if name.endswith("final_layer_norm")]
    torch.nn.init.constant_(norm.bias, 0.25)
    return made


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    bench = Bench(tmp_path_factory.mktemp("golden"))
    save_checkpoint(bench.models / "sd1.safetensors", sd1_networks(), {})
    tinies.write_checkpoint(bench.models / "sdxl.safetensors", tinies.TINY_SDXL, SEED)
    return bench


@pytest.fixture(scope="module")
def models(bench):
    files = {name: bench.plan(model={"checkpoint": name}).models["model"] for name in MODELS}
    return {name: loading.load(file, SAFE, CPU) for name, file in files.items()}


@pytest.fixture(scope="module")
def origins():
    """The networks that the checkpoints were written from, rounded to the files' 16 bits."""
    made = {"sd1": sd1_networks(), "sdxl": tinies.networks_of(tinies.TINY_SDXL, SEED)}
    for one in made.values():
        for part in (one.unet, one.vae, one.text, getattr(one, "open_text", None)):
            if part is not None:
                part.half().float().eval().requires_grad_(False)
    return made


# Sigmas


@pytest.mark.parametrize("steps", [20, 30])
@pytest.mark.parametrize("name", [row.name for row in SCHEDULES if row.name != "Automatic"])
@pytest.mark.parametrize("model", MODELS)
def test_sigmas_of_every_schedule(models, model, name, steps):
    times = Prediction.of(models[model].diffusion).times
    wanted = rules.SCHEDULES[name](steps, model)
    assert sigmas_for("Euler", name, steps, times) == pytest.approx(wanted, abs=1e-6, rel=1e-6)
    for sampler in ("DPM2", "DPM2 a", "DPM++ 3M SDE"):
        longer = rules.SCHEDULES[name](steps + 1, model)
        assert sigmas_for(sampler, name, steps, times) == pytest.approx([*longer[:-2], longer[-1]], abs=1e-6, rel=1e-6)


@pytest.mark.parametrize("steps", [20, 30])
@pytest.mark.parametrize(("sampler", "rule"), [("DDIM", "DDIM"), ("DDIM CFG++", "DDIM"), ("PLMS", "DDIM"),
                                               ("UniPC", "UniPC"), ("LCM", "LCM")])  # fmt: skip
def test_sigmas_of_samplers_with_times_of_their_own(models, sampler, rule, steps):
    times = Prediction.of(models["sd1"].diffusion).times
    assert sigmas_for(sampler, "Automatic", steps, times) == pytest.approx(rules.OWN[rule](steps), abs=1e-6, rel=1e-6)


# Calls


def calls_by_rule(name, n):
    if name in ("Heun", "DPM2", "DPM2 a", "DPM++ 2S a", "DPM++ 2S a CFG++", "DPM++ SDE", "Restart"):
        return 2 * n - 1
    own = len(range(0, 1000, 1000 // n))
    return {"HeunPP2": 3 * n - 3, "DDIM": own - 1, "DDIM CFG++": own - 1, "PLMS": own, "UniPC": own}.get(name, n)


@pytest.mark.parametrize("name", [row.name for row in SAMPLERS if row.name != "DPM adaptive"])
def test_calls_of_the_network(name):
    """Under guidance both halves are one call, each for the whole of a batch."""
    cond = {"context": torch.zeros(1, 77, 4)}
    for steps in (20, 30):
        edge, made = Prediction("eps", Prediction.of(SD1.diffusion).times), []

        def network(x, t, cond, made=made):
            made.append(t)
            return x * 0.1

        denoiser = guide(edge.x0(network), lambda _: [Weighted(cond)], lambda _: cond, 7.0)
        sigmas = sigmas_for(name, "Automatic", steps, edge.times)
        noise = ImageNoise([1], (4, 2, 2))
        for step in WALKS[name](denoiser, noise.draw() * sigmas[0], sigmas, noise):
            assert step.x.isfinite().all()
        assert len(made) == calls_by_rule(name, steps)
        assert WALKS[name].calls(sigmas) == len(made)


# Chunks


def cut(ids, padding):
    """75 at a time; what follows the last comma of a full chunk goes on, if no more than 20; START, END around."""
    made, chunk = [], []
    for token in ids:
        if len(chunk) == 75:
            last = max((i + 1 for i, one in enumerate(chunk) if one == COMMA), default=0)
            moved = chunk[last:] if token != COMMA and last and 75 - last <= 20 else []
            made.append(chunk[: 75 - len(moved)])
            chunk = list(moved)
        chunk.append(token)
    made.append(chunk)
    filler = END if padding == "end" else 0
    return [(START, *chunk, END, *[filler] * (75 - len(chunk))) for chunk in made]


TEXTS = {
    "cat dog": [CAT, DOG],
    "": [],
    "cat " * 75: [CAT] * 75,
    "cat " * 76: [CAT] * 76,
    "cat " * 60 + ", " + "dog " * 20: [CAT] * 60 + [COMMA] + [DOG] * 20,
    "cat " * 50 + ", " + "dog " * 30: [CAT] * 50 + [COMMA] + [DOG] * 30,  # the comma is too far back
    "cat , " * 90: [CAT, COMMA] * 90,
}


@pytest.mark.parametrize("padding", ["end", "zero"])
@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_chunks(text, padding):
    made = tokens.chunks(emphasis.runs(text), padding=padding)
    assert [chunk.ids for chunk in made] == cut(TEXTS[text], padding)


# Conditioning


def states_of(origin, model, ids, padding_ids=None):
    """(hidden states of each encoder, the vector) of one chunk, by the networks themselves."""
    one = torch.tensor([[START, *ids, *[END] * (76 - len(ids))]])
    if model == "sd1":
        return [origin.text(one).last_hidden_state.double().numpy()], None
    two = torch.tensor([[START, *ids, END, *[0] * (75 - len(ids))]])
    first = origin.text(one, output_hidden_states=True).hidden_states[-2]
    second = origin.open_text(two, output_hidden_states=True)
    return [first.double().numpy(), second.hidden_states[-2].double().numpy()], second.text_embeds


BRACKETS = [2368, 263, 1929, 281, 272, 269, 276, 264]  # "cat (dog:1.5)" with its brackets as text


@pytest.mark.parametrize("mode", ["original", "no_norm", "ignore", "none"])
@pytest.mark.parametrize("model", MODELS)
def test_conditioning_after_emphasis(models, origins, model, mode):
    """z w, and in "original" times mean(z) / mean(z w), each encoder by itself."""
    reader = conditioning.Reader(models[model], conditioning.Cache())
    with torch.inference_mode():
        made = reader.states(["cat (dog:1.5)"], conditioning.Reading(mode=mode))[0]
        parts, vector = states_of(origins[model], model, BRACKETS if mode == "none" else [CAT, DOG])
    weights = np.ones((1, 77, 1))
    if mode in ("original", "no_norm"):
        weights[0, 2] = 1.5
    wanted = []
    for part in parts:
        weighed = part * weights
        wanted.append(weighed * (part.mean() / weighed.mean()) if mode == "original" else weighed)
    np.testing.assert_allclose(made["context"].numpy(), np.concatenate(wanted, -1), atol=2e-4, rtol=1e-3)
    if vector is not None:
        torch.testing.assert_close(made["pooled"], vector, atol=1e-5, rtol=1e-5)


# Whole walks


def denoiser_of(origin, model, scale):
    """(x, sigma) -> (guided x0, unconditional x0), by the network itself and 64-bit arithmetic around it."""
    with torch.inference_mode():
        told = [states_of(origin, model, ids) for ids in ([CAT, DOG], [BLURRY])]
    context = torch.from_numpy(np.concatenate([np.concatenate(parts, -1) for parts, _ in told])).float()
    added = None
    if model == "sdxl":
        sizes = torch.tensor([[64.0, 64.0, 0.0, 0.0, 64.0, 64.0]] * 2)
        added = {"text_embeds": torch.cat([vector for _, vector in told]), "time_ids": sizes}

    def denoiser(x, sigma):
        seen = torch.from_numpy(x / math.sqrt(1 + sigma * sigma)).float().repeat(2, 1, 1, 1)
        with torch.inference_mode():
            eps = origin.unet(seen, rules.time_of(sigma), encoder_hidden_states=context, added_cond_kwargs=added).sample
        cond, uncond = (x - sigma * eps[i : i + 1].double().numpy() for i in (0, 1))
        return uncond + scale * (cond - uncond), uncond

    return denoiser


def walked(bench, model, sampler, **changed):
    """The latents that a request ends with, in the network's own space."""
    steps = []

    @dataclass(frozen=True)
    class Watch(Extension):
        """Keeps what every step ends with."""

        title = "Watch"

        @hook
        def after_step(self, step):
            steps.append((step.x.double().numpy(), step.sigma_next))

    asked = {
        "prompt": "cat dog", "negative_prompt": "blurry", "seed": 11, "model": {"checkpoint": model},
        "sampling": {"sampler": sampler, "steps": STEPS, "cfg_scale": SCALE}, **changed,
    }  # fmt: skip
    failed = []
    run(bench.plan(**asked), bench.workshop, KeepingJob(), Hooks([("watch", Watch())], failed.append))
    assert failed == []
    x, sigma = steps[-1]
    return x / math.sqrt(1 + sigma * sigma)


def sigmas_by_rule(sampler, model, n=STEPS):
    facts = find_sampler(sampler)
    if facts.schedule == "Timesteps":
        return rules.OWN["DDIM"](n)
    if facts.schedule == "UniPC":
        return rules.OWN["UniPC"](n)
    made = rules.SCHEDULES[facts.schedule](n + facts.drop_penultimate, model)
    return [*made[:-2], made[-1]] if facts.drop_penultimate else made


DETERMINISTIC = [row.name for row in SAMPLERS if not row.stochastic]


def test_every_deterministic_sampler_has_a_rule():
    assert set(rules.WALKS) == set(DETERMINISTIC)


SDXL_TOO = ("Euler", "DPM++ 2M", "UniPC", "DDIM CFG++")  # samplers know no family: a few show that its edge is right


@pytest.mark.parametrize(("model", "sampler"), [*(("sd1", name) for name in DETERMINISTIC),
                                                *(("sdxl", name) for name in SDXL_TOO)])  # fmt: skip
def test_latents_of_every_deterministic_sampler(bench, origins, model, sampler):
    facts, sigmas = find_sampler(sampler), sigmas_by_rule(sampler, model)
    noise = rules.philox(11, 4 * 8 * 8).reshape(1, 4, 8, 8)
    x = noise * (math.sqrt(1 + sigmas[0] ** 2) if facts.unit_noise else sigmas[0])
    scale = SCALE / 12.5 if sampler == "DDIM CFG++" else SCALE
    wanted = rules.WALKS[sampler](denoiser_of(origins[model], model, scale), x, sigmas)
    wanted = wanted / math.sqrt(1 + sigmas[-1] ** 2)
    assert wanted.std() > 0.1
    np.testing.assert_allclose(walked(bench, model, sampler), wanted, atol=2e-4 * max(1.0, np.abs(wanted).max()))


# From a picture


def one_pass(sampler, steps, strength, exact):
    size, facts = Size(width=64, height=64), find_sampler(sampler)
    return Pass(
        model="model", start="picture", size=size, canvas=size, prompt="", negative_prompt="", sampler=sampler,
        schedule=facts.schedule, steps=steps, cfg_scale=7.0, denoise_strength=strength, exact_steps=exact,
    )  # fmt: skip


@pytest.mark.parametrize("sampler", ["Euler", "Heun", "DPM++ 2M", "DPM++ 3M SDE", "HeunPP2", "IPNDM_V"])
@pytest.mark.parametrize("steps", [20, 30])
def test_step_counts_of_img2img_and_hires(models, sampler, steps):
    """int(d n) + 1 of n steps; in hires the last n of int(n / d), with d at most 0.999."""
    times = Prediction.of(models["sd1"].diffusion).times
    for strength in (0.05, 0.2, 0.35, 0.5, 0.7, 0.75, 0.99, 1.0):
        capped = min(strength, 0.999)
        part = later_part(one_pass(sampler, steps, strength, False), times)
        full = sigmas_by_rule(sampler, "sd1", steps)
        assert part.sigmas == pytest.approx(full[-(min(int(capped * steps) + 1, steps) + 1) :], abs=1e-6)
        part = later_part(one_pass(sampler, steps, strength, True), times)
        longer = sigmas_by_rule(sampler, "sd1", max(int(steps / capped), steps))
        assert part.sigmas == pytest.approx(longer[-(steps + 1) :], abs=1e-6)
        assert part.noised_to == part.sigmas[0]


def picture_and_mask(bench):
    """Hashes of a coloured picture and of the mask of its left half, and the picture as pixels [1 3 64 64]."""
    rows, columns = np.mgrid[0:64, 0:64]
    pixels = np.stack([rows * 3, columns * 3, 255 - rows * 2], -1).astype(np.uint8)
    mask = np.where(columns < 32, 255, 0).astype(np.uint8)
    shelf, hashes = Blobs(bench.workshop.settings.data / blobs.FOLDER), []
    for image in (pixels, mask):
        content = io.BytesIO()
        Image.fromarray(image).save(content, "PNG")
        hashes.append(shelf.put(content.getvalue()))
    return *hashes, torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_inpaint_blends(bench, origins, model, soft):
    """Hard: x0 m + z (1 - m) at every call and once more at the end. Soft: the mask to a power of sigma, by lengths."""
    picture, mask, pixels = picture_and_mask(bench)
    strength, steps = 0.6, 6
    settings = {"schedule_bias": 1.5, "preservation_strength": 0.4, "transition_contrast_boost": 3.0}
    inpaint = {"mask": mask, "blur": 0, "soft": settings if soft else None}
    made = walked(bench, model, "Euler", start={"picture": picture, "denoise_strength": strength, "inpaint": inpaint})
    origin, scale = origins[model], 0.13025 if model == "sdxl" else 0.18215
    with torch.inference_mode():
        z = (origin.vae.encode(pixels).latent_dist.mean * scale).double().numpy()
    m = np.zeros((1, 1, 8, 8))
    m[..., :4] = 1.0
    if soft:  # Pillow's own filter leaves a soft edge at this size
        small = Image.fromarray(np.where(np.mgrid[0:64, 0:64][1] < 32, 255, 0).astype(np.uint8)).resize((8, 8))
        m[0, 0] = np.asarray(small, np.float64) / 255
    sigmas = sigmas_by_rule("Euler", model, steps)[-(int(strength * steps) + 2) :]
    x = z + rules.philox(11, 256).reshape(1, 4, 8, 8) * sigmas[0]
    denoiser = denoiser_of(origin, model, SCALE)
    for a, b in pairwise(sigmas):
        x0 = denoiser(x, a)[0]
        share = m ** (a**1.5 * 0.4) if soft else m
        mixed = z * (1 - share) + x0 * share
        if soft:
            lengths = [np.sqrt((one**2).sum(1, keepdims=True)) for one in (z, x0, mixed)]
            mixed = mixed * (lengths[0] ** 3 * (1 - share) + lengths[1] ** 3 * share) ** (1 / 3) / (lengths[2] + 1e-5)
        x = mixed + (x - mixed) * b / a
    assert np.abs(x - z)[..., :4].max() > 0.1
    np.testing.assert_allclose(made, x, atol=3e-4 * max(1.0, np.abs(x).max()))
