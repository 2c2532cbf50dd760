"""The samplers: generators that walk x down the sigmas, each as short as its paper.

All of them walk one space, x = x0 + sigma * n, and know no family. A sampler yields a ``Step`` and goes on from
``step.x``, which a hook may have edited. Sigmas are Python floats; x is [b c h w]. ``noise(sigma, sigma_next)`` draws.
"""

from modules.engine.samplers import adams, ancestral, cfgpp, dpm_solver, multistep, plain, restart, sde, unipc
from modules.engine.samplers.table import SAMPLERS, Sampler, sampler

__all__ = [
    "SAMPLERS", "Sampler", "adams", "ancestral", "cfgpp", "dpm_solver", "multistep", "plain", "restart", "sampler",
    "sde", "unipc",
]  # fmt: skip
