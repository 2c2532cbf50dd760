"""The field's newer samplers against their published formulas, written out here in plain floats, step by step."""

import math

import diffusers
import numpy as np
import pytest
import torch
from scipy.integrate import quad

from modules.engine.denoise import Denoised
from modules.engine.prediction import DiscreteTimes, FlowTimes
from modules.engine.samplers import SAMPLERS
from modules.engine.schedules import karras_between

SD = DiscreteTimes.scaled_linear()
STARTS = (-31.0, -4.5, 0.3, 12.0, 29.0)
SIGMAS = [14.6, 8.0, 5.5, 2.5, 1.9, 0.8, 0.3, 0.0]  # steps of all kinds of lengths
DRAWS = [math.cos(3.0 * i + 1) for i in range(len(SIGMAS))]


def x0_at(x, sigma):
    """A denoiser that is far from linear."""
    return math.tanh(x / (0.2 + sigma)) + 0.1 * x / (1 + sigma * sigma)


def uncond_at(x, sigma):
    return 0.8 * math.tanh(x / (0.3 + sigma)) - 0.05


def made(name, sigmas=SIGMAS, **options):
    """The sampler's own walk: the end of each start, its draws being those above."""
    draws = iter(DRAWS)

    def denoiser(x, sigma):
        x0 = x.clone().apply_(lambda value: x0_at(value, sigma))
        return Denoised(x0, x0, x.clone().apply_(lambda value: uncond_at(value, sigma)))

    x = torch.tensor(STARTS, dtype=torch.float64).reshape(1, 1, 1, -1)
    ones = torch.ones_like(x)
    for step in SAMPLERS[name](denoiser, x, sigmas, lambda *_: next(draws) * ones, **options):
        x = step.x
    return x.flatten().tolist()


def walked(step, sigmas=SIGMAS):
    """The end of each start by ``step(x, i, past) -> x``, which may keep what it likes in the list ``past``."""
    ends = []
    for x in STARTS:
        past = []
        for i in range(len(sigmas) - 1):
            x = step(x, i, past)
        ends.append(x)
    return ends


def slope_at(x, sigma):
    return (x - x0_at(x, sigma)) / sigma


def test_heunpp2():
    """x + (s' - s) (w1 d1 + w2 d2 + w3 d3), w_k = sigma_k / (3 sigma_0); two slopes in the last step but one."""

    def step(x, i, past):
        s, n = SIGMAS, len(SIGMAS) - 1
        d1 = slope_at(x, s[i])
        if i == n - 1:
            return x + d1 * (s[i + 1] - s[i])
        x2 = x + d1 * (s[i + 1] - s[i])
        d2 = slope_at(x2, s[i + 1])
        if i == n - 2:
            w2 = s[i + 1] / (2 * s[0])
            return x + ((1 - w2) * d1 + w2 * d2) * (s[i + 1] - s[i])
        d3 = slope_at(x2 + d2 * (s[i + 2] - s[i + 1]), s[i + 2])
        w2, w3 = s[i + 1] / (3 * s[0]), s[i + 2] / (3 * s[0])
        return x + ((1 - w2 - w3) * d1 + w2 * d2 + w3 * d3) * (s[i + 1] - s[i])

    assert made("HeunPP2") == pytest.approx(walked(step), abs=1e-12)


def test_ipndm():
    """Adams and Bashforth's fractions over 24, begun by the lower orders; straight to 0."""
    table = {1: [24], 2: [36, -12], 3: [46, -32, 10], 4: [55, -59, 37, -9]}

    def step(x, i, past):
        past.insert(0, slope_at(x, SIGMAS[i]))
        known = past[:1] if SIGMAS[i + 1] == 0 else past[:4]
        mean = sum(w * d for w, d in zip(table[len(known)], known, strict=True)) / 24
        return x + mean * (SIGMAS[i + 1] - SIGMAS[i])

    assert made("IPNDM") == pytest.approx(walked(step), abs=1e-12)


def ipndm_v_weights(h0, h1, h2, h3, order):
    """The table of docs/parity.md: what each slope weighs of a step h0 after steps h1, h2, h3."""
    r = h1 / h2
    second = h0 / h1 / 2
    bend = (1 - h0**2 / (3 * h1 * (h1 + h2))) / 2
    far = h1 * (h1 + h2) / (h2 * (h2 + h3))
    twist = ((1 - h0 / (3 * (h0 + h1))) / 2 + (1 - h0 / (2 * (h0 + h1))) * h0 / (6 * (h0 + h1 + h2))) * (
        h0 * (h0 + h1) * (h0 + h1 + h2) / (h1 * (h1 + h2) * (h1 + h2 + h3))
    )
    bend, twist = bend * (order > 2), twist * (order > 3)
    return [
        1 + second + bend + twist,
        -second - (1 + r) * bend - (1 + r + far) * twist,
        r * bend + (r + far * (1 + h2 / h3)) * twist,
        -far * r * twist,
    ]


