"""Every sampler against a mixture whose exact answer is known: order, statistics, calls, both spaces."""

import itertools
import math

import pytest
import torch
from mixture import MEAN, STD, denoiser, exact_x0, flow

from modules.core import sampling
from modules.engine.denoise import Denoised
from modules.engine.noise import ImageNoise
from modules.engine.prediction import DiscreteTimes, FlowTimes, Prediction
from modules.engine.samplers import SAMPLERS
from modules.engine.samplers.restart import restart_steps
from modules.engine.samplers.table import ancestral
from modules.engine.schedules import karras_between, sigmas_for

SD = DiscreteTimes.scaled_linear()


def walk(name, x, sigmas, denoise=denoiser, noise=None, **options):
    """The last x of a walk, and how many calls it made."""
    calls = 0

    def counted(x, sigma):
        nonlocal calls
        calls += 1
        return denoise(x, sigma)

    noise = noise or ImageNoise(range(len(x)), tuple(x.shape[1:]), "cpu")
    for step in SAMPLERS[name](counted, x, sigmas, noise, **options):
        x = step.x
    return x, calls


def error(name, steps, **options):
    """Root mean square distance from the exact flow at sigma 0.2, from sigma 10, in float64."""
    start = torch.linspace(-20, 20, 64, dtype=torch.float64).reshape(1, 1, 8, 8)
    end, calls = walk(name, start, karras_between(10.0, 0.2, steps + 1), **options)
    return float((end - flow(start, 10.0, 0.2)).square().mean().sqrt()), calls


def slope(name, few=40, many=160, **options):
    """The measured order: how fast the error falls as steps are added."""
    return math.log(error(name, few, **options)[0] / error(name, many, **options)[0]) / math.log(many / few)


@pytest.mark.parametrize("name", ["Euler", "DDIM", "HeunPP2", "Gradient Estimation", "Euler CFG++"])
def test_first_order(name):
    assert 0.9 < slope(name) < 1.1


def test_ancestral_samplers_are_euler_at_eta_0():
    assert 0.9 < slope("Euler a", eta=0.0) < 1.1
    assert error("Euler a", 20, eta=0.0)[0] == pytest.approx(error("Euler", 20)[0], rel=1e-9)


@pytest.mark.parametrize(
    ("name", "plain"), [("DDIM CFG++", "DDIM"), ("Euler CFG++", "Euler"), ("Euler a CFG++", "Euler a")]
)
def test_cfgpp_walks_like_the_plain_sampler_where_both_halves_agree(name, plain):
    options = {"eta": 0.0} if " a" in name else {}
    assert error(name, 20, **options)[0] == pytest.approx(error(plain, 20, **options)[0], rel=1e-9)


SECOND = [
    ("Heun", {}),
    ("DPM2", {}),
    ("DPM2 a", {"eta": 0.0}),
    ("DPM++ 2M", {}),
    ("DPM++ 2S a", {"eta": 0.0}),
    ("DPM++ SDE", {"eta": 0.0}),
    ("DPM++ 2M SDE", {"eta": 0.0}),
    ("DPM++ 2M SDE Heun", {"eta": 0.0}),
    ("IPNDM", {}),
    ("Gradient Estimation", {"gamma": 1.5}),
    ("UniPC", {}),
    ("UniPC", {"order": 2}),
    ("UniPC", {"variant": "bh2"}),
]


@pytest.mark.parametrize(("name", "options"), SECOND)
def test_second_order(name, options):
    assert 1.85 < slope(name, **options) < 2.2


@pytest.mark.parametrize(("name", "options"), [("PLMS", {}), ("LMS", {}), ("DEIS", {}), ("DPM++ 3M SDE", {"eta": 0.0})])
def test_more_memory_between_second_and_fourth_order(name, options):
    assert 1.85 < slope(name, **options) < 3.6


@pytest.mark.parametrize(("name", "options"), [("DPM fast", {"eta": 0.0}), ("IPNDM_V", {})])
def test_good_at_32_calls(name, options):
    found, calls = error(name, 32, **options)
    assert found < 0.01
    assert calls == 32


