"""The keys and words of A1111's "parameters" text, and which field of a request each of them means."""

import re
from typing import Final

from modules.core.request import SoftInpaint

PROGRAM: Final = "Atelier"
NEGATIVE: Final = "Negative prompt:"
EXTENSION: Final = "Extension "
KEY: Final = re.compile(r"\w[\w \-/]+")
SIZE: Final = re.compile(r"(\d{1,9})x(\d{1,9})")
# A1111's words for our values.
EMPHASIS: Final = {"original": "Original", "no_norm": "No norm", "ignore": "Ignore", "none": "None"}
FILLS: Final = {"fill": "fill", "original": "original", "noise": "latent noise", "nothing": "latent nothing"}
TILING: Final = {"both": "True", "x": "X", "y": "Y"}
ZERO_SNR: Final = "Zero Terminal SNR"
# Numbers and names that are read as they are written: key, path, kind. Silence means the field's default.
SAMPLING: Final = (
    ("Sigma churn", "s_churn", float), ("Sigma tmin", "s_tmin", float), ("Sigma tmax", "s_tmax", float),
    ("Sigma noise", "s_noise", float), ("Schedule min sigma", "sigma_min", float),
    ("Schedule max sigma", "sigma_max", float), ("Schedule rho", "rho", float),
    ("Beta schedule alpha", "beta_alpha", float), ("Beta schedule beta", "beta_beta", float),
    ("Discard penultimate sigma", "discard_penultimate", bool), ("SGM noise multiplier", "sgm_noise_multiplier", bool),
    ("UniPC variant", "unipc_variant", str),
    ("UniPC skip type", "unipc_skip", str), ("UniPC order", "unipc_order", int),
    ("UniPC lower order final", "unipc_lower_order_final", bool),
)  # fmt: skip
# What A1111 has of its own and here an extension does: extension -> key, field, kind; without the first there is none.
EXTENDED: Final = {
    "ngms": (("NGMS", "below", float), ("NGMS all steps", "every_step", bool)),
    "skip-early-cfg": (("Skip Early CFG", "share", float),),
}
EXTENDED_MOST: Final = {"ngms": 15.0, "skip-early-cfg": 1.0}  # the first field's largest value
HIRES_SIGNS: Final = frozenset({"Hires upscale", "Hires resize", "Hires upscaler", "Hires steps"})
HIRES_WORDS: Final = {
    "Hires upscaler": "upscaler", "Hires checkpoint": "checkpoint", "Hires sampler": "sampler",
    "Hires schedule type": "schedule", "Hires prompt": "prompt", "Hires negative prompt": "negative_prompt",
}  # fmt: skip
SOFT: Final = tuple((f"Soft inpainting {name.replace('_', ' ')}", name) for name in SoftInpaint.model_fields)
MASKED: Final = (
    "Mask mode",
    "Mask blur",
    "Inpaint area",
    "Masked area padding",
    "Masked content",
)  # one says inpainting
