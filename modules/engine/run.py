"""Read this first: a Plan becomes pictures. Everything else in the engine is called from here, top to bottom.

For each picture: read the prompt (conditioning.py), draw the noise (noise.py), walk it down the sigmas pass by pass
(denoise.py with samplers.py, schedules.py, guidance.py, prediction.py), decode it (decode.py). What happens on the way
is told to the job (telling.py); extensions act through their hooks; a cancelled job stops inside a network call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from modules.core import limits
from modules.core.errors import Cancelled, ExtensionFailed, NotFinite, OutOfMemory, WorkbenchError
from modules.core.geometry import Size
from modules.core.plan import Pass, Plan
from modules.core.request import GenerationRequest
from modules.core.sampling import find_sampler
from modules.engine import conditioning, loading
from modules.engine.conditioning import Conditioning
from modules.engine.decode import decode, finish, is_out_of_memory
from modules.engine.denoise import Call, Denoised, Denoiser, denoise
from modules.engine.guidance import guide
from modules.engine.noise import ImageNoise
from modules.engine.prediction import Prediction
from modules.engine.residency import Loaded
from modules.engine.samplers import SAMPLERS
from modules.engine.schedules import part_walked, sigmas_for, stretched
from modules.engine.telling import Job, Teller, tell_failed_extension
from modules.engine.workshop import Workshop
from modules.extend.hooks import Hooks, in_words
from modules.families.base import SAFE, Numerics
from modules.planning.canvas import crop
from modules.planning.compile import compile
from modules.planning.models import Catalogue
from modules.prompt import tags

FINITE_EVERY = 5  # calls


class _Empty(Exception):
    """The network's answer holds NaN or infinity."""


def fulfil(
    request: GenerationRequest, pictures: Sequence[int] | None, catalogue: Catalogue, workshop: Workshop, job: Job
) -> None:
    """Make a request's pictures (all, or these indexes): its extensions may edit it, then it is planned and run.

    Raises what `compile` and `run` raise.
    """
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
        maker.tell_ignored_networks()
        for picture, seed in zip(plan.pictures, plan.seeds, strict=True):
            try:
                maker.make(picture, seed)
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
        self.teller = Teller(plan, job, workshop.pace, workshop.settings.previews)

    def make(self, picture: int, seed: int) -> None:
        """One picture; where numbers come out empty it is made once more in 32 bit, and the user hears of it."""
        self.request = self.plan.request.at(picture)
        self.teller.begin(picture)
        numerics = self.workshop.numerics(self.plan.numerics)
        try:
            self._attempt_with_room(seed, numerics)
        except _Empty:
            if numerics.network == SAFE.network:
                raise _not_finite() from None
            self.teller.warn("empty_values", "The picture came out empty and is made again in 32 bit.")
            try:
                self._attempt_with_room(seed, SAFE)
            except _Empty:
                raise _not_finite() from None

    def tell_ignored_networks(self) -> None:
        """Nothing that was asked for is left out in silence."""
        found = [tag for text in (self.request.prompt, self.request.negative_prompt) for tag in tags.split(text)[1]]
        if found:
            names = ", ".join(f"<{tag.kind}:{':'.join(tag.positional)[:40]}>" for tag in found[:5])
            message = f"The pictures are made without {names}: extra networks cannot be used yet."
            self.teller.warn("networks_ignored", message, "Remove them from the prompt.")

    def _attempt_with_room(self, seed: int, numerics: Numerics) -> None:
        """One attempt; where memory ran out, and some can be had, a second one, and the user hears of it."""
        try:
            with _memory():
                self._attempt(seed, numerics)
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
            self._attempt(seed, numerics)

    def _attempt(self, seed: int, numerics: Numerics) -> None:
        self.teller.progress.walked = 0.0
        latents, loaded = None, None
        for number, one in enumerate(self.plan.passes):
            loaded = self._load(one, numerics)
            with loaded.guard.asking(self.job.check):
                told = self._read(loaded, number)
                latents = self._walk(loaded, number, told, latents, seed)
        if loaded is None or latents is None:
            return  # a plan of no passes makes nothing
        last = self.plan.passes[-1]
        with self.teller.phase("decoding", last.canvas.pixels):
            pixels = self._decode(loaded, latents, last)
        image = finish(pixels, crop(last.canvas, last.size), truncate="a1111" in self.request.compat)
        image = self.hooks.edit_image(image, _is_picture) if self.hooks else image
        changed = loading.changed(loaded.file)
        if changed:
            self.teller.warn("model_changed", f"The checkpoint {loaded.file.name} was replaced while it was in use.")
        self.teller.image(loaded, image, seed, changed)

    def _load(self, one: Pass, numerics: Numerics) -> Loaded:
        file, residency = self.plan.models[one.model], self.workshop.residency
        if residency.has(file, numerics):
            loaded = residency.model(file, numerics)
        else:
            with self.teller.phase("loading", file.stamp[0], file.name):
                loaded = residency.model(file, numerics, self.job.check)
        if self.hooks and id(loaded) not in self.patched:
            self.patched.add(id(loaded))
            self.hooks.patch_model(loaded.model.parts()["network"], self.patches)
        return loaded

    def _read(self, loaded: Loaded, number: int) -> Conditioning:
        with self.teller.phase("reading", 1):
            reader = conditioning.Reader(loaded.model, loaded.prompts, self.request.clip_skip)
            told = conditioning.read(self.request, self.plan.passes, number, reader)
            return self.hooks.edit_conditioning(told) if self.hooks else told

    def _walk(self, loaded: Loaded, number: int, told: Conditioning, before: Tensor | None, seed: int) -> Tensor:
        """One pass: from noise, or from the latents of the pass before, to latents [1 c h w]."""
        one, model = self.plan.passes[number], loaded.model
        prediction = Prediction.of(model.diffusion)
        steps = one.steps if before is None else stretched(one.steps, one.denoise_strength)
        full = sigmas_for(one.sampler, one.schedule, steps, prediction.times)  # of which the walk may be the end
        span = min(sigma for sigma in full if sigma > 0), max(full)
        noise = ImageNoise([seed], latent_shape(loaded, one.canvas), self.request.noise, model.device, span)
        x, sigmas = start(one, prediction, noise, before)
        if len(sigmas) < 2:
            return x
        sampler, eta = SAMPLERS[one.sampler], self.request.sampling.eta
        options = {"eta": eta} if eta is not None and "eta" in sampler.options else {}
        denoiser = self._denoiser(one, prediction, loaded, told, sigmas, number > 0)
        with self.teller.walk(loaded, one, _check_finite) as walk:
            x = denoise(denoiser, x, sigmas, sampler, noise, self.hooks, walk, **options)
        if not bool(x.isfinite().all()):
            raise _Empty
        return prediction.leave(x, sigmas[-1])

    def _denoiser(
        self,
        one: Pass,
        prediction: Prediction,
        loaded: Loaded,
        told: Conditioning,
        sigmas: Sequence[float],
        second_pass: bool,
    ) -> Denoiser:
        """The network under guidance, with the extensions around it."""
        if "a1111" in self.request.compat:
            positive, negative = conditioning.over_calls(told)
        else:
            positive, negative = conditioning.over_sigma(told, sigmas, second_pass)
        facts = find_sampler(one.sampler)
        plain = guide(
            prediction.x0(loaded.model.network),
            positive,
            negative,
            one.cfg_scale / facts.cfg_divisor,
            keep_uncond=facts.needs_uncond,
            calls=SAMPLERS[one.sampler].calls(sigmas),
            before=self.hooks.before_guidance if self.hooks.has("before_guidance") else None,
            after=self.hooks.after_guidance if self.hooks.has("after_guidance") else None,
        )
        for name, wrap in self.hooks.wrappers():
            plain = _guarded(plain, wrap, partial(self._wrapper_failed, name))
        return plain

    def _decode(self, loaded: Loaded, latents: Tensor, one: Pass) -> Tensor:
        """Pixels [3 H W]; where the decoder's numbers come out empty they are computed once more in 32 bit."""
        with loaded.guard.asking(self.job.check):
            pixels = decode(loaded.model, latents, self.job.check)
        if bool(pixels.isfinite().all()):
            return pixels
        if loaded.numerics.vae == SAFE.vae:
            raise _not_finite()
        self.teller.warn("vae_fp32", "The picture came out empty of the decoder and is decoded again in 32 bit.")
        safe = self._load(one, SAFE)
        with safe.guard.asking(self.job.check):
            pixels = decode(safe.model, latents, self.job.check)
        if not bool(pixels.isfinite().all()):
            raise _not_finite()
        return pixels

    def _wrapper_failed(self, name: str, cause: str) -> None:
        tell_failed_extension(self.job, ExtensionFailed(name, "wrap_denoiser", cause))


