"""What clients of A1111's dialect send: every field of txt2img and img2img with A1111's defaults."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from modules.core import strictjson
from modules.core.errors import BadValue


class Payload(BaseModel):
    """What both kinds of making take; null means the default, unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    prompt: str | None = ""
    negative_prompt: str | None = ""
    styles: list[str] | None = None
    seed: int | None = -1
    subseed: int | None = -1
    subseed_strength: float | None = 0
    seed_resize_from_h: int | None = -1
    seed_resize_from_w: int | None = -1
    sampler_name: str | None = None
    sampler_index: str | None = "Euler"
    scheduler: str | None = None
    batch_size: int | None = 1
    n_iter: int | None = 1
    steps: int | None = 50
    cfg_scale: float | None = 7.0
    width: int | None = 512
    height: int | None = 512
    restore_faces: bool | None = None
    tiling: bool | None = None
    do_not_save_samples: bool | None = False
    do_not_save_grid: bool | None = False
    eta: float | None = None
    denoising_strength: float | None = None
    s_min_uncond: float | None = None
    s_churn: float | None = None
    s_tmax: float | None = None
    s_tmin: float | None = None
    s_noise: float | None = None
    override_settings: dict[str, Any] | None = None
    override_settings_restore_afterwards: bool | None = True
    refiner_checkpoint: str | None = None
    refiner_switch_at: float | None = None
    disable_extra_networks: bool | None = False
    comments: dict[str, Any] | None = None
    force_task_id: str | None = None
    script_name: str | None = None
    script_args: list[Any] | None = None
    alwayson_scripts: dict[str, Any] | None = None
    infotext: str | None = None
    send_images: bool | None = True
    save_images: bool | None = False

    @classmethod
    def from_json(cls, raw: bytes) -> Self:
        """Read a body; raises WorkbenchError 400 or 422 naming the field."""
        given = strictjson.loads(raw)
        if not isinstance(given, dict):
            raise BadValue("The body is no object.", "Send one JSON object.")
        try:
            return cls.model_validate({name: value for name, value in given.items() if value is not None})
        except ValidationError as problem:
            first = problem.errors(include_url=False)[0]
            name = ".".join(map(str, first["loc"]))
            raise BadValue(f"{name}: {first['msg']}.", "See docs/api.md.", field=name) from None

    def echo(self) -> dict[str, Any]:
        """The payload as an answer repeats it."""
        return self.model_dump()


class TextToImage(Payload):
    """What txt2img takes beside that: the hires pass, and a finished first pass."""

    enable_hr: bool | None = False
    firstpass_image: str | None = None
    firstphase_width: int | None = 0
    firstphase_height: int | None = 0
    hr_scale: float | None = 2.0
    hr_upscaler: str | None = None
    hr_second_pass_steps: int | None = 0
    hr_resize_x: int | None = 0
    hr_resize_y: int | None = 0
    hr_checkpoint_name: str | None = None
    hr_sampler_name: str | None = None
    hr_scheduler: str | None = None
    hr_prompt: str | None = ""
    hr_negative_prompt: str | None = ""

    def echo(self) -> dict[str, Any]:
        """Without the picture, which the client has."""
        return {**super().echo(), "firstpass_image": None}


class ImageToImage(Payload):
    """What img2img takes beside that: the pictures it starts from, and what of them is made anew."""

    init_images: list[str] | None = None
    resize_mode: int | None = 0
    denoising_strength: float | None = 0.75
    image_cfg_scale: float | None = None
    mask: str | None = None
    mask_blur: int | None = None
    mask_blur_x: int | None = 4
    mask_blur_y: int | None = 4
    mask_round: bool | None = True
    inpainting_fill: int | None = 0
    inpaint_full_res: bool | None = True
    inpaint_full_res_padding: int | None = 0
    inpainting_mask_invert: int | None = 0
    initial_noise_multiplier: float | None = None
    latent_mask: str | None = None
    include_init_images: bool | None = False

    def echo(self) -> dict[str, Any]:
        """Without the pictures, unless they are asked for."""
        hidden = {} if self.include_init_images else {"init_images": None, "mask": None}
        return {**super().echo(), **hidden}