def test_ipndm_v():
    def step(x, i, past):
        past.insert(0, slope_at(x, SIGMAS[i]))
        if i == 0 or SIGMAS[i + 1] == 0:
            return x + past[0] * (SIGMAS[i + 1] - SIGMAS[i])
        h = [SIGMAS[max(i - k, 0) + 1] - SIGMAS[max(i - k, 0)] for k in range(4)]
        weights = ipndm_v_weights(*h, min(i + 1, 4))
        return x + sum(w * d for w, d in zip(weights, past, strict=False)) * h[0]

    assert made("IPNDM_V") == pytest.approx(walked(step), abs=1e-12)


def test_the_weights_of_ipndm_v_for_equal_steps():
    """Adams and Bashforth's up to the third order, and not beyond (docs/parity.md)."""
    assert np.array(ipndm_v_weights(1, 1, 1, 1, 3)) * 12 == pytest.approx([23, -16, 5, 0])
    assert np.array(ipndm_v_weights(1, 1, 1, 1, 4)) * 24 == pytest.approx([57, -65, 43, -11])


def test_deis():
    """Equation 14 of the paper: the integral of dsigma/dt times each Lagrange polynomial in t, by quadrature in t."""
    low, high, early = math.log(1 + 0.002**2), math.log(1 + 80**2), 1e-3
    a, b = np.linalg.solve([[early**2 / 2, early], [1 / 2, 1]], [low, high])  # 1 + sigma^2 = exp(a t^2 / 2 + b t)

    def time(sigma):
        return (-b + math.sqrt(b * b + 2 * a * math.log(1 + sigma * sigma))) / a

    def rate(t):
        grown = math.exp(a * t * t / 2 + b * t)
        return (a * t + b) * grown / (2 * math.sqrt(grown - 1))

    def step(x, i, past):
        past.insert(0, (time(SIGMAS[i]), slope_at(x, SIGMAS[i])))
        if SIGMAS[i + 1] == 0:
            return x - past[0][1] * SIGMAS[i]
        known = past[:3]
        for own, slope in known:

            def share(t, own=own):
                return rate(t) * math.prod((t - other) / (own - other) for other, _ in known if other != own)

            x += slope * quad(share, time(SIGMAS[i]), time(SIGMAS[i + 1]), epsabs=1e-12, epsrel=1e-12)[0]
        return x

    assert made("DEIS") == pytest.approx(walked(step), abs=1e-8)


@pytest.mark.parametrize("gamma", [2.0, 1.2])
def test_gradient_estimation(gamma):
    """eps_bar = gamma eps_t + (1 - gamma) eps_(t+1), the first and the last step plain."""

    def step(x, i, past):
        past.insert(0, slope_at(x, SIGMAS[i]))
        plain = i == 0 or SIGMAS[i + 1] == 0
        mean = past[0] if plain else gamma * past[0] + (1 - gamma) * past[1]
        return x + mean * (SIGMAS[i + 1] - SIGMAS[i])

    assert made("Gradient Estimation", gamma=gamma) == pytest.approx(walked(step), abs=1e-12)


def up_and_down(sigma, sigma_next, eta):
    up = eta * math.sqrt(sigma_next**2 * (sigma**2 - sigma_next**2) / sigma**2)
    return up, math.sqrt(sigma_next**2 - up**2)


def test_euler_cfgpp_in_the_papers_own_space():
    """Algorithm 2: sqrt(a') x0_guided + sqrt(1 - a') eps_uncond, with x_vp = x sqrt(a) and a = 1 / (1 + sigma^2)."""

    def step(x, i, past):
        a, later = (1 / (1 + SIGMAS[j] ** 2) for j in (i, i + 1))
        eps = (x * math.sqrt(a) - math.sqrt(a) * uncond_at(x, SIGMAS[i])) / math.sqrt(1 - a)
        own = math.sqrt(later) * x0_at(x, SIGMAS[i]) + math.sqrt(1 - later) * eps
        return own / math.sqrt(later)

    assert made("Euler CFG++") == pytest.approx(walked(step), abs=1e-12)


@pytest.mark.parametrize("eta", [1.0, 0.4])
def test_euler_a_cfgpp(eta):
    def step(x, i, past):
        sigma = SIGMAS[i]
        up, down = up_and_down(sigma, SIGMAS[i + 1], eta)
        return x0_at(x, sigma) + down * (x - uncond_at(x, sigma)) / sigma + up * DRAWS[i]

    assert made("Euler a CFG++", eta=eta) == pytest.approx(walked(step), abs=1e-12)


@pytest.mark.parametrize("eta", [1.0, 0.0])
def test_dpmpp_2s_a_cfgpp(eta):
    """The rule of docs/parity.md: the second half keeps x + guided(sigma) - uncond(middle)."""

    def step(x, i, past):
        sigma, guided = SIGMAS[i], x0_at(x, SIGMAS[i])
        up, down = up_and_down(sigma, SIGMAS[i + 1], eta)
        if down == 0:
            return guided
        middle = math.exp((math.log(sigma) + math.log(down)) / 2)
        there = middle / sigma * (x + guided - uncond_at(x, sigma)) + (1 - middle / sigma) * guided
        later = x0_at(there, middle)
        kept = x + guided - uncond_at(there, middle)
        return down / sigma * kept + (1 - down / sigma) * later + up * DRAWS[i]

    assert made("DPM++ 2S a CFG++", eta=eta) == pytest.approx(walked(step), abs=1e-12)