def start(one: Pass, prediction: Prediction, noise: ImageNoise, before: Tensor | None) -> tuple[Tensor, list[float]]:
    """Where a walk begins: x [1 c h w] as noisy as the first of the sigmas, and the sigmas.

    From noise alone, or from the latents of the pass before, enlarged along a line. Hires always walks as many steps as
    were asked for; of a strength of 0 nothing is walked and nothing is added.
    """
    if before is None:
        sigmas = sigmas_for(one.sampler, one.schedule, one.steps, prediction.times)
        return noise.draw() * prediction.noise_scale(sigmas[0], unit=find_sampler(one.sampler).unit_noise), sigmas
    larger = functional.interpolate(before, size=noise.shape[1:], mode="bilinear")
    sigmas = part_walked(one.sampler, one.schedule, one.steps, one.denoise_strength, prediction.times, exact=True)
    return (larger + noise.draw() * sigmas[0] if len(sigmas) > 1 else larger), sigmas


def latent_shape(loaded: Loaded, canvas: Size) -> tuple[int, int, int]:
    """[c h w] of the latents of a canvas."""
    latent = loaded.model.family.latent
    return latent.channels, canvas.height // latent.downscale, canvas.width // latent.downscale


def _is_picture(image: object) -> bool:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        return False
    return 0 < image.size <= 3 * limits.IMAGE_PIXELS  # a larger one has no way out of the engine's process


def _check_finite(call: Call) -> None:
    if call.number % FINITE_EVERY == 0 and not bool(call.denoised.x0.isfinite().all()):
        raise _Empty


def _guarded(plain: Denoiser, wrap: Callable[[Denoiser], Denoiser], failed: Callable[[str], None]) -> Denoiser:
    """The wrapped denoiser until what an extension put around it fails; from then on the plain one."""
    own: list[BaseException] = []

    def known(x: Tensor, sigma: float) -> Denoised:
        try:
            return plain(x, sigma)
        except BaseException as problem:
            own.append(problem)  # the engine's own: not the extension's fault
            raise

    wrapped = wrap(known)
    works = True

    def guarded(x: Tensor, sigma: float) -> Denoised:
        nonlocal works
        if works:
            try:
                answer = wrapped(x, sigma)
                if isinstance(answer, Denoised) and answer.x0.shape == x.shape:
                    return answer
                cause = "what it returned is no Denoised of the picture's shape"
            except BaseException as problem:  # a guest's sys.exit must not end the engine
                if problem in own or isinstance(problem, Cancelled | WorkbenchError | KeyboardInterrupt):
                    raise
                cause = in_words(problem)
            works = False
            failed(cause)
        return plain(x, sigma)

    return guarded


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
