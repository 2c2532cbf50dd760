"""Schedules by their written rules: golden sigmas worked out from those rules alone, in float64."""

import itertools
import math

import numpy as np
import pytest

from modules.core import sampling
from modules.core.errors import BadValue
from modules.core.geometry import Size
from modules.core.plan import Pass
from modules.core.request import Sampling
from modules.engine.prediction import DiscreteTimes, FlowTimes, Prediction, Ranged
from modules.engine.schedules import GRIDS, SCHEDULES, later_part, sigmas_for
from modules.families.base import Diffusion
from modules.families.sdxl import SDXL

SD = DiscreteTimes.scaled_linear()
FLOW = FlowTimes(3.0)


def sd_sigma(t):
    """sqrt((1 - a) / a) at a whole time, by the definition of the betas."""
    betas = [(0.00085**0.5 + (0.012**0.5 - 0.00085**0.5) * i / 999) ** 2 for i in range(1000)]
    a = math.prod(1 - beta for beta in betas[: t + 1])
    return math.sqrt((1 - a) / a)


@pytest.mark.parametrize("times", [SD, FLOW], ids=["vp", "flow"])
@pytest.mark.parametrize("name", list(SCHEDULES) + list(GRIDS))
def test_every_schedule_falls_within_what_the_network_knows(name, times):
    make = SCHEDULES.get(name) or GRIDS[name]
    for n in (1, 2, 3, 10, 11, 20, 30, 100, 150):
        sigmas = make(n, times)
        assert all(type(sigma) is float and math.isfinite(sigma) for sigma in sigmas)
        assert all(a > b for a, b in itertools.pairwise(sigmas)), n
        assert sigmas[0] <= times.sigmas[-1] * (1 + 1e-3)  # the published table of Align Your Steps is rounded
        lowest = 0.015 if name == "Align Your Steps 32" else times.sigmas[0]  # that table goes on below
        assert min(s for s in sigmas if s > 0) >= lowest * (1 - 6e-3)
        if name in SCHEDULES:
            assert (sigmas[-1] == 0.0) == (name != "KL Optimal")
            assert len(sigmas) == n + 1 or (name == "DDIM" and len(sigmas) > n + 1)


def test_the_trained_range_of_sd():
    assert float(SD.sigmas[0]) == pytest.approx(sd_sigma(0), rel=1e-12)
    assert (round(float(SD.sigmas[0]), 6), round(float(SD.sigmas[-1]), 6)) == (0.029167, 14.614641)


def test_karras_by_its_formula():
    low, high = sd_sigma(0), sd_sigma(999)
    wanted = [(high ** (1 / 7) + i / 9 * (low ** (1 / 7) - high ** (1 / 7))) ** 7 for i in range(10)]
    assert SCHEDULES["Karras"](10, SD) == pytest.approx([*wanted, 0.0], rel=1e-9)


def test_exponential_has_equal_ratios():
    sigmas = SCHEDULES["Exponential"](8, SD)[:-1]
    ratios = [b / a for a, b in itertools.pairwise(sigmas)]
    assert ratios == pytest.approx([(sd_sigma(0) / sd_sigma(999)) ** (1 / 7)] * 7)


def test_normal_has_equal_times_and_interpolates_log_sigma():
    sigmas = SCHEDULES["Normal"](5, SD)
    assert sigmas[0] == pytest.approx(sd_sigma(999), rel=1e-12)
    assert sigmas[4] == pytest.approx(sd_sigma(0), rel=1e-12)
    assert sigmas[2] == pytest.approx(math.sqrt(sd_sigma(499) * sd_sigma(500)), rel=1e-12)  # t = 499.5


def test_sgm_uniform_leaves_out_the_first_time():
    assert SCHEDULES["SGM Uniform"](3, SD) == pytest.approx([sd_sigma(999), sd_sigma(666), sd_sigma(333), 0.0])


