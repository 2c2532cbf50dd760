"""Adaptive projected guidance: high CFG scales without oversaturation."""

from dataclasses import dataclass

from modules.extend.api import Extension, hook, slider


@dataclass(frozen=True)
class AdaptiveProjectedGuidance(Extension):
    """Guide across the prediction rather than along it: high scales without burnt colours (arXiv:2410.02416, 3)."""

    title = "APG"
    words = {
        "zh": {
            "title": "自适应投影引导",
            "about": "引导只垂直于预测方向：高 CFG 也不会过饱和（arXiv:2410.02416，第 3 节）。",
            "parallel": "平行部分",
            "parallel.help": "0：去掉引起过饱和的部分；1：普通 CFG",
            "limit": "长度上限",
            "limit.help": "0：不限",
            "momentum": "动量",
            "momentum.help": "负值：推开上一步的方向",
        }
    }
    parallel: float = slider(0.0, low=0.0, high=1.0, step=0.05, help="0: without what oversaturates, 1: plain CFG")
    limit: float = slider(15.0, low=0.0, high=100.0, step=0.5, help="longest allowed difference, 0: no limit")
    momentum: float = slider(-0.5, low=-1.0, high=1.0, step=0.05, help="negative: away from the step before")

    @hook
    def after_guidance(self, guided):
        if guided.uncond is None:
            return
        step = guided.cond - guided.uncond
        if guided.call:  # equation 8: a walk's first call has nothing before it
            step = step + self.momentum * self.notes["before"]
        self.notes["before"] = step
        length = _length(step)
        if self.limit:  # equation 7
            step = step * (self.limit / length).clamp(max=1.0)
        along = guided.cond * (_dot(step, guided.cond) / _dot(guided.cond, guided.cond).clamp_min(1e-8))
        across = step - along
        guided.denoised = guided.cond + (guided.scale - 1) * (across + self.parallel * along)


def _dot(a, b):
    """The inner product of each image: [b 1 1 1]."""
    return (a * b).sum(dim=(1, 2, 3), keepdim=True)


def _length(a):
    return _dot(a, a).sqrt().clamp_min(1e-8)
