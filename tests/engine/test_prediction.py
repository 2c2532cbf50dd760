"""The edge of each kind of network: times, scales, and the same x0 whatever the network speaks."""

import math
from itertools import pairwise

import pytest
import torch

from modules.engine.prediction import DiscreteTimes, FlowTimes, Prediction
from modules.families.base import Diffusion

SD = DiscreteTimes.scaled_linear()


def told(edge, x, sigma):
    """What the network behind the edge is given: (its own x, time)."""
    seen = []

    def network(own_x, t, cond):
        seen.append((own_x, t))
        return torch.zeros_like(own_x)

    edge.x0(network)(x, sigma, {})
    return seen[0]


@pytest.mark.parametrize("t", [0.0, 1.0, 333.25, 500.5, 999.0])
def test_time_and_sigma_are_inverse(t):
    assert SD.time(SD.sigma(t)) == pytest.approx(t, abs=1e-9)


def test_time_stays_within_what_was_trained():
    assert (SD.time(1e-5), SD.time(1e5)) == (0.0, 999.0)


def test_flow_times():
    plain, bent = FlowTimes(), FlowTimes(3.0)
    assert plain.sigma(500) == 1.0
    assert plain.time(1.0) == 500.0
    assert bent.time(bent.sigma(500)) == pytest.approx(750.0)  # 3 t / (1 + 2 t)
    assert bent.sigma(1000) == pytest.approx(9999.0)  # t held at 1 - 1e-4
    assert len(bent.sigmas) == 1000


@pytest.mark.parametrize("sigma", [0.03, 0.7, 1.0, 14.6])
@pytest.mark.parametrize("kind", ["eps", "v", "x0", "flow"])
def test_a_perfect_network_is_read_back_exactly(kind, sigma):
    """x0 and noise are mixed as each paper mixes them, and the edge finds x0 again."""
    torch.manual_seed(3)
    x0, n = torch.randn(2, 1, 4, 5, 6, dtype=torch.float64)
    if kind == "flow":
        t = sigma / (1 + sigma)
        own, output = (1 - t) * x0 + t * n, n - x0
    else:
        alpha, spread = 1 / math.sqrt(1 + sigma**2), sigma / math.sqrt(1 + sigma**2)
        own, output = alpha * x0 + spread * n, {"eps": n, "v": alpha * n - spread * x0, "x0": x0}[kind]
    edge = Prediction(kind, FlowTimes() if kind == "flow" else SD)
    x = x0 + sigma * n
    assert torch.allclose(told(edge, x, sigma)[0], own, atol=1e-12)
    assert torch.allclose(edge.x0(lambda *_: output)(x, sigma, {}), x0, atol=1e-12)
    assert torch.allclose(edge.leave(x, sigma), own, atol=1e-12)


def test_the_network_is_told_its_own_time():
    x = torch.zeros(1, 1, 2, 2)
    assert told(Prediction("eps", SD), x, SD.sigma(123.5))[1] == pytest.approx(123.5)
    assert told(Prediction("flow", FlowTimes(3.0)), x, 1.0)[1] == 500.0


def test_starting_noise():
    edge, flow = Prediction("eps", SD), Prediction("flow", FlowTimes())
    assert edge.noise_scale(3.0) == flow.noise_scale(3.0) == 3.0
    assert edge.noise_scale(3.0, unit=True) == pytest.approx(math.sqrt(10))
    assert flow.noise_scale(3.0, unit=True) == 4.0


def test_a_familys_facts_become_its_edge():
    edge = Prediction.of(Diffusion("v", timesteps=1100, beta_end=0.014))
    assert (edge.kind, len(edge.times.sigmas), edge.times.ends) == ("v", 1100, (0.0, 1099.0))
    assert Prediction.of(Diffusion("flow", shift=3.0)).times.time(3.0) == 750.0
    assert Prediction.of(Diffusion()).times.sigma(999) == pytest.approx(14.6146, abs=1e-4)


def test_zero_snr_ends_in_noise_alone_and_begins_as_before():
    plain, zero = DiscreteTimes.scaled_linear(), DiscreteTimes.scaled_linear(zero_snr=True)
    assert zero.sigmas[0] == pytest.approx(plain.sigmas[0], rel=1e-9)
    assert zero.sigmas[-1] == pytest.approx(4518.75, rel=1e-3)
    assert all(before < after for before, after in pairwise(zero.sigmas))


def test_a_family_says_whether_its_last_time_is_noise_alone():
    assert Prediction.of(Diffusion(prediction="v", zero_snr=True)).times.sigma(999) > 4000


def test_the_network_may_be_told_whole_times_only():
    diffusion, told = Diffusion(), []

    def network(x, t, cond):
        told.append(t)
        return x

    for whole in (False, True):
        prediction = Prediction.of(diffusion, whole_times=whole)
        for t in (0.4, 17.6, 998.7):
            prediction.x0(network)(torch.zeros(1), prediction.times.sigma(t), {})
    assert told[:3] == pytest.approx([0.4, 17.6, 998.7])
    assert told[3:] == [0, 18, 999]