def test_simple_takes_trained_sigmas_only():
    assert SCHEDULES["Simple"](3, SD) == pytest.approx([sd_sigma(999), sd_sigma(666), sd_sigma(333), 0.0])
    assert SCHEDULES["Simple"](4, SD) == pytest.approx([*(sd_sigma(t) for t in (999, 749, 499, 249)), 0.0])


def test_uniform_is_normal_and_polyexponential_is_exponential():
    assert SCHEDULES["Uniform"](20, SD) == SCHEDULES["Normal"](20, SD)
    assert SCHEDULES["Polyexponential"](20, SD) == pytest.approx(SCHEDULES["Exponential"](20, SD))


def test_kl_optimal_has_equal_angles():
    angles = [math.atan(sigma) for sigma in SCHEDULES["KL Optimal"](10, SD)]
    assert angles[0] == pytest.approx(math.atan(sd_sigma(999)))
    assert angles[-1] == pytest.approx(math.atan(sd_sigma(0)))
    assert [a - b for a, b in itertools.pairwise(angles)] == pytest.approx([(angles[0] - angles[-1]) / 10] * 10)


SDXL_TIMES = Prediction.of(SDXL.diffusion).times


@pytest.mark.parametrize("name", ["Align Your Steps", "Align Your Steps 11"])
def test_align_your_steps_is_the_published_table(name):
    published = [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029]
    assert SCHEDULES[name](11, SD) == pytest.approx([*published, 0.0])
    doubled = SCHEDULES[name](21, SD)
    assert doubled[:-1:2] == pytest.approx(published)
    assert doubled[1] == pytest.approx(math.sqrt(14.615 * 6.475))


def test_sdxl_walks_the_tables_that_were_made_for_it():
    published = [14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029]
    assert SCHEDULES["Align Your Steps"](11, SDXL_TIMES) == pytest.approx([*published, 0.0])
    assert sigmas_for("Euler", "Align Your Steps 11", 11, Ranged(SDXL_TIMES, 0.1, 10.0))[1] == pytest.approx(6.315)
    published = [14.615, 4.734, 2.567, 1.529, 0.987, 0.652, 0.418, 0.268, 0.179, 0.127, 0.029]
    assert SCHEDULES["Align Your Steps GITS"](11, SDXL_TIMES) == pytest.approx([*published, 0.0])
    assert SCHEDULES["Align Your Steps 32"](32, SDXL_TIMES)[1] == pytest.approx(11.1491618)
    others = [name for name in SCHEDULES if not name.startswith("Align")]
    assert all(SCHEDULES[name](20, SDXL_TIMES) == SCHEDULES[name](20, SD) for name in others)


def test_gits_is_the_published_table():
    published = [14.615, 4.617, 2.507, 1.236, 0.702, 0.402, 0.240, 0.156, 0.104, 0.094, 0.029]
    assert SCHEDULES["Align Your Steps GITS"](11, SD) == pytest.approx([*published, 0.0])
    assert SCHEDULES["Align Your Steps GITS"](21, SD)[3] == pytest.approx(math.sqrt(4.617 * 2.507))


def test_align_your_steps_32_has_32_sigmas_and_ends_below_the_trained_ones():
    sigmas = SCHEDULES["Align Your Steps 32"](32, SD)
    assert len(sigmas) == 33
    assert (sigmas[0], sigmas[16], sigmas[31]) == pytest.approx((14.615, 1.314849, 0.015))
    assert SCHEDULES["Align Your Steps 32"](63, SD)[:-1:2] == pytest.approx(sigmas[:-1])


def test_turbo_takes_the_trained_sigmas_at_equal_shares():
    assert SCHEDULES["Turbo"](4, SD) == pytest.approx([*(sd_sigma(t) for t in (999, 749, 499, 249)), 0.0])
    assert SCHEDULES["Turbo"](1, SD) == pytest.approx([sd_sigma(999), 0.0])
    assert SCHEDULES["Turbo"](3, SD) == pytest.approx([*(sd_sigma(t) for t in (999, 666, 332)), 0.0])


