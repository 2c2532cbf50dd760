"""Guidance interval: guides only where guidance helps, and saves half of the work elsewhere."""

from dataclasses import dataclass

from modules.extend.api import Extension, hook, slider


@dataclass(frozen=True)
class GuidanceInterval(Extension):
    """Guide only between two noise levels (arXiv:2404.07724, equation 6); outside, each step costs half."""

    title = "Guidance interval"
    words = {
        "zh": {
            "title": "引导区间",
            "about": "只在两个噪声水平之间引导（arXiv:2404.07724，式 6）；区间之外每步省一半计算。",
            "low": "噪声下限",
            "high": "噪声上限",
            "low.help": "sigma 不大于它时不引导",
            "high.help": "sigma 大于它时不引导",
        }
    }
    low: float = slider(0.28, low=0.0, high=15.0, step=0.01, label="Lowest sigma", help="no guidance at or below it")
    high: float = slider(5.42, low=0.0, high=1000.0, step=0.01, label="Highest sigma", help="no guidance above it")

    @hook
    def before_guidance(self, upcoming):
        if not self.low < upcoming.sigma <= self.high:
            upcoming.scale = 1.0
