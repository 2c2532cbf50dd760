"""Read this first: a Plan becomes pictures. Everything else in the engine is called from here, top to bottom.

For each picture and pass: read the prompt (conditioning.py), find where to start (source.py, start.py), walk down the
sigmas (denoise.py with samplers, schedules.py, guidance.py, prediction.py; around them refiner.py and inpaint.py), and
at last decode (decode.py). What happens on the way is told to the job (telling.py); extensions act through their hooks;
a cancelled job stops inside a network call.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modules.core import limits
from modules.core.errors import Cancelled, ExtensionFailed, NotFinite, OutOfMemory
from modules.core.plan import Pass, Plan
from modules.core.request import GenerationRequest, Sampling
from modules.core.sampling import find_sampler
from modules.engine import cells, conditioning, loading
from modules.engine.adapters.branches import on_time
from modules.engine.adapters.outfit import Outfit
from modules.engine.colour import corrected
from modules.engine.conditioning import Conditioning, walked
from modules.engine.decode import decode, finish, is_out_of_memory
from modules.engine.denoise import Call, Denoiser, denoise
from modules.engine.guard import guarded
from modules.engine.guidance import Negative, Positive, along, guide, with_beside
from modules.engine.inpaint import Kept, keeping, keeping_before, shown
from modules.engine.prediction import Prediction, Times
from modules.engine.refiner import past, switching
from modules.engine.residency import Loaded
from modules.engine.samplers import SAMPLERS, Sampler
from modules.engine.source import Source, prepare
from modules.engine.start import Picture, beside, enlarge, from_latents, from_noise, keep, read_source
from modules.engine.telling import Job, Teller, tell_failed_extension
from modules.engine.tiling import tiled
from modules.engine.upscalers import finder
from modules.engine.workshop import Workshop
from modules.extend.hooks import Hooks
from modules.families.base import SAFE, Numerics
from modules.planning.canvas import crop
from modules.planning.compile import MODEL, compile
from modules.planning.models import Catalogue
from modules.prompt import tags

FINITE_EVERY = 5  # calls


class _Empty(Exception):
    """The network's answer holds NaN or infinity."""


def fulfil(
    request: GenerationRequest, pictures: Sequence[int] | None, catalogue: Catalogue, workshop: Workshop, job: Job
) -> None:
    """Make a request's pictures (all, or these indexes): its extensions may edit it, then it is planned and run.

    The cells of a sheet are requests of their own. Raises what `compile` and `run` raise.
    """
    if request.sheet:
        cells.each(request, request.sheet, pictures, job, lambda one, own: fulfil(one, (0,), catalogue, workshop, own))
        return
    hooks = _hooks(request, workshop, job)
    plan = compile(hooks.edit_request(request), catalogue, pictures, workshop.inputs)
    run(plan.model_copy(update={"numerics": workshop.numerics(plan.numerics).name}), workshop, job, hooks)


def run(plan: Plan, workshop: Workshop, job: Job, hooks: Hooks | None = None) -> None:
    """Make the plan's pictures, each told as ``ImageMade`` as soon as it is done.

    Raises Cancelled where the job was stopped, and WorkbenchError (ModelError, OutOfMemory, NotFinite) where no further
    picture can be made; what was made before counts.
    """
    with torch.inference_mode(), ExitStack() as patches:
        maker = _Maker(plan, workshop, job, hooks or _hooks(plan.request, workshop, job), patches)
        maker.tell_remarks()
        for picture in maker.outfit.grouped(plan.pictures):
            try:
                maker.make(picture)
            except Cancelled:
                if not job.is_skipped(picture):
                    raise
            maker.teller.progress.ended += 1


def _hooks(request: GenerationRequest, workshop: Workshop, job: Job) -> Hooks:
    return workshop.extensions.hooks_for(request.extensions, lambda failed: tell_failed_extension(job, failed))