def test_linear_quadratic_takes_half_of_the_steps_for_the_first_fortieth():
    top = sd_sigma(999)
    shares = [1 - sigma / top for sigma in SCHEDULES["Linear Quadratic"](8, SD)]
    assert shares[:5] == pytest.approx([0.0, 0.00625, 0.0125, 0.01875, 0.025])
    assert shares[-1] == 1.0
    bends = np.diff(shares, 2)
    assert bends[:3] == pytest.approx([0, 0, 0], abs=1e-12)
    assert bends[3] == pytest.approx(bends[4] / 2)  # at the seam, where the parabola begins with the line's slope
    assert bends[4:] == pytest.approx([bends[4]] * 3)
    flow = [sigma / (1 + sigma) for sigma in SCHEDULES["Linear Quadratic"](8, FLOW)]
    assert flow == pytest.approx([(1 - share) * (1 - 1e-4) for share in shares], abs=1e-9)


def test_ddim_schedule_takes_whole_times_from_1():
    assert SCHEDULES["DDIM"](20, SD) == pytest.approx([*(sd_sigma(t) for t in range(951, 0, -50)), 0.0])
    assert len(SCHEDULES["DDIM"](30, SD)) == 32  # 1000 // 30 = 33, and 31 times fit


def test_beta_crowds_both_ends():
    sigmas = SCHEDULES["Beta"](21, SD)[:-1]
    assert sigmas[10] == pytest.approx((sd_sigma(999) + sd_sigma(0)) / 2)  # the median of a symmetric distribution
    gaps = [a - b for a, b in itertools.pairwise(sigmas)]
    assert gaps[0] < gaps[5] < gaps[9] > gaps[15] > gaps[-1]


def test_lcm_times():
    assert sigmas_for("LCM", "Automatic", 50, SD)[:-1] == pytest.approx([sd_sigma(t) for t in range(999, 0, -20)])


def test_ddim_times_as_people_count_them():
    sigmas = sigmas_for("DDIM", "Automatic", 20, SD)
    assert sigmas == pytest.approx([sd_sigma(t) for t in range(951, 0, -50)], rel=1e-12)
    assert sigmas[-1] == pytest.approx(0.0413144, rel=1e-5)
    assert len(sigmas_for("PLMS", "Automatic", 30, SD)) == 31


def test_unipc_times_are_fractional():
    sigmas = sigmas_for("UniPC", "Automatic", 20, SD)
    assert len(sigmas) == 21
    assert SD.time(sigmas[1]) == pytest.approx(999 - 999 / 20)
    assert sigmas[-1] == pytest.approx(sd_sigma(0))


def test_automatic_is_the_samplers_own():
    assert sigmas_for("DPM++ 2M", "Automatic", 20, SD) == SCHEDULES["Karras"](20, SD)
    assert sigmas_for("Euler", "Automatic", 20, SD) == SCHEDULES["Normal"](20, SD)
    assert sigmas_for("DDIM", "Karras", 20, SD) == SCHEDULES["Karras"](20, SD)


@pytest.mark.parametrize("name", ["DPM2", "DPM2 a", "DPM++ 3M SDE"])
def test_the_penultimate_sigma_is_dropped_where_the_sampler_says_so(name):
    longer = SCHEDULES["Karras"](11, SD)
    assert sigmas_for(name, "Karras", 10, SD) == [*longer[:10], 0.0]


def one(sampler="Euler", schedule="Karras", steps=20, strength=0.75, exact=False):
    size = Size(width=64, height=64)
    return Pass(
        model="model", start="picture", size=size, canvas=size, prompt="", negative_prompt="", sampler=sampler,
        schedule=schedule, steps=steps, cfg_scale=7.0, denoise_strength=strength, exact_steps=exact,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("steps", "strength", "walked"),
    [(20, 0.75, 16), (20, 0.5, 11), (20, 0.2, 5), (20, 1.0, 20), (20, 0.04, 1), (30, 0.75, 23), (30, 0.33, 10)],
)
def test_a_picture_to_start_from_walks_the_last_steps(steps, strength, walked):
    part = later_part(one(steps=steps, strength=strength), SD)
    full = sigmas_for("Euler", "Karras", steps, SD)
    assert part.sigmas == full[-(walked + 1) :]
    assert (part.noised_to, part.full) == (part.sigmas[0], full)


