"""A request and the library become a Plan: which file, which passes at which sizes, which schedule, which seeds."""

from collections.abc import Sequence

from modules.core.errors import BadValue
from modules.core.plan import Enlarging, ModelFile, Pass, Plan
from modules.core.request import GenerationRequest, Hires, ModelChoice
from modules.core.sampling import find_sampler
from modules.core.upscaling import find_upscaler
from modules.families.base import family
from modules.planning.adapters import Chosen
from modules.planning.canvas import canvas_for, enlarged
from modules.planning.check import check
from modules.planning.inputs import Inputs
from modules.planning.models import Catalogue, as_file, choose

MODEL, HIRES, REFINER = "model", "hires", "refiner"  # keys of Plan.models


def compile(
    request: GenerationRequest,
    catalogue: Catalogue,
    pictures: Sequence[int] | None = None,
    inputs: Inputs | None = None,
) -> Plan:
    """Decide everything that the request leaves open; raises the first problem that `check` finds.

    ``pictures`` are the indexes still to be made, None for all; each keeps the seed of its place in the request.
    """
    if request.sheet:
        raise BadValue("A sheet has no plan of its own.", "Plan each of its cells.", field="sheet")
    for problem in check(request, catalogue, inputs):
        raise problem.as_error()
    chosen = Chosen(request, choose(request.model, catalogue), catalogue.adapters)
    wanted = tuple(range(request.count)) if pictures is None else tuple(pictures)
    seeds, varied = request.seeds(), request.variation_seeds()
    models = _models(request, catalogue)
    return Plan(
        request=request,
        models=models,
        passes=_passes(request, models, family(models[MODEL].family).latent.multiple),
        pictures=wanted,
        seeds=tuple(seeds[index] for index in wanted),
        variation_seeds=tuple(varied[index] for index in wanted) if varied else (),
        adapters=tuple(chosen.adapters),
        embeddings=tuple(chosen.embeddings),
        remarks=tuple(chosen.remarks),
    )


def _models(request: GenerationRequest, catalogue: Catalogue) -> dict[str, ModelFile]:
    choices = {MODEL: request.model}
    if request.hires and request.hires.checkpoint:
        choices[HIRES] = ModelChoice(checkpoint=request.hires.checkpoint, sha256=request.hires.sha256)
    if request.refiner:
        choices[REFINER] = ModelChoice(checkpoint=request.refiner.checkpoint, sha256=request.refiner.sha256)
    found = {key: choose(choice, catalogue) for key, choice in choices.items()}
    return {key: as_file(one, catalogue.vaes.choose(request.vae, one.path)) for key, one in found.items()}


def _passes(request: GenerationRequest, models: dict[str, ModelFile], multiple: int) -> tuple[Pass, ...]:
    sampling, start = request.sampling, request.start
    first = Pass(
        model=MODEL,
        start="picture" if start else "noise",
        size=request.size,
        canvas=canvas_for(request.size, multiple),
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        sampler=sampling.sampler,
        schedule=_schedule(sampling.sampler, sampling.schedule),
        steps=sampling.steps,
        cfg_scale=sampling.cfg_scale,
        denoise_strength=start.denoise_strength if start else 1.0,
        exact_steps=start.exact_steps if start else False,
    )
    passes = (first, _second(first, request, request.hires, models, multiple)) if request.hires else (first,)
    if request.refiner is None:
        return passes
    # As A1111 does unless told otherwise, the last pass is the one that is refined.
    refined = passes[-1].model_copy(update={"refiner": REFINER, "switch_at": request.refiner.switch_at})
    return (*passes[:-1], refined)


def _second(first: Pass, request: GenerationRequest, hires: Hires, models: dict[str, ModelFile], multiple: int) -> Pass:
    sampler = hires.sampler or first.sampler
    schedule = hires.schedule or request.sampling.schedule
    whole, final = hires.whole(request.size), hires.enlarged(request.size)
    by_sides = max(whole.width / request.size.width, whole.height / request.size.height)
    factor = by_sides if hires.width or hires.height else hires.scale
    covering = enlarged(first.canvas, whole, factor, multiple)
    return first.model_copy(
        update={
            "model": HIRES if HIRES in models else MODEL,
            "start": "latents",
            "size": final,
            "canvas": covering if final == whole else canvas_for(final, multiple),
            "prompt": hires.prompt or first.prompt,
            "negative_prompt": hires.negative_prompt or first.negative_prompt,
            "sampler": sampler,
            "schedule": _schedule(sampler, schedule),
            "steps": hires.steps or first.steps,
            "cfg_scale": first.cfg_scale if hires.cfg_scale is None else hires.cfg_scale,
            "denoise_strength": hires.denoise_strength,
            "exact_steps": True,
            "enlarging": Enlarging(upscaler=find_upscaler(hires.upscaler).name, canvas=covering),
        }
    )


def _schedule(sampler: str, schedule: str) -> str:
    return find_sampler(sampler).schedule if schedule == "Automatic" else schedule
