"""Perturbed attention guidance: away from what the network draws when its middle cannot look around."""

from dataclasses import dataclass

from modules.extend.api import Extension, hook, slider


@dataclass(frozen=True)
class PerturbedAttentionGuidance(Extension):
    """Guide away from a prediction whose middle attention is the identity (arXiv:2403.17377); one call more a step."""

    title = "PAG"
    words = {
        "zh": {
            "title": "扰动注意力引导",
            "about": "远离中层自注意力被换成恒等映射的预测（arXiv:2403.17377）；每步多一次网络计算。",
            "scale": "强度",
        }
    }
    scale: float = slider(3.0, low=0.0, high=15.0, step=0.1)

    @hook
    def patch_model(self, network, patches):
        self.notes["blind"] = blind = Blind()
        for module in middle_self_attention(network):
            kept = module.processor
            module.set_processor(Perturbed(kept, blind))
            patches.callback(module.set_processor, kept)

    @hook
    def after_guidance(self, guided):
        if not self.scale:
            return
        with self.notes["blind"]:
            perturbed = guided.again()
        guided.denoised = guided.denoised + self.scale * (guided.cond - perturbed)  # equation 16


class Blind:
    """Whether attention is the identity at the moment."""

    on = False

    def __enter__(self):
        self.on = True

    def __exit__(self, *_):
        self.on = False


class Perturbed:
    """An attention processor that, while blind, lets every token see only itself."""

    def __init__(self, plain, blind):
        self.plain, self.blind = plain, blind

    def __call__(self, attention, hidden, *rest, **named):
        if not self.blind.on:
            return self.plain(attention, hidden, *rest, **named)
        return attention.to_out[1](attention.to_out[0](attention.to_v(hidden)))


def middle_self_attention(network):
    """The self-attention modules of a UNet's middle block; raises where the model has none."""
    block = getattr(network, "mid_block", None)
    found = [module for name, module in block.named_modules() if name.endswith(".attn1")] if block else []
    if not found:
        raise ValueError("this model has no UNet with attention in its middle")
    return found
