"""The rows of how the walk is made: the finer points of sampling, the second pass, the refiner, and the noise."""

from modules.core import limits
from modules.webui.rows import Control

AUTOMATIC = ("automatic", "yes", "no")  # of a field that is None, True or False

_SAMPLING = (
    Control(
        "eta", "number", None, "setting_eta_ancestral", 150, "sampling.eta", fold="sampling", a1111="Eta",
        low=0.0, high=1.0, step=0.01, optional=True, pair=True,
    ),
    Control(
        "s_noise", "number", None, "setting_s_noise", 151, "sampling.s_noise", fold="sampling", a1111="Sigma noise",
        low=0.0, high=2.0, step=0.01, optional=True,
    ),
    Control(
        "s_churn", "number", None, "setting_s_churn", 152, "sampling.s_churn", fold="sampling", a1111="Sigma churn",
        low=0.0, high=limits.CHURN, step=0.01, optional=True, pair=True,
    ),
    Control(
        "rho", "number", None, "setting_rho", 153, "sampling.rho", fold="sampling", a1111="Schedule rho",
        low=0.0, high=limits.RHO, step=0.1, optional=True,
    ),
    Control(
        "s_tmin", "number", None, "setting_s_tmin", 154, "sampling.s_tmin", fold="sampling", a1111="Sigma tmin",
        low=0.0, high=limits.SIGMA, step=0.01, optional=True, pair=True,
    ),
    Control(
        "s_tmax", "number", None, "setting_s_tmax", 155, "sampling.s_tmax", fold="sampling", a1111="Sigma tmax",
        low=0.0, high=limits.SIGMA, step=0.01, optional=True,
    ),
    Control(
        "sigma_min", "number", None, "setting_sigma_min", 156, "sampling.sigma_min", fold="sampling",
        a1111="Schedule min sigma", low=0.0, high=limits.SIGMA, step=0.01, optional=True, pair=True,
    ),
    Control(
        "sigma_max", "number", None, "setting_sigma_max", 157, "sampling.sigma_max", fold="sampling",
        a1111="Schedule max sigma", low=0.0, high=limits.SIGMA, step=0.01, optional=True,
    ),
    Control(
        "beta_alpha", "number", 0.6, "setting_beta_dist_alpha", 158, "sampling.beta_alpha", fold="sampling",
        a1111="Beta schedule alpha", low=0.01, high=10.0, step=0.01, pair=True,
    ),
    Control(
        "beta_beta", "number", 0.6, "setting_beta_dist_beta", 159, "sampling.beta_beta", fold="sampling",
        a1111="Beta schedule beta", low=0.01, high=10.0, step=0.01,
    ),
    Control(
        "discard_penultimate", "choice", "automatic", "setting_always_discard_next_to_last_sigma", 160,
        "sampling.discard_penultimate", fold="sampling", a1111="Discard penultimate sigma", choices=AUTOMATIC,
        translated=True,
    ),
    Control(
        "zero_terminal_snr", "toggle", False, "setting_sd_noise_schedule", 161, "sampling.zero_terminal_snr",
        fold="sampling", a1111="Noise Schedule",
    ),
    Control(
        "sgm_noise_multiplier", "toggle", False, "setting_sgm_noise_multiplier", 162, "sampling.sgm_noise_multiplier",
        fold="sampling", a1111="SGM noise multiplier",
    ),
    Control(
        "unipc_variant", "choice", "bh1", "setting_uni_pc_variant", 163, "sampling.unipc_variant", fold="sampling",
        choices=("bh1", "bh2"), pair=True,
    ),
    Control(
        "unipc_skip", "choice", "time_uniform", "setting_uni_pc_skip_type", 164, "sampling.unipc_skip",
        fold="sampling", choices=("time_uniform", "time_quadratic", "logSNR"),
    ),
    Control(
        "unipc_order", "number", None, "setting_uni_pc_order", 165, "sampling.unipc_order", fold="sampling",
        low=1, high=50, step=1, optional=True,
    ),
    Control(
        "unipc_lower_order_final", "toggle", True, "setting_uni_pc_lower_order_final", 166,
        "sampling.unipc_lower_order_final", fold="sampling",
    ),
)  # fmt: skip