@pytest.mark.parametrize("gamma", [0.3, 1.0])
def test_tcd_in_the_papers_own_space(gamma):
    """x_s = sqrt(a_s) x0 + sqrt(1 - a_s) eps at s = (1 - gamma) t', then noised from s to t'."""
    logs = np.log([float(sigma) for sigma in SD.sigmas])

    def alpha(t):
        return 1 / (1 + math.exp(np.interp(t, np.arange(1000), logs)) ** 2)

    def step(x, i, past):
        sigma, later = SIGMAS[i], SIGMAS[i + 1]
        if later == 0:
            return x0_at(x, sigma)
        a, next_a = 1 / (1 + sigma**2), 1 / (1 + later**2)
        a_s = alpha((1 - gamma) * float(np.interp(math.log(later), logs, np.arange(1000))))
        eps = (x * math.sqrt(a) - math.sqrt(a) * x0_at(x, sigma)) / math.sqrt(1 - a)
        x_s = math.sqrt(a_s) * x0_at(x, sigma) + math.sqrt(1 - a_s) * eps
        noised = math.sqrt(next_a / a_s) * x_s + math.sqrt(1 - next_a / a_s) * DRAWS[i]
        return noised / math.sqrt(next_a)

    assert made("TCD", eta=gamma) == pytest.approx(walked(step), abs=1e-11)


def test_tcd_of_a_flow_goes_to_a_share_of_the_flows_time():
    sigmas = [9.0, 1.5, 0.0]  # flow times 0.9 and 0.6

    def step(x, i, past):
        if sigmas[i + 1] == 0:
            return x0_at(x, sigmas[i])
        low = 0.42 / 0.58  # 0.7 of 0.6
        x = x0_at(x, 9.0) + (x - x0_at(x, 9.0)) * low / 9.0
        return x + math.sqrt(1.5**2 - low**2) * DRAWS[0]

    assert made("TCD", sigmas, times=FlowTimes(3.0)) == pytest.approx(walked(step, sigmas), abs=1e-12)


def test_tcd_without_noise_is_euler():
    assert made("TCD", eta=0.0) == pytest.approx(made("Euler"), abs=1e-12)


def test_tcd_as_diffusers_walks():
    """At times of which seven tenths are whole, since diffusers rounds them down."""
    scheduler = diffusers.TCDScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012,
                                       prediction_type="sample")  # fmt: skip
    told = [990, 660, 330, 120]
    scheduler.set_timesteps(len(told))
    scheduler.timesteps = torch.tensor(told)
    sigmas = [SD.sigma(t) for t in told]
    x = theirs = torch.linspace(-2, 2, 16, dtype=torch.float64).reshape(1, 1, 4, 4)
    drawing = torch.Generator().manual_seed(3)
    noise = [torch.randn(1, 1, 4, 4, generator=drawing, dtype=torch.float64) for _ in told]
    again = torch.Generator().manual_seed(3)

    def x0(x, sigma):
        return torch.tanh(x / (0.2 + sigma))

    for t, sigma in zip(told[:-1], sigmas[:-1], strict=True):
        answer = x0(theirs * math.hypot(1, sigma), sigma)
        theirs = scheduler.step(answer, torch.tensor(t), theirs, eta=0.3, generator=again).prev_sample
    draws = iter(noise)
    x = x * math.hypot(1, sigmas[0])
    for step in SAMPLERS["TCD"](lambda x, s: Denoised(x0(x, s)), x, sigmas, lambda *_: next(draws)):
        x = step.x
    assert torch.allclose(x / math.hypot(1, sigmas[-1]), theirs, atol=2e-5)


def test_ddpm_is_euler_a():
    """Ho et al. 2020 (arXiv:2006.11239), equation 7: the posterior's mean and spread, in its own space."""
    sigmas = [14.6, 8.0, 5.5, 2.5, 0.8, 0.0]

    def step(x, i, past):
        sigma, later = sigmas[i], sigmas[i + 1]
        a, next_a = 1 / (1 + sigma**2), 1 / (1 + later**2)
        beta = 1 - a / next_a
        x0 = x0_at(x, sigma)
        mean = math.sqrt(next_a) * beta / (1 - a) * x0 + math.sqrt(1 - beta) * (1 - next_a) / (1 - a) * x * math.sqrt(a)
        return (mean + math.sqrt((1 - next_a) / (1 - a) * beta) * DRAWS[i]) / math.sqrt(next_a)

    assert made("Euler a", sigmas) == pytest.approx(walked(step, sigmas), abs=1e-12)


def test_a_walk_that_ends_above_0_is_not_straightened():
    """The rule for the last step is about 0, so a walk to a small sigma keeps its order."""
    ends = {
        name: made(name, karras_between(10.0, 0.2, 9)) for name in ("IPNDM", "DEIS", "Gradient Estimation", "Euler")
    }
    assert all(ends[name] != ends["Euler"] for name in ("IPNDM", "DEIS", "Gradient Estimation"))
