"""Every mistake that a request can hold, found all at once, so that the page can show each beside its control."""

import itertools
from collections.abc import Generator, Iterator
from contextlib import suppress
from typing import Any

from pydantic import Field

from modules.core import limits
from modules.core.errors import WorkbenchError
from modules.core.geometry import Size
from modules.core.part import Part
from modules.core.request import GenerationRequest, ModelChoice
from modules.core.upscaling import UPSCALERS, find_upscaler
from modules.families.base import family
from modules.library.checkpoints import Checkpoint
from modules.planning.adapters import Chosen
from modules.planning.inputs import Inputs
from modules.planning.inputs import problems as input_problems
from modules.planning.models import Catalogue, choose
from modules.prompt import grammar, tags
from modules.prompt.dialect import dialect_of


class Problem(Part):
    """One mistake: which ``field``, what is wrong, what to do; ``facts`` may hold value, low, high and nearest."""

    field: str
    code: str
    message: str
    hint: str = ""
    facts: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def of(cls, error: WorkbenchError, field: str) -> "Problem":
        """The same, from an error; ``field`` where it names none."""
        return cls(
            field=error.field or field, code=error.code, message=error.message, hint=error.hint, facts=error.facts
        )

    def as_error(self) -> WorkbenchError:
        """The error to raise."""
        return WorkbenchError(
            self.message, self.hint, code=self.code, field=self.field, status=422, **self.facts
        )  # fmt: skip


def check(request: GenerationRequest, catalogue: Catalogue, inputs: Inputs | None = None) -> list[Problem]:
    """All that stands in the way of this request, in the order of the form; empty where it can be made.

    Pictures and masks that it starts from are looked up in ``inputs``; without them they are taken to be there. Of a
    sheet they are the first cell's that has any.
    """
    if request.sheet:
        found = (check(request.at(cell), catalogue, inputs) for cell in range(request.count))
        return next((problems for problems in found if problems), list[Problem]())
    return [
        *_prompts(request, "prompt", (request.prompt, *request.prompts)),
        *_prompts(request, "negative_prompt", (request.negative_prompt, *request.negative_prompts)),
        *_hires_prompts(request),
        *_models(request, catalogue),
        *_upscaler(request),
        *(Problem.of(problem, "start") for problem in input_problems(request, inputs)),
        *_size(request),
    ]


def omissions(request: GenerationRequest, catalogue: Catalogue) -> list[Problem]:
    """What the request names and there is none of: it can be made without, and its owner should hear of it before."""
    if request.sheet:
        told = (note for cell in range(request.count) for note in omissions(request.at(cell), catalogue))
        return list({note.model_dump_json(): note for note in told}.values())
    with suppress(WorkbenchError):  # told by `check`
        chosen = Chosen(request, choose(request.model, catalogue), catalogue.adapters)
        return [
            Problem(field="prompt", code=one.code, message=one.message, hint=one.hint, facts=dict(one.facts))
            for one in chosen.remarks
        ]
    return []


def _prompts(request: GenerationRequest, field: str, texts: tuple[str, ...]) -> Iterator[Problem]:
    """The first picture's problem that there is."""
    found = (problem for text in dict.fromkeys(texts) for problem in _prompt(request, field, text))
    yield from itertools.islice(found, 1)


def _hires_prompts(request: GenerationRequest) -> Iterator[Problem]:
    hires = request.hires
    if hires:
        yield from _prompts(request, "hires.prompt", (hires.prompt, *hires.prompts))
        yield from _prompts(request, "hires.negative_prompt", (hires.negative_prompt, *hires.negative_prompts))


def _prompt(request: GenerationRequest, field: str, text: str) -> Iterator[Problem]:
    try:
        untagged, found = tags.split(tags.without_comments(text).text)
        tags.loras(found, field=field)
        grammar.parse(
            untagged.text,
            composable=field in ("prompt", "hires.prompt"),
            dialect=dialect_of(request.compat),
            field=field,
        )
    except WorkbenchError as problem:
        yield Problem.of(problem, field)


