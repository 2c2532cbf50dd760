"""Rescale CFG: pulls an over-guided prediction back to the contrast of the conditional one."""

from dataclasses import dataclass

from modules.extend.api import Extension, hook, slider


@dataclass(frozen=True)
class RescaleCFG(Extension):
    """Pull an over-guided prediction back to the contrast of the conditional one (arXiv:2305.08891, section 3.4)."""

    title = "Rescale CFG"
    words = {
        "zh": {
            "title": "CFG 重缩放",
            "about": "把引导过强的预测拉回到条件预测的对比度（arXiv:2305.08891，3.4 节）。",
            "amount": "强度",
        }
    }
    amount: float = slider(0.7, low=0.0, high=1.0, step=0.05, help="0: plain guidance, 1: the conditional contrast")

    @hook
    def after_guidance(self, guided):
        if guided.uncond is None:
            return  # without guidance there is nothing to pull back
        v, wanted = guided.as_v(guided.denoised), guided.as_v(guided.cond)  # the paper rescales the v-prediction
        rescaled = v * _per_image_std(wanted) / _per_image_std(v)
        guided.denoised = guided.from_v(self.amount * rescaled + (1 - self.amount) * v)


def _per_image_std(tensor):
    """Standard deviation of each image [b 1 1 1] over channels and pixels; never zero, so it can divide."""
    return tensor.std(dim=(1, 2, 3), keepdim=True).clamp_min(1e-8)
