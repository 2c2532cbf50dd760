"""Samplers against diffusers' schedulers: the same exact denoiser, the same sigmas, the same picture.

diffusers walks some of them in float32 and its own variance preserving space, so answers agree to 1e-4 of values
around 1, not bit for bit.
"""

import math

import diffusers
import pytest
import torch

from modules.engine.denoise import Denoised
from modules.engine.prediction import DiscreteTimes
from modules.engine.samplers import SAMPLERS
from modules.engine.schedules import sigmas_for

TIMES = DiscreteTimes.scaled_linear()
SD = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "prediction_type": "sample"}
STEPS = 20


def x0_at(x, sigma):
    """E[x0 | x] for values that are -1 or 1 with a spread of 0.2: far from linear."""
    wide = 0.04 + sigma**2
    odds = torch.tanh(x.double() / wide)
    return ((odds * sigma**2 + x.double() * 0.04) / wide).to(x.dtype)


def start():
    return torch.linspace(-2.5, 2.5, 64, dtype=torch.float32).reshape(1, 4, 4, 4)


def ours(name, sigmas, x, noise=None, **options):
    draws = iter(noise or [])
    for step in SAMPLERS[name](
        lambda x, sigma: Denoised(x0_at(x, sigma)), x, sigmas, lambda *_: next(draws), **options
    ):
        x = step.x
    return x


K_SPACE = [  # diffusers' schedulers that walk x0 + sigma n too
    ("Euler", diffusers.EulerDiscreteScheduler, {}),
    ("Heun", diffusers.HeunDiscreteScheduler, {}),
    ("DPM2", diffusers.KDPM2DiscreteScheduler, {}),
    ("LMS", diffusers.LMSDiscreteScheduler, {}),
]


@pytest.mark.parametrize(("name", "kind", "options"), K_SPACE, ids=[row[0] for row in K_SPACE])
def test_samplers_of_the_same_space(name, kind, options):
    scheduler = kind(**{**SD, "prediction_type": "epsilon"}, **options, use_karras_sigmas=True)
    scheduler.set_timesteps(STEPS)
    told = [float(sigma) for sigma in scheduler.sigmas]
    sigmas = list(dict.fromkeys(told))
    if name == "DPM2":  # its list holds the steps' middles too
        sigmas = sigmas_for("Euler", "Karras", STEPS, TIMES)
    x = start() * sigmas[0]
    theirs = x.clone()
    for t in scheduler.timesteps:
        scheduler.scale_model_input(theirs, t)
        sigma = float(scheduler.sigmas[scheduler.step_index])
        if name == "DPM2" and scheduler.state_in_first_order is False:
            sigma = float(scheduler.sigmas_interpol[scheduler.step_index])
        eps = (theirs - x0_at(theirs, sigma)) / sigma
        theirs = scheduler.step(eps, t, theirs).prev_sample
    assert torch.allclose(ours(name, sigmas, x), theirs, atol=2e-4)


VP = [
    ("DPM++ 2M", diffusers.DPMSolverMultistepScheduler, {"solver_order": 2, "lower_order_final": False}, "Karras"),
    ("UniPC", diffusers.UniPCMultistepScheduler, {"solver_order": 3, "solver_type": "bh1"}, "Automatic"),
    ("UniPC", diffusers.UniPCMultistepScheduler, {"solver_order": 3, "solver_type": "bh1"}, "Karras"),
    ("UniPC", diffusers.UniPCMultistepScheduler, {"solver_order": 3, "solver_type": "bh2"}, "Karras"),
    ("UniPC", diffusers.UniPCMultistepScheduler, {"solver_order": 2, "solver_type": "bh2"}, "Automatic"),
]


@pytest.mark.parametrize(("name", "kind", "options", "schedule"), VP, ids=[f"{row[0]} {row[3]} {row[2]}" for row in VP])
def test_samplers_of_the_variance_preserving_space(name, kind, options, schedule):
    scheduler = kind(**SD, **options, final_sigmas_type="sigma_min")
    sigmas = [s for s in sigmas_for(name, schedule, STEPS, TIMES) if s > 0]  # at 0 diffusers' UniPC divides by it
    scheduler.set_timesteps(len(sigmas) - 1)
    scheduler.sigmas = torch.tensor(sigmas)  # the grids differ; the arithmetic is what is compared
    scheduler.timesteps = torch.arange(len(sigmas) - 1)
    x = start() * math.hypot(1, sigmas[0])
    theirs = start()
    for i, t in enumerate(scheduler.timesteps):
        x0 = x0_at(theirs * math.hypot(1, sigmas[i]), sigmas[i])
        theirs = scheduler.step(x0, t, theirs).prev_sample
    own = {"variant": options["solver_type"], "order": options["solver_order"]} if name == "UniPC" else {}
    assert torch.allclose(ours(name, sigmas, x, **own) / math.hypot(1, sigmas[-1]), theirs, atol=2e-4)


@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
def test_ddim(eta):
    """Leading times with an offset of 1 are the times that people know: 951 down to 1."""
    scheduler = diffusers.DDIMScheduler(**SD, steps_offset=1, clip_sample=False, set_alpha_to_one=False)
    scheduler.set_timesteps(STEPS)
    sigmas = sigmas_for("DDIM", "Automatic", STEPS, TIMES)
    torch.manual_seed(1)
    noise = [torch.randn(1, 4, 4, 4) for _ in range(STEPS)]
    x = start() * math.hypot(1, sigmas[0])
    theirs = start()
    for t, sigma, drawn in zip(scheduler.timesteps[:-1], sigmas, noise, strict=False):
        x0 = x0_at(theirs * math.hypot(1, sigma), sigma)
        theirs = scheduler.step(x0, t, theirs, eta=eta, variance_noise=drawn).prev_sample
    assert scheduler.timesteps.tolist() == list(range(951, 0, -50))
    answer = ours("DDIM", sigmas, x, noise, eta=eta) / math.hypot(1, sigmas[-1])
    assert torch.allclose(answer, theirs, atol=2e-4)


def test_euler_a():
    scheduler = diffusers.EulerAncestralDiscreteScheduler(**{**SD, "prediction_type": "epsilon"})
    scheduler.set_timesteps(STEPS)
    sigmas = [float(sigma) for sigma in scheduler.sigmas]
    x = theirs = start() * sigmas[0]
    drawing = torch.Generator().manual_seed(3)
    noise = [torch.randn(1, 4, 4, 4, generator=drawing) for _ in range(STEPS)]
    again = torch.Generator().manual_seed(3)
    for t in scheduler.timesteps:
        scheduler.scale_model_input(theirs, t)
        sigma = float(scheduler.sigmas[scheduler.step_index])
        eps = (theirs - x0_at(theirs, sigma)) / sigma
        theirs = scheduler.step(eps, t, theirs, generator=again).prev_sample
    assert torch.allclose(ours("Euler a", sigmas, x, noise), theirs, atol=2e-4)


@pytest.mark.parametrize("schedule", ["Karras", "Exponential"])
def test_sigmas(schedule):
    scheduler = diffusers.EulerDiscreteScheduler(**SD, **{f"use_{schedule.lower()}_sigmas": True})
    scheduler.set_timesteps(STEPS)
    assert scheduler.sigmas.tolist() == pytest.approx(sigmas_for("Euler", schedule, STEPS, TIMES), rel=1e-4)