def _models(request: GenerationRequest, catalogue: Catalogue) -> Iterator[Problem]:
    hires, refiner = request.hires, request.refiner
    main = yield from _model("model.checkpoint", request.model, catalogue)
    if main:
        try:
            catalogue.vaes.choose(request.vae, main.path)
        except WorkbenchError as problem:
            yield Problem.of(problem, "vae")
        with suppress(WorkbenchError):  # a tag that cannot be read is told with the prompt
            for problem in Chosen(request, main, catalogue.adapters).problems:
                yield Problem.of(problem, "prompt")
    if hires and hires.checkpoint:
        second = yield from _model(
            "hires.checkpoint", ModelChoice(checkpoint=hires.checkpoint, sha256=hires.sha256), catalogue
        )
        if any(row.latent for row in UPSCALERS if row.name.lower() == hires.upscaler.lower()):
            yield from _same_latents("hires.checkpoint", main, second)
    if refiner:
        choice = ModelChoice(checkpoint=refiner.checkpoint, sha256=refiner.sha256)
        yield from _same_latents(
            "refiner.checkpoint", main, (yield from _model("refiner.checkpoint", choice, catalogue))
        )


def _model(field: str, choice: ModelChoice, catalogue: Catalogue) -> Generator[Problem, None, Checkpoint | None]:
    try:
        return choose(choice, catalogue)
    except WorkbenchError as problem:
        yield Problem.of(problem, field).model_copy(update={"field": field})
        return None


def _same_latents(field: str, one: Checkpoint | None, other: Checkpoint | None) -> Iterator[Problem]:
    """A walk can only go on with a model that means the same by its latents."""
    if one is None or other is None or family(one.family or "").latent == family(other.family or "").latent:
        return
    yield Problem(
        field=field,
        code="other_latents",
        message=f"{other.name} cannot go on from what {one.name} makes: their latents mean different things.",
        hint="Choose a checkpoint of the same family, or for hires an upscaler that is not latent.",
    )


def _upscaler(request: GenerationRequest) -> Iterator[Problem]:
    try:
        if request.hires:
            find_upscaler(request.hires.upscaler)
    except WorkbenchError as problem:
        yield Problem.of(problem, "hires.upscaler")


def _too_large(whole: Size, field: str) -> Problem:
    return Problem(
        field=field,
        code="too_many_pixels",
        message=f"Enlarged the picture is {whole} before its middle is cut out; the longest side allowed is "
        f"{limits.SIDE[1]} and {limits.PIXELS:,} pixels in all.",
        hint="Use a smaller size, or sides nearer to the picture's proportions.",
    )


def _size(request: GenerationRequest) -> Iterator[Problem]:
    final, longest = request.final_size(), max(request.size.width, request.size.height)
    if request.hires is None:
        if final.pixels > limits.PIXELS:
            nearest = limits.PIXELS // request.size.width
            yield Problem(
                field="size.height",
                code="too_many_pixels",
                message=f"{final} are {final.pixels:,} pixels; {limits.PIXELS:,} are allowed.",
                hint=f"Use a height of {nearest}.",
                facts={"value": request.size.height, "high": nearest, "nearest": nearest},
            )
        return
    whole = request.hires.whole(request.size)  # of which the rest is cut away after it was enlarged
    side = max(whole.width, whole.height)
    if whole.pixels > limits.PIXELS or side > limits.SIDE[1]:
        if request.hires.width or request.hires.height:
            yield _too_large(whole, "hires.width" if request.hires.width else "hires.height")
            return
        bound = min((limits.PIXELS / request.size.pixels) ** 0.5, limits.SIDE[1] / longest)
        nearest = max(1.0, int(bound * 20) / 20)
        yield Problem(
            field="hires.scale",
            code="too_many_pixels",
            message=f"{request.size} enlarged {request.hires.scale:g} times is {final}; the longest side allowed is "
            f"{limits.SIDE[1]} and {limits.PIXELS:,} pixels in all.",
            hint=f"Use {nearest:g}.",
            facts={"value": request.hires.scale, "high": nearest, "nearest": nearest},
        )