class _Maker:
    """Makes the pictures of one job, one after the other."""

    def __init__(self, plan: Plan, workshop: Workshop, job: Job, hooks: Hooks, patches: ExitStack) -> None:
        self.plan, self.request = plan, plan.request
        self.workshop = workshop
        self.job = job
        self.hooks = hooks
        self.patches = patches
        self.patched: set[int] = set()
        self._source: Source | None = None  # the picture that all of the job's start from
        self.teller = Teller(plan, job, workshop.pace, workshop.settings.previews)
        self.outfit = Outfit(plan, MODEL, self.teller.warn)

    def make(self, picture: int) -> None:
        """One picture; where numbers come out empty it is made once more in 32 bit, and the user hears of it."""
        self.request = self.plan.request.at(picture)
        self.teller.begin(picture)
        numerics = self.workshop.numerics(self.plan.numerics)
        try:
            self._attempt_with_room(picture, numerics)
        except _Empty:
            if numerics.network == SAFE.network:
                raise _not_finite() from None
            self.teller.warn("empty_values", "The picture came out empty and is made again in 32 bit.")
            try:
                self._attempt_with_room(picture, SAFE)
            except _Empty:
                raise _not_finite() from None

    def tell_remarks(self) -> None:
        """Nothing that was asked for is left out in silence."""
        for remark in self.plan.remarks:
            self.teller.warn(remark.code, remark.message, remark.hint, remark.facts)
        texts = (self.request.prompt, self.request.negative_prompt)
        found = [tag for text in texts for tag in tags.split(text)[1] if tag.kind.lower() not in tags.LORA_KINDS]
        if found:
            names = ", ".join(f"<{tag.kind}:{':'.join(tag.positional)[:40]}>" for tag in found[:5])
            message = f"The pictures are made without {names}: networks of this kind cannot be used."
            self.teller.warn("networks_ignored", message, "Remove them from the prompt.")

    def _attempt_with_room(self, picture: int, numerics: Numerics) -> None:
        """One attempt; where memory ran out, and some can be had, a second one, and the user hears of it."""
        try:
            with _memory():
                self._attempt(picture, numerics)
            return
        except OutOfMemory as problem:
            short = problem.with_traceback(None)
            short.__context__ = None  # its frames would keep what filled the memory
        if not self.workshop.residency.relieve():
            raise short
        self.teller.warn(
            "memory_short",
            "Memory ran out: other models were unloaded, and the picture is made again in smaller steps.",
        )
        with _memory():
            self._attempt(picture, numerics)

    def _attempt(self, picture: int, numerics: Numerics) -> None:
        self.teller.progress.walked = 0.0
        subject = self._picture(picture)
        latents, loaded, kept = None, None, None
        for number, one in enumerate(self.plan.passes):
            before, loaded = loaded, self._load(one.model, numerics)
            with loaded.guard.asking(self.job.check):
                told = self._read(loaded, one, number)
                latents = self._start(subject, number, loaded, before or loaded, latents)
                kept = keep(subject, one, loaded.model, latents) if latents is not None else None
                latents = self._walk(subject, number, loaded, told, latents, kept)
        if loaded is None or latents is None:
            return  # a plan of no passes makes nothing
        last = self.plan.passes[-1]
        with self.teller.phase("decoding", last.canvas.pixels):
            pixels = self._decode(loaded, latents, last)
        image = finish(pixels, crop(last.canvas, last.size), truncate=subject.has("truncated-pixels"))
        image = self._laid_over(subject, image, latents, kept)
        image = self.hooks.edit_image(image, _is_picture) if self.hooks else image
        changed = loading.changed(loaded.file)
        if changed:
            self.teller.warn("model_changed", f"The checkpoint {loaded.file.name} was replaced while it was in use.")
        self.teller.image(loaded, image, subject.seed, changed, self.outfit.facts(picture))

    def _picture(self, picture: int) -> Picture:
        """The picture of this number with its seeds and the picture it starts from."""
        place, plan = self.plan.pictures.index(picture), self.plan
        if self.request.start and self._source is None:
            self._source = prepare(self.request.start, self.request.size, self.workshop.inputs)
        varied = plan.variation_seeds[place] if plan.variation_seeds else None
        find = finder(self.workshop.upscalers, self.workshop.residency, self.job.check)
        return Picture(plan, plan.seeds[place], varied, self._source, self.job.check, find)

    def _load(self, model: str, numerics: Numerics) -> Loaded:
        file, residency = self.plan.models[model], self.workshop.residency
        if residency.has(file, numerics):
            loaded = residency.model(file, numerics)
        else:
            with self.teller.phase("loading", file.stamp[0], file.name):
                loaded = residency.model(file, numerics, self.job.check)
        if id(loaded) not in self.patched:
            self.patched.add(id(loaded))
            parts = loaded.model.parts()
            if self.request.tiling != "none":
                self.patches.enter_context(tiled((parts["network"], parts["vae"]), self.request.tiling))
            if self.hooks:
                self.hooks.patch_model(parts["network"], self.patches)
        self._dress(model, loaded)
        return loaded

    def _dress(self, key: str, loaded: Loaded) -> None:
        """Put the picture's adapters on a model of the plan, and take all others off."""
        try:
            self.outfit.put_on(key, loaded, self.teller.picture, self.job.check)
        finally:
            if loaded.adapted.is_lost:
                self.workshop.residency.forget(loaded)

    def _read(self, loaded: Loaded, one: Pass, number: int) -> Conditioning:
        """What the pass's own prompts say to this model."""
        said = {name: self._own_words(one, name) for name in ("prompt", "negative_prompt")}
        with self.teller.phase("reading", 1):
            reader = conditioning.Reader(
                loaded.model, loaded.prompts, self.request.clip_skip,
                self.outfit.vectors(loaded), loaded.adapted.read_by,
            )  # fmt: skip
            told = conditioning.read(self.request.model_copy(update=said), self.plan.passes, number, reader)
            return self.hooks.edit_conditioning(told) if self.hooks else told

    def _own_words(self, one: Pass, name: str) -> str:
        """A pass that says what the request does, or what its hires pass does, means each picture's own words."""
        whole, own = self.plan.request, self.request
        pairs = ((whole.hires, own.hires), (whole, own)) if one.enlarging else ((whole, own),)
        for said, meant in pairs:
            if said is not None and getattr(said, name) == getattr(one, name):
                return getattr(meant, name)
        return getattr(one, name)

    def _start(
        self, subject: Picture, number: int, loaded: Loaded, before: Loaded, latents: Tensor | None
    ) -> Tensor | None:
        """The latents that a pass starts from, without its noise; None where it starts from noise alone."""
        one = self.plan.passes[number]
        with _memory():
            if one.start == "picture":
                with self.teller.phase("reading", 1):
                    return read_source(subject, one, loaded.model)
            if latents is None or one.start == "noise":
                return None
            return enlarge(subject, self.plan.passes[number - 1], one, (before.model, loaded.model), latents)

    def _walk(
        self,
        subject: Picture,
        number: int,
        loaded: Loaded,
        told: Conditioning,
        latents: Tensor | None,
        kept: Kept | None,
    ) -> Tensor:
        """One pass: from noise, or from noised latents, to latents [1 c h w]."""
        one, own = self.plan.passes[number], self.request.sampling
        whole_times = subject.has("nearest-time")
        prediction = Prediction.of(loaded.model.diffusion, own.zero_terminal_snr, whole_times)
        if latents is None:
            begin = from_noise(subject, one, loaded.model, prediction)
        else:
            begin = from_latents(subject, one, loaded.model, prediction, latents)
        x, sigmas = begin.x, begin.sigmas
        if len(sigmas) < 2:
            return x
        denoiser = self._denoiser(subject, number, prediction, loaded, told, sigmas)
        if kept is not None:
            before = subject.has("blend-before") and find_sampler(one.sampler).unit_noise
            denoiser = (keeping_before if before else keeping)(denoiser, kept)
        with self.teller.walk(loaded, one, _check_finite) as walk, _memory():
            sampler = SAMPLERS[one.sampler]
            x = denoise(denoiser, x, sigmas, sampler, begin.noise, self.hooks, walk,
                        **_options(sampler, own, prediction.times))  # fmt: skip
        if not bool(x.isfinite().all()):
            raise _Empty
        x = prediction.leave(x, sigmas[-1])
        return x if kept is None else kept.finished(x)

    def _denoiser(
        self,
        subject: Picture,
        number: int,
        prediction: Prediction,
        loaded: Loaded,
        told: Conditioning,
        sigmas: Sequence[float],
    ) -> Denoiser:
        """The network under guidance, its refiner after it, with the extensions around both."""
        one = self.plan.passes[number]
        clock = self._clock(subject, number, loaded, told, sigmas)
        if one.refiner is None:
            plain = self._guided(one, prediction, loaded, clock, sigmas)
        else:
            second = self._load(one.refiner, loaded.numerics)
            later = self._clock(subject, number, second, self._read(second, one, number), sigmas)
            theirs = Prediction.of(
                second.model.diffusion, self.request.sampling.zero_terminal_snr, subject.has("nearest-time")
            )
            plain = switching(
                self._guided(one, prediction, loaded, along(clock, later), sigmas),
                self._guided(one, theirs, second, later, sigmas),
                past(one.switch_at, prediction.times),
            )
        for name, wrap in self.hooks.wrappers():
            plain = guarded(plain, wrap, partial(self._wrapper_failed, name))
        return plain

    def _clock(
        self, subject: Picture, number: int, loaded: Loaded, told: Conditioning, sigmas: Sequence[float]
    ) -> tuple[Positive, Negative]:
        """What the network is told at each moment: the prompts, and what it sees beside x."""
        if subject.has("call-clock"):
            positive, negative = conditioning.over_calls(told)
        else:
            positive, negative = conditioning.over_sigma(told, sigmas, number > 0)
        seen = beside(subject, self.plan.passes[number], loaded.model)
        return (positive, negative) if seen is None else with_beside(positive, negative, seen)

    def _guided(
        self,
        one: Pass,
        prediction: Prediction,
        loaded: Loaded,
        clock: tuple[Positive, Negative],
        sigmas: Sequence[float],
    ) -> Denoiser:
        facts, start = find_sampler(one.sampler), self.request.start
        edits = loaded.model.beside == "picture" and start is not None
        guided = guide(
            prediction.x0(loaded.model.network),
            *clock,
            one.cfg_scale / facts.cfg_divisor,
            keep_uncond=facts.needs_uncond,
            calls=SAMPLERS[one.sampler].calls(sigmas),
            before=self.hooks.before_guidance if self.hooks.has("before_guidance") else None,
            after=self.hooks.after_guidance if self.hooks.has("after_guidance") else None,
            picture_scale=start.image_cfg_scale if edits and start else 1.0,
        )
        return on_time(guided, loaded.adapted.clock, walked(sigmas)) if loaded.adapted.passes_by else guided

    def _laid_over(
        self, subject: Picture, image: NDArray[np.uint8], latents: Tensor, kept: Kept | None
    ) -> NDArray[np.uint8]:
        """The result in the colours of what it started from, if asked, under the old pixels that it may not change."""
        source, start, last = subject.source, self.request.start, self.plan.passes[-1]
        if source is None or start is None:
            return image
        if start.color_correction:
            image = corrected(image, np.asarray(source.picture))
        if source.overlay is None:
            return image
        overlay = source.overlay
        if kept is not None and kept.soft is not None:
            box = crop(last.canvas, last.size)
            mask = shown(kept, latents, last.canvas).crop((box.left, box.top, box.right, box.bottom))
            overlay = overlay.with_mask(mask)
        return overlay.over(image)

    def _decode(self, loaded: Loaded, latents: Tensor, one: Pass) -> Tensor:
        """Pixels [3 H W]; where the decoder's numbers come out empty they are computed once more in 32 bit."""
        with loaded.guard.asking(self.job.check):
            pixels = decode(loaded.model, latents, self.job.check, wraps=self.request.tiling)
        if bool(pixels.isfinite().all()):
            return pixels
        if loaded.numerics.vae == SAFE.vae:
            raise _not_finite()
        self.teller.warn("vae_fp32", "The picture came out empty of the decoder and is decoded again in 32 bit.")
        safe = self._load(one.model, SAFE)
        with safe.guard.asking(self.job.check):
            pixels = decode(safe.model, latents, self.job.check, wraps=self.request.tiling)
        if not bool(pixels.isfinite().all()):
            raise _not_finite()
        return pixels

    def _wrapper_failed(self, name: str, cause: str) -> None:
        tell_failed_extension(self.job, ExtensionFailed(name, "wrap_denoiser", cause))


def _options(sampler: Sampler, own: Sampling, times: Times) -> dict[str, Any]:
    """The request's numbers that this sampler knows, and the network's clock; what is not said is the sampler's own."""
    said = {
        "eta": own.eta, "s_churn": own.s_churn, "s_tmin": own.s_tmin, "s_tmax": own.s_tmax, "s_noise": own.s_noise,
        "variant": own.unipc_variant, "lower_order_final": own.unipc_lower_order_final,
        "times": times,
    }  # fmt: skip
    if sampler.name == "UniPC":
        said["order"] = own.unipc_order
    return {name: value for name, value in said.items() if value is not None and name in sampler.options}


def _is_picture(image: object) -> bool:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        return False
    return 0 < image.size <= 3 * limits.IMAGE_PIXELS  # a larger one has no way out of the engine's process


def _check_finite(call: Call) -> None:
    if call.number % FINITE_EVERY == 0 and not bool(call.denoised.x0.isfinite().all()):
        raise _Empty


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
