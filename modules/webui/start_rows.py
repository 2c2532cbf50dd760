"""The rows of what a picture starts from: the picture, its frame and mask, and how far the walk may leave them."""

from modules.core import limits
from modules.webui.rows import Control, Fold

START_FOLDS = (
    Fold("start", toggle="start_picture"),
    Fold("mask", toggle="start_inpaint"),
)

# What the canvas says; no person types these.
_CANVAS = (
    Control("start_picture", "hidden", "", "img2img_image", 26, "start.picture", "simple"),  # a blob's sha256
    Control("start_frame", "hidden", "", "atelier_frame", 27, "start.frame", "simple"),  # JSON [left, top, w, h]
    Control("start_inpaint", "hidden", "", "atelier_inpaint", 28, "start.inpaint", "simple"),  # "on": a part is anew
    Control("start_mask", "hidden", "", "img2img_inpaint_mask", 29, "start.inpaint.mask", "simple"),  # sha256
)

_PICTURE = (
    Control(
        "denoise", "slider", 0.75, "img2img_denoising_strength", 12, "start.denoise_strength", "simple",
        a1111="Denoising strength", low=0.0, high=1.0, step=0.01,
    ),
    Control(
        "resize", "choice", "crop", "resize_mode", 81, "start.resize", fold="start",
        choices=("stretch", "crop", "fill", "latent"), translated=True,
    ),
    Control("exact_steps", "toggle", False, "setting_img2img_fix_steps", 82, "start.exact_steps", fold="start"),
    Control(
        "color_correction", "toggle", False, "setting_img2img_color_correction", 83, "start.color_correction",
        fold="start",
    ),
    Control(
        "noise_multiplier", "slider", 1.0, "setting_initial_noise_multiplier", 84, "start.noise_multiplier",
        fold="start", a1111="Noise multiplier", low=0.0, high=2.0, step=0.01,
    ),
    Control(
        "extra_noise", "slider", 0.0, "setting_img2img_extra_noise", 85, "start.extra_noise", fold="start",
        a1111="Extra noise", low=0.0, high=1.0, step=0.01,
    ),
    Control(
        "image_cfg_scale", "slider", 1.5, "img2img_image_cfg_scale", 86, "start.image_cfg_scale", fold="start",
        a1111="Image CFG scale", low=0.0, high=limits.CFG_SCALE[1], step=0.05,
    ),
)  # fmt: skip

_MASK = (
    Control(
        "mask_blur", "slider", 4, "img2img_mask_blur", 90, "start.inpaint.blur", fold="mask", a1111="Mask blur",
        low=0, high=limits.MASK_BLUR, step=1,
    ),
    Control("mask_invert", "toggle", False, "img2img_mask_mode", 91, "start.inpaint.invert", fold="mask"),
    Control(
        "mask_fill", "choice", "original", "img2img_inpainting_fill", 92, "start.inpaint.fill", fold="mask",
        choices=("fill", "original", "noise", "nothing"), translated=True, pair=True,
    ),
    Control(
        "mask_area", "choice", "whole", "img2img_inpaint_full_res", 93, "start.inpaint.area", fold="mask",
        choices=("whole", "masked"), translated=True,
    ),
    Control(
        "mask_padding", "slider", 32, "img2img_inpaint_full_res_padding", 94, "start.inpaint.padding", fold="mask",
        low=0, high=limits.MASK_PADDING, step=4,
    ),
    Control(
        "mask_weight", "slider", 1.0, "setting_inpainting_mask_weight", 95, "start.inpaint.conditioning_weight",
        fold="mask", low=0.0, high=1.0, step=0.01,
    ),
    Control("mask_overlay", "toggle", True, "setting_overlay_inpaint", 96, "start.inpaint.overlay", fold="mask"),
    Control("soft", "toggle", False, "soft_inpainting_enabled", 97, "start.inpaint.soft", fold="mask"),
    Control(
        "soft_bias", "slider", 1.0, "mask_blend_power", 98, "start.inpaint.soft.schedule_bias", fold="mask",
        low=0.0, high=8.0, step=0.1,
    ),
    Control(
        "soft_preservation", "slider", 0.5, "mask_blend_scale", 99, "start.inpaint.soft.preservation_strength",
        fold="mask", low=0.0, high=8.0, step=0.05,
    ),
    Control(
        "soft_contrast", "slider", 4.0, "inpaint_detail_preservation", 100,
        "start.inpaint.soft.transition_contrast_boost", fold="mask", low=1.0, high=32.0, step=0.5,
    ),
    Control(
        "soft_influence", "slider", 0.0, "composite_mask_influence", 101, "start.inpaint.soft.mask_influence",
        fold="mask", low=0.0, high=1.0, step=0.05,
    ),
    Control(
        "soft_threshold", "slider", 0.5, "composite_difference_threshold", 102,
        "start.inpaint.soft.difference_threshold", fold="mask", low=0.0, high=8.0, step=0.25,
    ),
    Control(
        "soft_difference", "slider", 2.0, "composite_difference_contrast", 103,
        "start.inpaint.soft.difference_contrast", fold="mask", low=0.0, high=8.0, step=0.25,
    ),
)  # fmt: skip

START_ROWS = (*_CANVAS, *_PICTURE, *_MASK)
