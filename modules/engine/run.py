"""Read this first: a Plan becomes pictures. Everything else in the engine is called from here, top to bottom.

For each picture: read the prompt (conditioning.py), draw the noise (noise.py), walk it down the sigmas pass by pass
(denoise.py with samplers.py, schedules.py, guidance.py, prediction.py), decode it (decode.py). What happens on the way
is told to the job as events; extensions act through their hooks; a cancelled job stops inside a network call.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from modules.core.errors import Cancelled, ExtensionFailed, NotFinite, OutOfMemory
from modules.core.events import AnyEvent, ImageMade, Phase, PhaseChanged, StepFinished, Warned
from modules.core.geometry import Size
from modules.core.plan import Pass, Plan
from modules.core.request import GenerationRequest
from modules.core.sampling import find_sampler
from modules.engine import conditioning, loading
from modules.engine.decode import decode, finish, is_out_of_memory
from modules.engine.denoise import Call, denoise
from modules.engine.guidance import guide
from modules.engine.noise import ImageNoise
from modules.engine.prediction import Prediction
from modules.engine.preview import Previewer
from modules.engine.residency import Loaded
from modules.engine.samplers import SAMPLERS
from modules.engine.schedules import part_walked, sigmas_for
from modules.engine.workshop import Workshop
from modules.extend.hooks import Hooks
from modules.families.base import SAFE, Numerics
from modules.planning.canvas import crop
from modules.planning.compile import compile
from modules.planning.models import Catalogue
from modules.prompt import tags

FINITE_EVERY = 5  # calls


class Job(Protocol):
    """Whoever wants the pictures."""

    def emit(self, event: AnyEvent) -> None:
        """Hear of something; must return at once."""

    def check(self) -> None:
        """Raise ``Cancelled`` if the job, or the picture last told of, is not wanted any more.

        Asked some hundred times a second, by any thread.
        """

    def is_skipped(self, picture: int) -> bool:
        """Whether this picture, but not the job, is not wanted any more."""
        ...


class _Empty(Exception):
    """The network's answer holds NaN or infinity."""


def fulfil(
    request: GenerationRequest, pictures: Sequence[int] | None, catalogue: Catalogue, workshop: Workshop, job: Job
) -> None:
    """Make a request's pictures (all, or these indexes): its extensions may edit it, then it is planned and run.

    Raises what `compile` and `run` raise.
    """
    hooks = _hooks(request, workshop, job)
    run(compile(hooks.edit_request(request), catalogue, pictures), workshop, job, hooks)


def run(plan: Plan, workshop: Workshop, job: Job, hooks: Hooks | None = None) -> None:
    """Make the plan's pictures, each told as ``ImageMade`` as soon as it is done.

    Raises Cancelled where the job was stopped, and WorkbenchError (ModelError, OutOfMemory, NotFinite) where no further
    picture can be made; what was made before counts.
    """
    with torch.inference_mode(), ExitStack() as patches:
        maker = _Maker(plan, workshop, job, hooks or _hooks(plan.request, workshop, job), patches)
        _tell_ignored_networks(plan.request, job)
        for picture, seed in zip(plan.pictures, plan.seeds, strict=True):
            try:
                maker.make(picture, seed)
            except Cancelled:
                if not job.is_skipped(picture):
                    raise
            maker.progress.ended += 1


def _hooks(request: GenerationRequest, workshop: Workshop, job: Job) -> Hooks:
    def tell(failed: ExtensionFailed) -> None:
        job.emit(Warned(code=failed.code, message=failed.message, hint=failed.hint, facts=failed.facts))

    return workshop.extensions.hooks_for(request.extensions, tell)


def _tell_ignored_networks(request: GenerationRequest, job: Job) -> None:
    """Nothing that was asked for is left out in silence."""
    found = [tag for text in (request.prompt, request.negative_prompt) for tag in tags.split(text)[1]]
    if found:
        names = ", ".join(f"<{tag.kind}:{':'.join(tag.positional)[:40]}>" for tag in found[:5])
        message = f"The pictures are made without {names}: extra networks cannot be used yet."
        job.emit(Warned(code="networks_ignored", message=message, hint="Remove them from the prompt."))


@dataclass
class _Progress:
    """How much of the job is done, in calls x pixels, and how long that took."""

    passes: Sequence[Pass]
    pictures: int
    ended: int = 0  # pictures made or skipped
    walked: float = 0.0  # finished walks of the current picture
    walked_s: float = 0.0

    def share(self, current: Pass, part: float) -> float:
        """Of the job, 0-1, when ``part`` of the current walk is done."""
        one_picture = sum(units(one) for one in self.passes)
        return min((self.ended + (self.walked + part * units(current)) / one_picture) / self.pictures, 1.0)


