"""Negative guidance minimum sigma: skips the negative prompt on every other step once little noise is left."""

from dataclasses import dataclass

from modules.extend.api import Extension, hook, slider, toggle


@dataclass(frozen=True)
class NegativeGuidanceMinimumSigma(Extension):
    """Skip the negative prompt on every other step once little noise is left: faster, with small changes."""

    title = "NGMS"
    words = {
        "zh": {
            "title": "负面引导最小 sigma",
            "about": "噪声所剩不多后，每隔一步跳过负面提示词：更快，变化很小。",
            "below": "sigma 低于",
            "every_step": "每一步都跳过",
        }
    }
    below: float = slider(3.0, low=0.0, high=15.0, step=0.01, label="Below sigma")
    every_step: bool = toggle(False, label="On every step")

    @hook
    def before_guidance(self, upcoming):
        if upcoming.sigma < self.below and (self.every_step or upcoming.call % 2):
            upcoming.skip = True