def test_restart_without_noise_is_heun():
    assert 1.7 < slope("Restart", few=10, many=19) < 3.0  # below 20 steps it never climbs


def test_dpm_adaptive_follows_its_tolerance():
    coarse, calls = error("DPM adaptive", 20, eta=0.0)
    fine, more = error("DPM adaptive", 20, eta=0.0, rtol=0.005, atol=0.00078)
    assert coarse < 0.02
    assert fine < 0.003
    assert calls < more < 200
    assert error("DPM adaptive", 50, eta=0.0) == (coarse, calls)  # the sigmas between do not matter


# Two are for networks that answer with samples, not means; the last is no solver of the flow (docs/parity.md).
CONSISTENT = [name for name in SAMPLERS if name not in ("LCM", "TCD", "DPM++ 2S a CFG++")]
STOCHASTIC = [row.name for row in sampling.SAMPLERS if row.stochastic and row.name in CONSISTENT]


@pytest.mark.parametrize(("name", "options"), [*((name, {}) for name in STOCHASTIC), ("TCD", {"eta": 0.05})])
def test_stochastic_samplers_keep_mean_and_spread(name, options):
    torch.manual_seed(7)
    sigmas = [*karras_between(14.6, 0.03, 60), 0.0]
    x = torch.randn(1, 1, 100, 200) * 14.6  # 20,000 values
    end, _ = walk(name, x, sigmas, **options)
    assert float(end.mean()) == pytest.approx(MEAN, abs=0.04)
    assert float(end.std()) == pytest.approx(STD, abs=0.03)


def test_lcm_is_right_for_a_consistency_model():
    """A network that answers with the end of the exact flow, as consistency models are taught to."""
    torch.manual_seed(7)
    sigmas = sigmas_for("LCM", "Automatic", 4, SD)
    x = torch.randn(1, 1, 50, 100) * sigmas[0]
    end, calls = walk("LCM", x, sigmas, lambda x, sigma: Denoised(flow(x, sigma, 1e-3).float()))
    assert float(end.mean()) == pytest.approx(MEAN, abs=0.05)
    assert float(end.std()) == pytest.approx(STD, abs=0.04)
    assert calls == 4


@pytest.mark.parametrize("name", CONSISTENT)
def test_right_in_both_forms(name):
    """Through the edge of a VP network and of a flow network: the same picture statistics, to one sampler."""
    for kind, times in (("eps", SD), ("v", SD), ("flow", FlowTimes(3.0))):
        edge = Prediction(kind, times)
        predict = edge.x0(speaking(edge))
        sigmas = sigmas_for(name, "Automatic", 60, times)
        unit = sampling.find_sampler(name).unit_noise
        torch.manual_seed(11)
        x = torch.randn(1, 1, 80, 80) * edge.noise_scale(sigmas[0], unit)
        end, _ = walk(name, x, sigmas, lambda x, sigma, p=predict: Denoised(*[p(x, sigma, {})] * 3))
        end = edge.leave(end, sigmas[-1])
        assert float(end.mean()) == pytest.approx(MEAN, abs=0.06), kind
        assert float(end.std()) == pytest.approx(STD, abs=0.05), kind


def speaking(edge):
    """The mixture as a network of that kind: from its own x and time to its own output."""

    def network(own_x, t, cond):
        sigma = t / (1000 - t) if edge.kind == "flow" else edge.times.sigma(t)
        x = own_x * edge.stretch(sigma)
        x0 = exact_x0(x, sigma)
        eps = (x - x0) / sigma
        return {"eps": eps, "flow": eps - x0, "v": (eps - sigma * x0) / (1 + sigma**2) ** 0.5}[edge.kind]

    return network


