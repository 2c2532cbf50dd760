"""A request and the library become a Plan: which file, which passes at which sizes, which schedule, which seeds."""

from collections.abc import Sequence

from modules.core.plan import Pass, Plan
from modules.core.request import GenerationRequest
from modules.core.sampling import find_sampler
from modules.families.base import family
from modules.planning.adapters import Chosen
from modules.planning.canvas import canvas_for, enlarged
from modules.planning.check import check
from modules.planning.inputs import Inputs
from modules.planning.models import Catalogue, as_file, choose

MODEL = "model"


def compile(
    request: GenerationRequest,
    catalogue: Catalogue,
    pictures: Sequence[int] | None = None,
    inputs: Inputs | None = None,
) -> Plan:
    """Decide everything that the request leaves open; raises the first problem that `check` finds.

    ``pictures`` are the indexes still to be made, None for all; each keeps the seed of its place in the request.
    """
    for problem in check(request, catalogue, inputs):
        raise problem.as_error()
    checkpoint = choose(request.model, catalogue)
    file = as_file(checkpoint, catalogue.vaes.choose(request.vae, checkpoint.path))
    chosen = Chosen(request, checkpoint, catalogue.adapters)
    wanted = tuple(range(request.count)) if pictures is None else tuple(pictures)
    seeds = request.seeds()
    return Plan(
        request=request,
        models={MODEL: file},
        passes=_passes(request, family(file.family).latent.multiple),
        pictures=wanted,
        seeds=tuple(seeds[index] for index in wanted),
        adapters=tuple(chosen.adapters),
        embeddings=tuple(chosen.embeddings),
        remarks=tuple(chosen.remarks),
    )


def _passes(request: GenerationRequest, multiple: int) -> tuple[Pass, ...]:
    sampling = request.sampling
    schedule = sampling.schedule
    if schedule == "Automatic":
        schedule = find_sampler(sampling.sampler).schedule
    canvas = canvas_for(request.size, multiple)
    first = Pass(
        model=MODEL,
        start="noise",
        size=request.size,
        canvas=canvas,
        sampler=sampling.sampler,
        schedule=schedule,
        steps=sampling.steps,
        cfg_scale=sampling.cfg_scale,
    )
    if request.hires is None:
        return (first,)
    final = request.final_size()
    second = first.model_copy(
        update={
            "start": "latents",
            "size": final,
            "canvas": enlarged(canvas, final, request.hires.scale, multiple),
            "steps": request.hires.steps or sampling.steps,
            "denoise_strength": request.hires.denoise_strength,
        }
    )
    return (first, second)
