"""Dynamic thresholding: a high CFG scale with the colours of a low one."""

from dataclasses import dataclass

from modules.extend.api import Extension, hook, slider


@dataclass(frozen=True)
class DynamicThresholding(Extension):
    """Bring a high CFG scale's outliers back into the range of a lower one (after arXiv:2205.11487, section 2.3)."""

    title = "Dynamic thresholding"
    words = {
        "zh": {
            "title": "动态阈值",
            "about": "把高 CFG 的极端值压回较低 CFG 的范围（参考 arXiv:2205.11487，2.3 节）。",
            "like": "范围如同 CFG",
            "percentile": "百分位",
            "percentile.help": "多大比例的值保持不被截断",
        }
    }
    like: float = slider(7.0, low=1.0, high=30.0, step=0.5, label="Range as of CFG")
    percentile: float = slider(0.995, low=0.9, high=1.0, step=0.001, help="share of values that are not cut")

    @hook
    def after_guidance(self, guided):
        if guided.uncond is None or guided.scale <= self.like:
            return
        lower = guided.uncond + self.like * (guided.cond - guided.uncond)
        guided.denoised = _within(guided.denoised, _reach(lower, 1.0), self.percentile)


def _centre(x0):
    return x0.mean(dim=(2, 3), keepdim=True)


def _reach(x0, percentile):
    """How far each channel [b c 1 1] goes from its mean: that percentile of the distances."""
    import torch

    far = (x0 - _centre(x0)).abs().flatten(2).float()
    return torch.quantile(far, percentile, dim=2)[..., None, None].to(x0.dtype)


def _within(x0, reach, percentile):
    """x0 cut at its own percentile, then scaled so that each channel goes no farther from its mean than ``reach``."""
    import torch

    middle, own = _centre(x0), torch.maximum(_reach(x0, percentile), reach)
    return middle + (x0 - middle).clamp(-own, own) * (reach / own.clamp_min(1e-8))