REFERENCE = {  # three values of the same walk by k-diffusion as of February 2026, in float64 (docs/parity.md)
    "Euler": (-1.82617, -0.36125, 1.20245),
    "Euler a": (-0.13497, 0.01179, 0.37588),
    "Heun": (-1.94020, -0.41180, 1.32032),
    "DPM2": (-1.92656, -0.40182, 1.29691),
    "DPM2 a": (-0.46321, 0.16356, 0.36442),
    "LMS": (-1.91966, -0.38395, 1.28281),
    "DPM++ 2S a": (-0.58457, 0.18027, 0.34365),
    "DPM++ SDE": (-0.03414, 0.02888, 0.56285),
    "DPM++ 2M": (-1.93751, -0.40547, 1.30712),
    "DPM++ 2M SDE": (-0.11103, 0.37649, 0.34961),
    "DPM++ 2M SDE Heun": (-0.11233, 0.38799, 0.35855),
    "DPM++ 3M SDE": (-0.53326, 0.30825, 0.34972),
    "DPM fast": (-1.62473, -0.49199, 0.31562),
    "DPM adaptive": (0.03836, -0.87310, 0.52032),
    # by ComfyUI's sampler file as reForge had it in March 2026
    "HeunPP2": (-1.83276, -0.36767, 1.20660),
    "IPNDM": (-1.89193, -0.37057, 1.25714),
    "IPNDM_V": (-1.94398, -0.39300, 1.31030),
    "DEIS": (-1.91047, -0.36312, 1.27429),
    "Gradient Estimation": (-1.92069, -0.37336, 1.28028),
    "Euler CFG++": (-2.31751, -1.63432, 1.57540),
    "Euler a CFG++": (-0.85862, -0.15577, 0.56365),
    "DPM++ 2S a CFG++": (-0.45302, -0.14532, 0.47463),
}


def two_halves(x, sigma):
    """A denoiser whose unconditional half says something else."""
    x0 = exact_x0(x, sigma)
    return Denoised(x0, x0, x0 * 0.9 - 0.05 * torch.sin(x))


@pytest.mark.parametrize("name", list(REFERENCE))
def test_walks_as_the_originals_do(name):
    sigmas = sigmas_for(name, "Automatic", 20, SD)
    x = torch.linspace(-2, 2, 16, dtype=torch.float64).reshape(1, 1, 4, 4) * sigmas[0]
    draws = itertools.count(1)

    def noise(sigma, sigma_next):
        return (2**0.5 * torch.cos(torch.arange(1, 17, dtype=torch.float64) * next(draws))).reshape(1, 1, 4, 4)

    end = walk(name, x, sigmas, two_halves, noise)[0].flatten()
    assert (float(end[0]), float(end[6]), float(end[15])) == pytest.approx(REFERENCE[name], abs=1e-4)