def test_exact_steps_stretch_the_schedule():
    part = later_part(one(strength=0.5, exact=True), SD)
    assert part.full == sigmas_for("Euler", "Karras", 40, SD)
    assert part.sigmas == part.full[-21:]
    for strength in np.linspace(0.01, 1.0, 34):
        assert len(later_part(one(schedule="Normal", steps=12, strength=float(strength), exact=True), SD).sigmas) == 13


def test_no_strength_is_no_walk_but_for_a1111_which_walks_one_step():
    assert later_part(one(strength=0.0), SD).sigmas == [0.0]
    assert later_part(one("DDIM", "Timesteps", strength=0.0, exact=True), SD).sigmas == [0.0]
    assert later_part(one(strength=0.0), SD, a1111=True).sigmas == sigmas_for("Euler", "Karras", 20, SD)[-2:]


@pytest.mark.parametrize(("steps", "strength", "last"), [(20, 0.75, 15), (20, 0.5, 10), (30, 0.5, 15), (20, 0.01, 1)])
def test_samplers_with_times_of_their_own_begin_at_one_of_them(steps, strength, last):
    known = range(1, 1001, 1000 // steps)
    part = later_part(one("DDIM", "Timesteps", steps, strength), SD)
    assert part.sigmas == pytest.approx([sd_sigma(known[i]) for i in range(last, -1, -1)])
    assert part.noised_to == part.sigmas[0]
    theirs = later_part(one("DDIM", "Timesteps", steps, strength), SD, a1111=True)
    assert theirs.noised_to == pytest.approx(sd_sigma(known[last]))
    if last > 1:
        assert theirs.sigmas == pytest.approx([sd_sigma(known[i]) for i in range(last - 1, -1, -1)])


def test_unipc_begins_at_such_a_time_and_walks_equal_steps_from_there():
    part = later_part(one("UniPC", "UniPC", 20, 0.75), SD)
    assert [SD.time(sigma) for sigma in part.sigmas] == pytest.approx(np.linspace(751, 0, 16), abs=1e-6)
    theirs = later_part(one("UniPC", "UniPC", 20, 0.75), SD, a1111=True)
    assert [SD.time(sigma) for sigma in theirs.sigmas] == pytest.approx(np.linspace(701, 0, 16), abs=1e-6)
    assert theirs.noised_to == pytest.approx(sd_sigma(751))


def test_a_stretched_walk_of_timesteps_has_as_many_as_were_asked_for():
    part = later_part(one("DDIM", "Timesteps", 20, 0.5, exact=True), SD)
    assert part.sigmas == pytest.approx([sd_sigma(t) for t in range(476, 0, -25)])


@pytest.mark.parametrize(("skip", "middle"), [("time_uniform", 499.5), ("time_quadratic", None), ("logSNR", None)])
def test_unipc_spaces_its_times_as_its_authors_name_them(skip, middle):
    sigmas = sigmas_for("UniPC", "UniPC", 20, SD, Sampling(unipc_skip=skip))
    assert (len(sigmas), sigmas[0]) == (21, pytest.approx(sd_sigma(999)))
    assert sigmas[-1] == pytest.approx(sd_sigma(0))
    if skip == "logSNR":
        assert sigmas[10] == pytest.approx(math.sqrt(sd_sigma(0) * sd_sigma(999)))
    else:
        root = ((1 + 0.001**0.5) / 2) ** 2  # of a time from 0.001 to 1
        assert SD.time(sigmas[10]) == pytest.approx(root * 1000 - 1 if middle is None else middle, abs=1e-6)


def test_own_ends_and_bend():
    own = Sampling(sigma_min=0.1, sigma_max=10.0, rho=3.0)
    wanted = [(10 ** (1 / 3) + i / 9 * (0.1 ** (1 / 3) - 10 ** (1 / 3))) ** 3 for i in range(10)]
    assert sigmas_for("Euler", "Karras", 10, SD, own) == pytest.approx([*wanted, 0.0])
    for name in ("Exponential", "Polyexponential", "KL Optimal", "Normal", "SGM Uniform", "Beta"):
        sigmas = sigmas_for("Euler", name, 10, SD, Sampling(sigma_min=0.1, sigma_max=10.0))
        assert sigmas[0] == pytest.approx(10.0, rel=1e-5), name
        assert min(s for s in sigmas if s > 0) >= 0.1 - 1e-9, name
    for name in ("Uniform", "Simple", "DDIM", "Align Your Steps", "Turbo"):
        assert sigmas_for("Euler", name, 10, SD, own) == sigmas_for("Euler", name, 10, SD), name
    flow = sigmas_for("Euler", "Normal", 10, FLOW, Sampling(sigma_min=0.1, sigma_max=10.0))
    assert (flow[0], flow[-2]) == (pytest.approx(10.0), pytest.approx(0.1))
    with pytest.raises(BadValue) as caught:
        sigmas_for("Euler", "Karras", 10, SD, Sampling(sigma_min=20.0))
    assert caught.value.field == "sampling.sigma_min"


def test_a_beta_schedule_of_other_shape():
    sigmas = sigmas_for("Euler", "Beta", 11, SD, Sampling(beta_alpha=1.0, beta_beta=1.0))  # the uniform distribution
    assert sigmas == pytest.approx([*np.linspace(sd_sigma(999), sd_sigma(0), 11), 0.0])


def test_the_sigma_before_the_last_goes_where_one_says_so():
    longer = SCHEDULES["Karras"](11, SD)
    assert sigmas_for("Euler", "Karras", 10, SD, Sampling(discard_penultimate=True)) == [*longer[:10], 0.0]
    assert sigmas_for("DPM2", "Karras", 10, SD, Sampling(discard_penultimate=False)) == SCHEDULES["Karras"](10, SD)
    assert len(sigmas_for("DDIM", "Automatic", 20, SD, Sampling(discard_penultimate=True))) == 22  # range(0, 1000, 47)


def test_all_noise_at_the_end_by_the_papers_algorithm():
    end = DiscreteTimes.scaled_linear(zero_snr=True)
    root = math.sqrt(1 / (1 + sd_sigma(500) ** 2))
    first, last = (math.sqrt(1 / (1 + sd_sigma(t) ** 2)) for t in (0, 999))
    wanted = (root - last) * first / (first - last)
    assert float(end.sigmas[500]) == pytest.approx(math.sqrt(1 - wanted**2) / wanted, rel=1e-9)
    assert float(end.sigmas[0]) == pytest.approx(sd_sigma(0), rel=1e-9)
    assert float(end.sigmas[-1]) == pytest.approx(4518.7, abs=0.1)
    assert Prediction.of(Diffusion(prediction="v"), zero_terminal_snr=True).times.range[1] > 4000


def test_the_table_has_the_names_that_people_choose_from():
    assert {"Automatic", *SCHEDULES} == {row.name for row in sampling.SCHEDULES}
    assert {row.schedule for row in sampling.SAMPLERS} <= {*SCHEDULES, *GRIDS}


def test_comfyui_has_schedules_of_its_own():
    times = SD
    ours, theirs = (sigmas_for("Euler", "Beta", 20, times, comfy=comfy) for comfy in (False, True))
    assert ours != theirs
    trained = set(times.sigmas.tolist())
    assert all(sigma in trained for sigma in theirs[:-1])
    assert theirs[0] == times.sigmas[-1]
    many = sigmas_for("Euler", "Beta", 150, times, comfy=True)
    assert many == sorted(set(many), reverse=True)  # each trained sigma once, so fewer steps than were asked for
    assert len(many) < 151
    assert sigmas_for("DPM++ 3M SDE", "Karras", 20, times, comfy=True) == sigmas_for("Euler", "Karras", 20, times)
    assert sigmas_for("DPM2", "Karras", 20, times, comfy=True) == sigmas_for("DPM2", "Karras", 20, times)
