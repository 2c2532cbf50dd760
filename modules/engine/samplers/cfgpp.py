"""CFG++: samplers that go to the guided x0, but with the unconditional noise."""

from collections.abc import Iterator
from itertools import pairwise

from torch import Tensor

from modules.engine.denoise import Denoiser, NoiseSource, Step
from modules.engine.samplers.table import Sigmas, ancestral, sampler, two_a_step


@sampler("Euler a CFG++")
def euler_ancestral_cfgpp(
    denoiser: Denoiser, x: Tensor, sigmas: Sigmas, noise: NoiseSource, *, eta: float = 1.0, s_noise: float = 1.0
) -> Iterator[Step]:
    """Chung et al. 2024 (arXiv:2406.08070), algorithm 2, to below each sigma, and fresh noise back up to it."""
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised, uncond = _both(denoiser, x, sigma)
        down, up = ancestral(sigma, sigma_next, eta)
        x = denoised + (x - uncond) * (down / sigma)
        if up > 0:
            x = x + noise(sigma, sigma_next) * (s_noise * up)
        yield (step := Step(i, sigma, x, denoised, sigma_next))
        x = step.x


@sampler("Euler CFG++")
def euler_cfgpp(denoiser: Denoiser, x: Tensor, sigmas: Sigmas, noise: NoiseSource) -> Iterator[Step]:
    """Chung et al. 2024 (arXiv:2406.08070), algorithm 2, on the sigmas of any schedule."""
    yield from euler_ancestral_cfgpp(denoiser, x, sigmas, noise, eta=0.0)


@sampler("DDIM CFG++")
def ddim_cfgpp(
    denoiser: Denoiser, x: Tensor, sigmas: Sigmas, noise: NoiseSource, *, eta: float = 0.0
) -> Iterator[Step]:
    """Chung et al. 2024 (arXiv:2406.08070), algorithm 2: to the guided x0, but with the unconditional noise.

    Its guidance scale lives in 0-1; the table divides people's CFG scale by 12.5 before guidance sees it.
    """
    yield from euler_ancestral_cfgpp(denoiser, x, sigmas, noise, eta=eta)


@sampler("DPM++ 2S a CFG++", calls=two_a_step)
def dpmpp_2s_ancestral_cfgpp(
    denoiser: Denoiser, x: Tensor, sigmas: Sigmas, noise: NoiseSource, *, eta: float = 1.0, s_noise: float = 1.0
) -> Iterator[Step]:
    """DPM++ 2S a (arXiv:2211.01095, algorithm 1) with the unconditional noise, as ComfyUI has it.

    Its second half takes the unconditional x0 found in the middle, so it is consistent in its noise only
    (docs/parity.md).
    """
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised, uncond = _both(denoiser, x, sigma)
        down, up = ancestral(sigma, sigma_next, eta)
        target = denoised
        if down > 0:
            middle = (sigma * down) ** 0.5
            target, uncond = _both(denoiser, denoised + (x - uncond) * (middle / sigma), middle)
        x = target + (x - target + denoised - uncond) * (down / sigma)
        if up > 0:
            x = x + noise(sigma, sigma_next) * (s_noise * up)
        yield (step := Step(i, sigma, x, denoised, sigma_next))
        x = step.x


def _both(denoiser: Denoiser, x: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """The guided x0 and the unconditional one."""
    denoised, _, uncond = denoiser(x, sigma)
    if uncond is None:
        raise ValueError("CFG++ needs the unconditional half; the denoiser left it out")
    return denoised, uncond