CALLS = {  # at 20 and 30 steps, with the schedule that Automatic means
    "Euler": (20, 30), "Euler a": (20, 30), "Heun": (39, 59), "DPM++ 2M": (20, 30), "DDIM": (19, 30),
    "DDIM CFG++": (19, 30), "PLMS": (20, 31), "UniPC": (20, 31), "Restart": (39, 59),
    "DPM++ SDE": (39, 59), "DPM++ 2M SDE": (20, 30), "DPM++ 2M SDE Heun": (20, 30), "DPM++ 2S a": (39, 59),
    "DPM++ 3M SDE": (20, 30), "LMS": (20, 30), "DPM2": (39, 59), "DPM2 a": (39, 59), "DPM fast": (20, 30),
    "LCM": (20, 30), "TCD": (20, 30), "DEIS": (20, 30), "IPNDM": (20, 30), "IPNDM_V": (20, 30), "HeunPP2": (57, 87),
    "Gradient Estimation": (20, 30), "Euler CFG++": (20, 30), "Euler a CFG++": (20, 30), "DPM++ 2S a CFG++": (39, 59),
}  # fmt: skip


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_calls_are_known_before(name):
    for steps in (1, 2, 3, 20, 30, 36):
        sigmas = sigmas_for(name, "Automatic", steps, SD)
        _, made = walk(name, torch.ones(1, 1, 2, 2) * sigmas[0], sigmas)
        assert SAMPLERS[name].calls(sigmas) in (made, None)
        assert made > 0
        if name in CALLS and steps in (20, 30):
            assert made == CALLS[name][steps == 30]


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_every_sampler_walks_every_schedule(name):
    """Any choice on the page, also of too few steps: numbers stay finite, and calls are as many as was foretold."""
    for schedule, steps in itertools.product([row.name for row in sampling.SCHEDULES], (1, 2, 3, 21)):
        sigmas = sigmas_for(name, schedule, steps, SD)
        x = torch.linspace(-1, 1, 16).reshape(1, 1, 4, 4) * sigmas[0]
        end, made = walk(name, x, sigmas)
        left = min(sigma for sigma in sigmas if sigma > 0)  # where DPM fast and adaptive end
        assert float(end.abs().max()) < (5 + 3 * left if steps > 5 else 100), (schedule, steps)
        assert SAMPLERS[name].calls(sigmas) in (made, None), (schedule, steps)
        assert made > 0


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_nothing_to_walk_is_no_call(name):
    x = torch.ones(1, 1, 2, 2)
    assert walk(name, x, [0.5]) == (x, 0)
    assert SAMPLERS[name].calls([0.5]) == 0


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_a_hook_may_edit_every_step(name):
    """The sampler goes on from what stands in step.x: an edit of the first step is in what comes of the second."""
    seen = []

    def to_nothing(x, sigma):
        seen.append(x)
        return Denoised(torch.zeros_like(x), torch.zeros_like(x), torch.zeros_like(x))

    sigmas = [*karras_between(14.6, 0.03, 8), 0.0]
    start = torch.ones(1, 1, 2, 2)
    walker = SAMPLERS[name](to_nothing, start, sigmas, lambda *_: torch.zeros_like(start))
    step = next(walker)
    assert step.sigma == sigmas[0] > step.sigma_next
    step.x = step.x + 100
    seen.clear()
    second = next(walker)
    assert max(float(x.abs().max()) for x in [*seen, second.x]) > 10


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_a_picture_in_a_batch_equals_itself_alone(name):
    """Bit for bit, where the sampler's steps do not depend on the picture; the others say that they walk alone."""
    sigmas = sigmas_for(name, "Automatic", 20, SD)

    def made(seeds):
        noise = ImageNoise(seeds, (4, 4, 4), "cpu")
        return walk(name, noise.draw() * sigmas[0], sigmas, noise=noise)[0]

    if not SAMPLERS[name].alone:
        assert torch.equal(made([5, 6, 7])[1:2], made([6]))
    else:
        assert not torch.equal(made([5, 6, 7])[1:2], made([6]))


def test_the_table_has_the_names_that_people_choose_from():
    assert set(SAMPLERS) == {row.name for row in sampling.SAMPLERS}


@pytest.mark.parametrize("row", sampling.SAMPLERS, ids=lambda row: row.name)
def test_facts_say_what_the_walk_does(row):
    drawn = []

    def noise(sigma, sigma_next):
        drawn.append(sigma)
        return torch.randn(1, 1, 2, 2)

    sigmas = sigmas_for(row.name, "Automatic", 24, SD)
    made = walk(row.name, torch.randn(1, 1, 2, 2) * 14, sigmas, noise=noise)[1]
    assert bool(drawn) == row.stochastic
    if SAMPLERS[row.name].calls(sigmas) is not None:
        assert (made > 1.5 * 24) == (row.second or row.name == "HeunPP2")  # which Forge counts as one a step

    def without_uncond(x, sigma):
        return Denoised(exact_x0(x, sigma))

    if row.needs_uncond:
        with pytest.raises(ValueError, match="unconditional"):
            walk(row.name, torch.ones(1, 1, 2, 2), sigmas, without_uncond)
    else:
        walk(row.name, torch.ones(1, 1, 2, 2), sigmas, without_uncond)


