"""What the loop costs beside the network: a walk whose network answers at once, against the network's calls made bare.

Run it from the checkout: ``python benchmarks/loop_overhead.py``. A small convolutional network of a few milliseconds
stands for the real one, so the percentage is an upper bound: real networks take a hundred times as long. The walk gets
the network's recorded answers, so that it makes the same steps; of several rounds that take turns the least counts,
in processor time of one thread, because other programs share the machine. Drawing noise is no loop: it stands beside it
(most of it where a Brownian path is followed; it grows with the picture, but far slower than a network does).
"""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from torch import Tensor, nn

from modules.core.sampling import find_sampler
from modules.engine.denoise import Call, NoiseSource, Step, denoise
from modules.engine.guidance import Weighted, guide
from modules.engine.noise import ImageNoise
from modules.engine.prediction import Cond, DiscreteTimes, Network, Prediction
from modules.engine.samplers import SAMPLERS
from modules.engine.schedules import sigmas_for

STEPS, ROUNDS, WIDTH, SIDE = 20, 5, 96, 32
T = TypeVar("T")
TARGET = 3.0  # percent
EDGE = Prediction("eps", DiscreteTimes.scaled_linear())


class Listener:
    """A job and its hooks that want nothing."""

    def check(self) -> None:
        """Go on."""

    def called(self, call: Call) -> None:
        """Hear, and do nothing."""

    def after_step(self, step: Step) -> None:
        """See, and do nothing."""


class TimedNoise(ImageNoise):
    """Noise that knows how long it took to draw."""

    seconds = 0.0

    def draw(self) -> Tensor:
        """As `ImageNoise.draw`."""
        return self._timed(super().draw)

    def on_path(self, sigmas: Sequence[float]) -> NoiseSource:
        """As `ImageNoise.on_path`."""
        path = self._timed(lambda: super(TimedNoise, self).on_path(sigmas))
        return lambda sigma, sigma_next: self._timed(lambda: path(sigma, sigma_next))

    def _timed(self, work: Callable[[], T]) -> T:
        begun = time.process_time()
        done = work()
        self.seconds += time.process_time() - begun
        return done


def main() -> int:
    """Print a table, a row a sampler; exit 1 where a row misses the target."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    layers = [nn.Conv2d(4, WIDTH, 3, padding=1), nn.SiLU()]
    for _ in range(6):
        layers += [nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.SiLU()]
    network = nn.Sequential(*layers, nn.Conv2d(WIDTH, 4, 3, padding=1)).requires_grad_(False)
    print(f"{'sampler':<18}{'calls':>6}{'ms a call':>11}{'bare ms':>10}{'noise ms':>10}{'loop ms':>10}{'overhead':>10}")
    worst = 0.0
    for name in SAMPLERS:
        calls, bare, noise, loop = compare(name, network)
        overhead = loop / bare * 100
        worst = max(worst, overhead)
        print(f"{name:<18}{calls:>6}{bare / calls:>11.2f}{bare:>10.1f}{noise:>10.2f}{loop:>10.2f}{overhead:>9.1f}%")
    print(f"worst {worst:.1f}%, target under {TARGET:.0f}%")
    return int(worst >= TARGET)


def compare(name: str, network: nn.Module) -> tuple[int, float, float, float]:
    """(calls, milliseconds of those calls made bare, of drawing noise, of the rest of the walk around them)."""
    cond: Cond = {"context": torch.zeros(1, 77, 8)}
    inputs: list[Tensor] = []
    answers: list[Tensor] = []

    def recorded(x: Tensor, t: float, cond: Cond) -> Tensor:
        inputs.append(x)
        answers.append(network(x))
        return answers[-1]

    walk_once(name, recorded, cond)
    bare, noise, loop = [], [], []
    for _ in range(ROUNDS):
        begun = time.process_time()
        for x in inputs:
            network(x)
        bare.append(time.process_time() - begun)
        replay = iter(answers)
        begun = time.process_time()
        noise.append(walk_once(name, lambda x, t, cond, replay=replay: next(replay), cond))
        loop.append(time.process_time() - begun - noise[-1])
    return len(inputs), min(bare) * 1000, min(noise) * 1000, min(loop) * 1000


def walk_once(name: str, network: Network, cond: Cond) -> float:
    """One picture with guidance as the engine walks it: schedule, both halves in one call, hooks, progress.

    Returns how many seconds of it the noise took.
    """
    listener = Listener()
    noise = TimedNoise([1], (4, SIDE, SIDE))
    sigmas = sigmas_for(name, "Automatic", STEPS, EDGE.times)
    x = noise.draw() * EDGE.noise_scale(sigmas[0], find_sampler(name).unit_noise)
    denoiser = guide(EDGE.x0(network), lambda _: [Weighted(cond)], lambda _: cond, 7.0, keep_uncond=True)
    denoise(denoiser, x, sigmas, SAMPLERS[name], noise, listener, listener)
    return noise.seconds


if __name__ == "__main__":
    sys.exit(main())