_SIZE = (
    Control(
        "tiling", "choice", "none", "txt2img_tiling", 230, "tiling", fold="size", a1111="Tiling",
        choices=("none", "both", "x", "y"), translated=True,
    ),
)  # fmt: skip

_HIRES = (
    Control(
        "hires_upscaler", "choice", "Latent", "txt2img_hr_upscaler", 350, "hires.upscaler", fold="hires",
        a1111="Hires upscaler", choices=("Latent",),
    ),
    Control(
        "hires_width", "number", 0, "txt2img_hr_resize_x", 351, "hires.width", fold="hires", a1111="Hires resize-1",
        low=0, high=limits.SIDE[1], step=8, pair=True,
    ),
    Control(
        "hires_height", "number", 0, "txt2img_hr_resize_y", 352, "hires.height", fold="hires", a1111="Hires resize-2",
        low=0, high=limits.SIDE[1], step=8,
    ),
    Control(
        "hires_sampler", "choice", "", "hr_sampler", 353, "hires.sampler", fold="hires", a1111="Hires sampler",
        choices=("",), pair=True,
    ),
    Control(
        "hires_schedule", "choice", "", "hr_scheduler", 354, "hires.schedule", fold="hires",
        a1111="Hires schedule type", choices=("",),
    ),
    Control(
        "hires_cfg", "number", None, "txt2img_hr_cfg", 355, "hires.cfg_scale", fold="hires", a1111="Hires CFG Scale",
        low=limits.CFG_SCALE[0], high=limits.CFG_SCALE[1], step=0.5, optional=True, pair=True,
    ),
    Control(
        "hires_checkpoint", "text", "", "hr_checkpoint", 356, "hires.checkpoint", fold="hires",
        a1111="Hires checkpoint",
    ),
    Control(
        "hires_prompt", "text", "", "hires_prompt", 357, "hires.prompt", fold="hires", a1111="Hires prompt",
        lines=(2, 8),
    ),
    Control(
        "hires_negative", "text", "", "hires_neg_prompt", 358, "hires.negative_prompt", fold="hires",
        a1111="Hires negative prompt", lines=(1, 6),
    ),
)  # fmt: skip

_REFINER = (
    Control(
        "refiner_checkpoint", "text", "", "txt2img_checkpoint", 380, "refiner.checkpoint", fold="refiner",
        a1111="Refiner",
    ),
    Control(
        "refiner_at", "slider", 0.8, "txt2img_switch_at", 381, "refiner.switch_at", fold="refiner",
        a1111="Refiner switch at", low=0.01, high=1.0, step=0.01,
    ),
)  # fmt: skip

_NOISE = (
    Control(
        "variation_seed", "text", "", "txt2img_subseed", 390, "variation.seed", fold="variation",
        a1111="Variation seed",
    ),
    Control(
        "variation_strength", "slider", 0.0, "txt2img_subseed_strength", 391, "variation.strength", fold="variation",
        a1111="Variation seed strength", low=0.0, high=1.0, step=0.01,
    ),
    Control(
        "seed_width", "number", 0, "txt2img_seed_resize_from_w", 392, "seed_resize.width", fold="variation",
        a1111="Seed resize from", low=0, high=limits.SIDE[1], step=8, pair=True,
    ),
    Control(
        "seed_height", "number", 0, "txt2img_seed_resize_from_h", 393, "seed_resize.height", fold="variation",
        a1111="Seed resize from", low=0, high=limits.SIDE[1], step=8,
    ),
    Control(
        "ensd", "number", 0, "setting_eta_noise_seed_delta", 421, "ensd", fold="compatibility", a1111="ENSD",
        low=-(2**31), high=2**31 - 1, step=1,
    ),
    Control("vae", "text", "", "setting_sd_vae", 422, "vae", fold="compatibility", a1111="VAE"),
)  # fmt: skip

WALK_ROWS = (*_SAMPLING, *_SIZE, *_HIRES, *_REFINER, *_NOISE)
