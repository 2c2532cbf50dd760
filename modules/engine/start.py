"""Where a pass starts: from noise, from the request's picture, or from the pass before, and how noisy it then is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isclose

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from modules.core.compat import Switch
from modules.core.geometry import Size
from modules.core.plan import Pass, Plan
from modules.core.request import Inpaint
from modules.core.sampling import find_sampler
from modules.core.upscaling import find_upscaler
from modules.engine import upscale
from modules.engine.decode import as_pixels, decode, encode, finish, on_canvas
from modules.engine.inpaint import Kept, beside_latents, latent_mask, masked_picture
from modules.engine.noise import ImageNoise, Mixture, Shape, TorchGenerator
from modules.engine.prediction import Prediction
from modules.engine.schedules import later_part, sigmas_for
from modules.engine.source import Source, resized
from modules.families.base import Model
from modules.planning.canvas import crop

Check = Callable[[], None]


@dataclass(frozen=True)
class Begin:
    """The start of one walk: ``x`` [1 c h w] as noisy as the first of the ``sigmas``, and its noise from there on."""

    x: Tensor
    sigmas: list[float]
    noise: ImageNoise


@dataclass(frozen=True)
class Picture:
    """One picture of a plan that is being made: its seeds, what it starts from, and who may stop it."""

    plan: Plan
    seed: int
    variation_seed: int | None
    source: Source | None
    check: Check
    upscaler: Callable[[str], upscale.Upscaler | None] = upscale.UPSCALERS.get

    def has(self, switch: Switch) -> bool:
        """Whether this picture is made by that rule of another program."""
        return switch in self.plan.request.compat

    @property
    def inpaint(self) -> Inpaint:
        """How the masked part is made anew; a frame that reaches past its picture needs no more than the defaults."""
        start = self.plan.request.start
        return (start.inpaint if start else None) or Inpaint()

    def noise(self, one: Pass, model: Model, full: list[float]) -> ImageNoise:
        """A new source of noise for one pass, at its size: every pass begins with the seed's first draw."""
        request, shape, scale = self.plan.request, latent_shape(model, one.canvas), model.family.latent.downscale
        strength = request.variation.strength if request.variation else 0.0
        mixture = None if self.variation_seed is None else Mixture((self.variation_seed,), strength)
        small = request.seed_resize
        return ImageNoise(
            [self.seed], shape, request.noise, model.device, (min(s for s in full if s > 0), max(full)),
            mixture=mixture,
            drawn_at=(shape[0], small.height // scale, small.width // scale) if small else None,
            delta=request.ensd,
        )  # fmt: skip

    def encoded(self, model: Model, pixels: Tensor) -> Tensor:
        """Pixels [1 3 H W] as latents: the encoder's mean, or a draw from its spread by a generator of the seed."""
        _, _, height, width = pixels.shape
        shape = latent_shape(model, Size(width=width, height=height))
        drawn = TorchGenerator(self.seed).normal(shape)[None] if self.has("sampled-posterior") else None
        return encode(model, pixels, self.check, drawn)


def latent_shape(model: Model, canvas: Size) -> Shape:
    """[c h w] of the latents of a canvas."""
    latent = model.family.latent
    return latent.channels, canvas.height // latent.downscale, canvas.width // latent.downscale


def from_noise(picture: Picture, one: Pass, model: Model, prediction: Prediction) -> Begin:
    """Nothing but noise, at the schedule's first sigma."""
    own = picture.plan.request.sampling
    times = prediction.times
    sigmas = sigmas_for(one.sampler, one.schedule, one.steps, times, own, comfy=picture.has("comfy-sigmas"))
    noise = picture.noise(one, model, sigmas)
    unit = own.sgm_noise_multiplier or find_sampler(one.sampler).unit_noise
    unit |= picture.has("unit-noise") and not times.is_flow and isclose(sigmas[0], times.range[1], rel_tol=1e-5)
    return Begin(noise.first() * prediction.noise_scale(sigmas[0], unit=unit), sigmas, noise)


def from_latents(picture: Picture, one: Pass, model: Model, prediction: Prediction, latents: Tensor) -> Begin:
    """Latents [1 c h w] with as much noise as the strength asks for; of a strength of 0 nothing is walked.

    Where A1111 noises to more than it starts from, its variance preserving x is taken over as it is.
    """
    request = picture.plan.request
    part = later_part(one, prediction.times, request.sampling, picture.has("noised-above"),
                      comfy=picture.has("comfy-sigmas"))  # fmt: skip
    noise = picture.noise(one, model, part.full)
    if len(part.sigmas) < 2:
        return Begin(latents, part.sigmas, noise)
    start = request.start if one.start == "picture" else None
    drawn = noise.first() * (start.noise_multiplier if start else 1.0)
    x = latents + drawn * (part.noised_to + (start.extra_noise if start else 0.0))
    if part.noised_to != part.sigmas[0]:
        x = x * (prediction.stretch(part.sigmas[0]) / prediction.stretch(part.noised_to))
    return Begin(x, part.sigmas, noise)


def read_source(picture: Picture, one: Pass, model: Model) -> Tensor:
    """The request's picture as latents [1 c h w] of the pass, its masked part filled as was asked for."""
    source, size = _source(picture), one.canvas
    if source.stretches_latents:
        own = Size(width=source.picture.width, height=source.picture.height)
        size = own.padded_to(model.family.latent.multiple)
    latents = picture.encoded(model, on_canvas(as_pixels(np.asarray(source.picture)), size))
    _, height, width = latent_shape(model, one.canvas)
    if source.stretches_latents:
        latents = functional.interpolate(latents, size=(height, width), mode="bilinear")
    if source.mask is None or picture.inpaint.fill not in ("noise", "nothing"):
        return latents
    new = _new(picture, one, model)
    if picture.inpaint.fill == "nothing":
        return latents * (1 - new)
    request = picture.plan.request
    drawn = ImageNoise([picture.seed], latent_shape(model, one.canvas), request.noise, model.device).draw()
    return latents * (1 - new) + drawn * new


def enlarge(picture: Picture, before: Pass, one: Pass, models: tuple[Model, Model], latents: Tensor) -> Tensor:
    """The latents of the pass before, enlarged for this one: as latents, or as pixels where the upscaler wants those.

    ``models`` are the ones of both passes: the first decodes what the second encodes.
    """
    assert one.enlarging is not None  # by construction of plans
    name, whole = one.enlarging.upscaler, one.enlarging.canvas
    _, height, width = latent_shape(models[1], whole)
    if find_upscaler(name).latent:
        larger = upscale.enlarge_latents(latents, height, width, name)
    else:
        small = finish(decode(models[0], latents, picture.check), crop(before.canvas, before.canvas), truncate=True)
        pixels = upscale.enlarge_pixels(small, whole, name, picture.upscaler)
        larger = picture.encoded(models[1], as_pixels(pixels))
    _, height, width = latent_shape(models[1], one.canvas)
    return upscale.middle_of(larger, height, width)


def keep(picture: Picture, one: Pass, model: Model, latents: Tensor) -> Kept | None:
    """What a pass over these latents may not change; None where all of them may."""
    if picture.source is None or picture.source.mask is None:
        return None
    return Kept(latents, _new(picture, one, model), picture.inpaint.soft)


def beside(picture: Picture, one: Pass, model: Model) -> Tensor | None:
    """What a network made for inpainting or for edits sees beside x [1 c h w]; None for all others.

    Without a picture it is told that all of a grey one is masked, or sees none.
    """
    if not model.beside:
        return None
    source = picture.source
    grey = torch.zeros(1, 3, one.canvas.height, one.canvas.width)
    pixels = grey if source is None else on_canvas(_at_size(source, one.size), one.canvas)
    if model.beside == "picture":
        told = model.picture_beside(pixels.to(model.device))
        return torch.zeros_like(told) if source is None else told
    mask = torch.ones_like(grey[:, :1])
    if source is not None and source.mask is not None:
        mask = on_canvas(_mask_pixels(source, one.size), one.canvas)
        mask = mask if picture.inpaint.soft else mask.round()
    shown = masked_picture(pixels, mask, picture.inpaint.conditioning_weight)
    return beside_latents(mask, picture.encoded(model, shown))


def _source(picture: Picture) -> Source:
    assert picture.source is not None  # by construction of plans: only such passes start from it
    return picture.source


def _new(picture: Picture, one: Pass, model: Model) -> Tensor:
    """The mask [1 1 h w] of the pass's latents: 1 where the picture is made anew."""
    _, height, width = latent_shape(model, one.canvas)
    pixels = on_canvas(_mask_pixels(_source(picture), one.size), one.canvas)
    return latent_mask(pixels, height, width, rounded=picture.inpaint.soft is None).to(model.device)


def _mask_pixels(source: Source, size: Size) -> Tensor:
    """The mask [1 1 H W], 0 to 1, at this size."""
    assert source.mask is not None
    return torch.from_numpy(np.array(resized(source.mask, size, "stretch"), np.float32))[None, None] / 255


def _at_size(source: Source, size: Size) -> Tensor:
    return as_pixels(np.asarray(resized(source.picture, size, "stretch")))
