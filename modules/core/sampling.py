"""The samplers and schedules by name: what the page, the API and infotext need to know without their arithmetic."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from modules.core.errors import BadValue


@dataclass(frozen=True)
class SamplerFacts:
    """One sampler as people know it; ``modules.engine.samplers`` holds the algorithm of the same name.

    ``schedule`` is what "Automatic" means for it, ``stochastic`` says that it draws noise while it walks, ``second``
    that it calls the denoiser twice a step, ``drop_penultimate`` that its schedule leaves out the sigma before the
    last, ``needs_uncond`` that guidance may not skip the unconditional half, ``unit_noise`` that it starts where the
    network's own x has variance 1 instead of from noise * sigma, ``cfg_divisor`` what people's CFG scale is divided by.
    """

    name: str
    aliases: tuple[str, ...] = ()
    schedule: str = "Normal"
    stochastic: bool = False
    second: bool = False
    drop_penultimate: bool = False
    needs_uncond: bool = False
    unit_noise: bool = False
    cfg_divisor: float = 1.0


@dataclass(frozen=True)
class ScheduleFacts:
    """One schedule: ``name`` as shown and written, ``id`` as API clients send it, ``aliases`` as others do."""

    name: str
    id: str
    aliases: tuple[str, ...] = ()


Row = TypeVar("Row", SamplerFacts, ScheduleFacts)

SAMPLERS: list[SamplerFacts] = [
    SamplerFacts("DPM++ 2M", ("k_dpmpp_2m",), schedule="Karras"),
    SamplerFacts("Euler a", ("k_euler_a", "k_euler_ancestral", "ddpm"), stochastic=True),  # DDPM is its eta of 1
    SamplerFacts("Euler", ("k_euler",)),
    SamplerFacts("Heun", ("k_heun",), second=True),
    SamplerFacts("DDIM", ("ddim",), schedule="Timesteps", unit_noise=True),
    SamplerFacts("DPM++ SDE", ("k_dpmpp_sde",), schedule="Karras", stochastic=True, second=True),
    SamplerFacts("DPM++ 2M SDE", ("k_dpmpp_2m_sde",), schedule="Exponential", stochastic=True),
    SamplerFacts("DPM++ 2M SDE Heun", ("k_dpmpp_2m_sde_heun",), schedule="Exponential", stochastic=True),
    SamplerFacts("DPM++ 2S a", ("k_dpmpp_2s_a",), schedule="Karras", stochastic=True, second=True),
    SamplerFacts(
        "DPM++ 3M SDE",
        ("k_dpmpp_3m_sde",),
        schedule="Exponential",
        stochastic=True,
        drop_penultimate=True,
    ),
    SamplerFacts("LMS", ("k_lms",)),
    SamplerFacts("DPM2", ("k_dpm_2",), schedule="Karras", second=True, drop_penultimate=True),
    SamplerFacts("DPM2 a", ("k_dpm_2_a",), schedule="Karras", stochastic=True, second=True, drop_penultimate=True),
    SamplerFacts("DPM fast", ("k_dpm_fast",), stochastic=True),
    SamplerFacts("DPM adaptive", ("k_dpm_ad",), stochastic=True),
    SamplerFacts("Restart", ("restart",), schedule="Karras", stochastic=True, second=True),
    SamplerFacts(
        "DDIM CFG++", ("ddim_cfgpp",), schedule="Timesteps", needs_uncond=True, unit_noise=True, cfg_divisor=12.5
    ),
    SamplerFacts("PLMS", ("plms",), schedule="Timesteps", unit_noise=True),
    SamplerFacts("UniPC", ("unipc",), schedule="UniPC", unit_noise=True),
    SamplerFacts("LCM", ("k_lcm",), schedule="LCM", stochastic=True),
    SamplerFacts("TCD", ("tcd",), schedule="SGM Uniform", stochastic=True),
    SamplerFacts("DEIS", ("deis",)),
    SamplerFacts("IPNDM", ("ipndm",)),
    SamplerFacts("IPNDM_V", ("ipndm_v",)),
    SamplerFacts("HeunPP2", ("heunpp2",)),
    SamplerFacts("Gradient Estimation", ("gradient_estimation",)),
    SamplerFacts("Euler CFG++", ("euler_cfg_pp",), needs_uncond=True),
    SamplerFacts(
        "Euler a CFG++", ("Euler Ancestral CFG++", "euler_ancestral_cfg_pp"), stochastic=True, needs_uncond=True
    ),
    SamplerFacts(
        "DPM++ 2S a CFG++",
        ("DPM++ 2S Ancestral CFG++", "dpmpp_2s_ancestral_cfg_pp"),
        stochastic=True,
        second=True,
        needs_uncond=True,
    ),
]

SCHEDULES: list[ScheduleFacts] = [
    ScheduleFacts("Automatic", "automatic"),
    ScheduleFacts("Karras", "karras"),
    ScheduleFacts("Exponential", "exponential"),
    ScheduleFacts("SGM Uniform", "sgm_uniform", ("SGMUniform",)),
    ScheduleFacts("Simple", "simple"),
    ScheduleFacts("Normal", "normal"),
    ScheduleFacts("Uniform", "uniform"),
    ScheduleFacts("Polyexponential", "polyexponential"),
    ScheduleFacts("KL Optimal", "kl_optimal"),
    ScheduleFacts("Align Your Steps", "align_your_steps"),
    ScheduleFacts("DDIM", "ddim"),
    ScheduleFacts("Beta", "beta"),
    ScheduleFacts("Turbo", "turbo"),
    ScheduleFacts("Align Your Steps GITS", "align_your_steps_GITS"),
    ScheduleFacts("Align Your Steps 11", "align_your_steps_11"),
    ScheduleFacts("Align Your Steps 32", "align_your_steps_32"),
    ScheduleFacts("Linear Quadratic", "linear_quadratic"),
]

_BUILT_IN = (tuple(SAMPLERS), tuple(SCHEDULES))


def set_guests(samplers: Sequence[SamplerFacts], schedules: Sequence[ScheduleFacts]) -> None:
    """Exactly these of extensions stand behind the built-in ones from now on; a built-in name cannot be taken."""
    SAMPLERS[:] = _joined(_BUILT_IN[0], samplers)
    SCHEDULES[:] = _joined(_BUILT_IN[1], schedules)


def _joined(own: Sequence[Row], guests: Sequence[Row]) -> list[Row]:
    taken = {row.name.lower() for row in own}
    return [*own, *(row for row in guests if row.name.lower() not in taken)]


def find_sampler(name: str, field: str = "sampling.sampler") -> SamplerFacts:
    """The sampler of that name or alias, in any case; raises BadValue naming the nearest."""
    return _find(name, {word.lower(): row for row in SAMPLERS for word in (row.name, *row.aliases)}, "sampler", field)


def find_schedule(name: str, field: str = "sampling.schedule") -> ScheduleFacts:
    """The schedule of that name or id, in any case; raises BadValue naming the nearest."""
    return _find(name, {word.lower(): row for row in SCHEDULES for word in (row.name, row.id, *row.aliases)},
                 "schedule", field)  # fmt: skip


def split_sampler_name(name: str) -> tuple[str, str | None]:
    """Old combined names: "DPM++ 2M Karras" is the sampler "DPM++ 2M" with the schedule "Karras".

    Returns the name unchanged with None where it carries no schedule.
    """
    for row in SCHEDULES:
        suffix = " " + row.name
        if row.name != "Automatic" and name.lower().endswith(suffix.lower()):
            return name[: -len(suffix)], row.name
    return name, None


def _find(name: str, rows: Mapping[str, Row], kind: str, field: str) -> Row:
    row = rows.get(name.lower())
    if row is not None:
        return row
    near = difflib.get_close_matches(name.lower(), rows, n=1, cutoff=0.0)
    nearest = rows[near[0]].name if near else next(iter(rows.values())).name
    raise BadValue(f"There is no {kind} named {name!r}.", f"The nearest is {nearest!r}.", field=field, nearest=nearest)