def units(one: Pass) -> float:
    """About how much work a pass is: calls of the network times its pixels."""
    return one.steps * (2 if find_sampler(one.sampler).second else 1) * one.canvas.pixels


@dataclass
class _Maker:
    """Makes the pictures of one job, one after the other."""

    plan: Plan
    workshop: Workshop
    job: Job
    hooks: Hooks
    patches: ExitStack
    picture: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.request = self.plan.request
        self.progress = _Progress(self.plan.passes, len(self.plan.pictures))
        self.previews = Previewer(self.job.emit, self.workshop.settings.previews)
        self.patched: set[int] = set()

    def make(self, picture: int, seed: int) -> None:
        """One picture; where numbers come out empty it is made once more in 32 bit, and the user hears of it."""
        self.picture, self.seconds = picture, {}
        numerics = self.workshop.numerics(self.plan.numerics)
        try:
            self._attempt(seed, numerics)
        except _Empty:
            if numerics.network == SAFE.network:
                raise _not_finite() from None
            self._warn("empty_values", "The picture came out empty and is made again in 32 bit.")
            try:
                self._attempt(seed, SAFE)
            except _Empty:
                raise _not_finite() from None

    def _attempt(self, seed: int, numerics: Numerics) -> None:
        loaded = self._load(self.plan.passes[0], numerics)
        self.progress.walked = 0.0
        latents = torch.empty(0)
        for number in range(len(self.plan.passes)):
            loaded = self._load(self.plan.passes[number], numerics)
            with loaded.guard.asking(self.job.check):
                told = self._read(loaded, number)
                latents = self._walk(loaded, number, told, latents, seed)
        with self._phase("decoding", self.plan.passes[-1].canvas.pixels):
            pixels = self._decode(loaded, latents)
        self._tell_image(loaded, pixels, seed)

    def _load(self, one: Pass, numerics: Numerics) -> Loaded:
        file = self.plan.models[one.model]
        if self.workshop.residency.has(file, numerics):
            loaded = self.workshop.residency.model(file, numerics)
        else:
            with self._phase("loading", file.stamp[0], file.name):
                loaded = self.workshop.residency.model(file, numerics, self.job.check)
        if self.hooks and id(loaded) not in self.patched:
            self.patched.add(id(loaded))
            self.hooks.patch_model(loaded.model.parts()["network"], self.patches)
        return loaded

    def _read(self, loaded: Loaded, number: int) -> conditioning.Conditioning:
        with self._phase("reading", 1):
            reader = conditioning.Reader(loaded.model, loaded.prompts, self.request.clip_skip)
            told = conditioning.read(self.request, self.plan.passes, number, reader)
            return self.hooks.edit_conditioning(told) if self.hooks else told

    def _walk(self, loaded: Loaded, number: int, told: conditioning.Conditioning, before: Tensor, seed: int) -> Tensor:
        """One pass: from noise, or from the latents of the pass before, to latents [1 c h w]."""
        one, model = self.plan.passes[number], loaded.model
        prediction, facts = Prediction.of(model.diffusion), find_sampler(one.sampler)
        shape = latent_shape(loaded, one.canvas)
        noise = ImageNoise([seed], shape, self.request.noise, model.device)
        if one.start == "noise":
            sigmas = sigmas_for(one.sampler, one.schedule, one.steps, prediction.times)
            x = noise.draw() * prediction.noise_scale(sigmas[0], unit=facts.unit_noise)
        else:
            sigmas = part_walked(
                one.sampler, one.schedule, one.steps, one.denoise_strength, prediction.times, exact=True
            )
            before = functional.interpolate(before, size=shape[1:], mode="bilinear")
            x = before + noise.draw() * (sigmas[0] if len(sigmas) > 1 else 0.0)
        if len(sigmas) < 2:
            return x
        clock = conditioning.over_calls(told) if "a1111" in self.request.compat else None
        positive, negative = clock or conditioning.over_sigma(told, sigmas, number > 0)
        denoiser = guide(
            prediction.x0(model.network),
            positive,
            negative,
            one.cfg_scale / facts.cfg_divisor,
            keep_uncond=facts.needs_uncond,
            after=self.hooks.after_guidance if self.hooks.has("after_guidance") else None,
        )
        if self.hooks:
            denoiser = self.hooks.wrap_denoiser(denoiser)
        sampler = SAMPLERS[one.sampler]
        eta = self.request.sampling.eta
        options = {"eta": eta} if eta is not None and "eta" in sampler.options else {}
        with self._phase("steps", units(one)), _memory():
            walk = _Walk(self, loaded, one)
            x = denoise(denoiser, x, sigmas, sampler, noise, self.hooks, walk, **options)
        self.progress.walked += units(one)
        if not bool(x.isfinite().all()):
            raise _Empty
        return prediction.leave(x, sigmas[-1])

    def _decode(self, loaded: Loaded, latents: Tensor) -> NDArray[np.uint8]:
        one = self.plan.passes[-1]
        with loaded.guard.asking(self.job.check):
            pixels = decode(loaded.model, latents, self.job.check)
        if not bool(pixels.isfinite().all()):
            if loaded.numerics.vae == SAFE.vae:
                raise _not_finite()
            self._warn("vae_fp32", "The picture came out empty of the decoder and is decoded again in 32 bit.")
            safe = self._load(one, SAFE)
            with safe.guard.asking(self.job.check):
                pixels = decode(safe.model, latents, self.job.check)
            if not bool(pixels.isfinite().all()):
                raise _not_finite()
        image = finish(pixels, crop(one.canvas, one.size), truncate="a1111" in self.request.compat)
        return self.hooks.edit_image(image) if self.hooks else image

    def _tell_image(self, loaded: Loaded, image: NDArray[np.uint8], seed: int) -> None:
        file = loaded.file
        if file_changed := loading.changed(file):
            self._warn("model_changed", f"The checkpoint {file.name} was replaced while the picture was made.")
        height, width, _ = image.shape
        self.job.emit(
            ImageMade(
                picture=self.picture,
                seed=seed,
                width=width,
                height=height,
                pixels=np.ascontiguousarray(image).tobytes(),
                facts={
                    "model": file.name,
                    "sha256": file.sha256,
                    "family": file.family,
                    "numerics": loaded.numerics.name,
                    "model_changed": file_changed,
                    "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
                },
            )
        )

    def called(self, loaded: Loaded, one: Pass, call: Call, walking_s: float) -> None:
        """A call of the network is done: tell it, look for empty numbers, show a preview."""
        share = self.progress.share(one, call.share)
        walked_s = self.progress.walked_s + walking_s
        self.job.emit(
            StepFinished(
                picture=self.picture,
                call=call.number,
                calls=call.total,
                progress=share,
                eta_s=walked_s * (1 - share) / share if share else None,
            )
        )
        if call.number % FINITE_EVERY == 0 and not bool(call.denoised.x0.isfinite().all()):
            raise _Empty
        self.previews.offer(loaded, call.denoised.x0, self.picture, one.canvas, crop(one.canvas, one.size))

    @contextmanager
    def _phase(self, phase: Phase, work: float, detail: str = "") -> Iterator[None]:
        model, pace = self.plan.models[self.plan.passes[0].model].path, self.workshop.pace
        self.job.emit(
            PhaseChanged(
                phase=phase, picture=self.picture, estimate_s=pace.estimate_s(phase, model, work), detail=detail
            )
        )  # fmt: skip
        self.job.check()
        began = time.monotonic()
        yield
        took = time.monotonic() - began
        pace.learn(phase, model, work, took)
        self.seconds[phase] = self.seconds.get(phase, 0.0) + took
        if phase == "steps":
            self.progress.walked_s += took

    def _warn(self, code: str, message: str, hint: str = "") -> None:
        self.job.emit(Warned(code=code, message=message, hint=hint, picture=self.picture))


class _Walk:
    """The job as the loop sees it."""

    def __init__(self, maker: _Maker, loaded: Loaded, one: Pass) -> None:
        self._maker, self._loaded, self._pass = maker, loaded, one
        self._began = time.monotonic()
        self.check = maker.job.check

    def called(self, call: Call) -> None:
        self._maker.called(self._loaded, self._pass, call, time.monotonic() - self._began)


def latent_shape(loaded: Loaded, canvas: Size) -> tuple[int, int, int]:
    """[c h w] of the latents of a canvas."""
    latent = loaded.model.family.latent
    return latent.channels, canvas.height // latent.downscale, canvas.width // latent.downscale


@contextmanager
def _memory() -> Iterator[None]:
    try:
        yield
    except RuntimeError as problem:
        if not is_out_of_memory(problem):
            raise
        raise OutOfMemory(
            "There is not enough memory for a picture of this size.", "Make it smaller, or enlarge it less."
        ) from None


def _not_finite() -> NotFinite:
    return NotFinite(
        "The network's numbers came out empty (NaN or infinity).",
        "Try another seed, a lower CFG scale, or another checkpoint: this file may be damaged.",
    )