@pytest.mark.parametrize("name", ["DDIM CFG++", "Euler CFG++"])
def test_cfgpp_walks_with_the_unconditional_noise(name):
    x, x0, uncond = torch.tensor([[[[4.0]]]]), torch.tensor([[[[1.0]]]]), torch.tensor([[[[2.0]]]])
    end, _ = walk(name, x, [2.0, 1.0], lambda x, sigma: Denoised(x0, x0, uncond))
    assert float(end) == 1.0 + (4.0 - 2.0) / 2.0 * 1.0


def test_restart_climbs_back_once_and_twice():
    for steps, climbs in ((19, 0), (20, 1), (35, 1), (36, 2), (40, 2)):
        pairs = restart_steps([*karras_between(14.6, 0.03, steps), 0.0])
        jumps = [(a, b) for (_, a), (b, _) in itertools.pairwise(pairs) if b > a]
        assert len(jumps) == climbs
        assert len(pairs) == steps
        for low, high in jumps:
            assert 0.05 < low < 0.2
            assert 1.4 < high < 2.6


def test_fresh_noise_and_the_step_down_make_the_next_sigma():
    for eta in (0.0, 0.5, 1.0):
        down, up = ancestral(3.0, 2.0, eta)
        assert math.hypot(down, up) == pytest.approx(2.0)
    assert ancestral(3.0, 2.0, 0.0) == (2.0, 0.0)
    assert ancestral(3.0, 0.0, 1.0) == (0.0, 0.0)


def test_options_are_told_by_name():
    assert SAMPLERS["Euler a"].options == {"eta": 1.0, "s_noise": 1.0}
    assert SAMPLERS["Euler"].options == {"s_churn": 0.0, "s_tmin": 0.0, "s_tmax": math.inf, "s_noise": 1.0}
    assert SAMPLERS["DPM++ 2M"].options == {}


@pytest.mark.parametrize("name", ["Euler", "Heun", "DPM2"])
def test_churn_keeps_mean_and_spread_and_calls_above_the_sigmas(name):
    torch.manual_seed(7)
    sigmas = [*karras_between(14.6, 0.03, 160), 0.0]
    x = torch.randn(1, 1, 100, 200) * 14.6
    end, _ = walk(name, x, sigmas, s_churn=15.0)
    assert float(end.mean()) == pytest.approx(MEAN, abs=0.04)
    assert float(end.std()) == pytest.approx(STD, abs=0.03)


def test_churn_by_its_formula():
    """gamma = churn / steps, at most sqrt(2) - 1, between both sigmas; what is added makes up the rise in variance."""
    seen = []

    def listening(x, sigma):
        seen.append((x.clone(), sigma))
        return denoiser(x, sigma)

    x, noise = torch.zeros(1, 1, 4, 4), ImageNoise([3], (1, 4, 4), "cpu")
    sigmas = [8.0, 4.0, 2.0, 1.0]
    walk("Euler", x, sigmas, listening, noise, s_churn=0.6, s_tmin=1.5, s_tmax=5.0, s_noise=1.1)
    assert [sigma for _, sigma in seen] == pytest.approx([8.0, 4.0 * 1.2, 2.0 * 1.2])
    drawn = ImageNoise([3], (1, 4, 4), "cpu")
    drawn.draw()  # every step draws, also one outside the range
    before = denoiser(x, 8.0).x0 + (x - denoiser(x, 8.0).x0) * (4.0 / 8.0)
    torch.testing.assert_close(seen[1][0], before + drawn.draw() * (1.1 * (4.8**2 - 4.0**2) ** 0.5))
    seen.clear()
    walk("Euler", x, sigmas, listening, noise, s_churn=100.0)
    assert seen[0][1] == pytest.approx(8.0 * 2**0.5)


def test_unipc_keeps_its_order_to_the_end_where_told():
    falling, kept = error("UniPC", 12)[0], error("UniPC", 12, lower_order_final=False)[0]
    assert falling != kept
    assert error("UniPC", 12, order=1)[0] > falling
