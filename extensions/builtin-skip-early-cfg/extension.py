"""Skip early CFG: leaves the negative prompt out of the first part of the walk."""

from dataclasses import dataclass

from modules.extend.api import Extension, hook, slider


@dataclass(frozen=True)
class SkipEarlyCFG(Extension):
    """Leave guidance and negative prompt out of the first part of the walk: more variety, and half the work there."""

    title = "Skip early CFG"
    words = {
        "zh": {
            "title": "跳过早期 CFG",
            "about": "前一部分步骤不用引导和负面提示词：变化更多，这部分计算减半。",
            "share": "跳过的比例",
            "share.help": "0.2 表示前五分之一",
        }
    }
    share: float = slider(0.1, low=0.0, high=1.0, step=0.05, label="Share skipped", help="0.2: the first fifth")

    @hook
    def before_guidance(self, upcoming):
        if self.share > 0 and upcoming.share is not None and upcoming.share <= self.share:
            upcoming.skip = True
