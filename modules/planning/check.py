"""Every mistake that a request can hold, found all at once, so that the page can show each beside its control."""

import itertools
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from pydantic import Field

from modules.core import limits
from modules.core.errors import WorkbenchError
from modules.core.part import Part
from modules.core.request import GenerationRequest
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

    Pictures and masks that it starts from are looked up in ``inputs``; without them they are taken to be there.
    """
    return [
        *_prompts(request, "prompt", (request.prompt, *request.prompts)),
        *_prompts(request, "negative_prompt", (request.negative_prompt, *request.negative_prompts)),
        *_model(request, catalogue),
        *(Problem.of(problem, "start") for problem in input_problems(request, inputs)),
        *_size(request),
    ]


def _prompts(request: GenerationRequest, field: str, texts: tuple[str, ...]) -> Iterator[Problem]:
    """The first picture's problem that there is."""
    found = (problem for text in dict.fromkeys(texts) for problem in _prompt(request, field, text))
    yield from itertools.islice(found, 1)


def _prompt(request: GenerationRequest, field: str, text: str) -> Iterator[Problem]:
    try:
        untagged, found = tags.split(tags.without_comments(text).text)
        tags.loras(found, field=field)
        grammar.parse(
            untagged.text, composable=field == "prompt", dialect=dialect_of(request.compat), field=field
        )  # fmt: skip
    except WorkbenchError as problem:
        yield Problem.of(problem, field)


def _model(request: GenerationRequest, catalogue: Catalogue) -> Iterator[Problem]:
    try:
        checkpoint = choose(request.model, catalogue)
    except WorkbenchError as problem:
        yield Problem.of(problem, "model.checkpoint")
        return
    try:
        catalogue.vaes.choose(request.vae, checkpoint.path)
    except WorkbenchError as problem:
        yield Problem.of(problem, "vae")
    with suppress(WorkbenchError):  # a tag that cannot be read is told with the prompt
        for problem in Chosen(request, checkpoint, catalogue.adapters).problems:
            yield Problem.of(problem, "prompt")


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
    side = max(final.width, final.height)
    if final.pixels > limits.PIXELS or side > limits.SIDE[1]:
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
