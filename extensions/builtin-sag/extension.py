"""Self-attention guidance: away from a picture blurred where the network looks most."""

from dataclasses import dataclass

from modules.extend.api import Extension, hook, slider


@dataclass(frozen=True)
class SelfAttentionGuidance(Extension):
    """Guide away from a prediction blurred where attention is strongest (arXiv:2210.00939); 1-2 calls more a step."""

    title = "SAG"
    words = {
        "zh": {
            "title": "自注意力引导",
            "about": "远离在注意力最强处被模糊的预测（arXiv:2210.00939）；每步多一到两次网络计算。",
            "scale": "强度",
            "blur": "模糊",
        }
    }
    scale: float = slider(0.5, low=0.0, high=5.0, step=0.05)
    blur: float = slider(2.0, low=0.1, high=10.0, step=0.1, label="Blur", help="sigma in latent pixels")

    @hook
    def patch_model(self, network, patches):
        block = getattr(network, "mid_block", None)
        found = [module for name, module in block.named_modules() if name.endswith(".attn1")] if block else []
        if not found:
            raise ValueError("this model has no UNet with attention in its middle")
        kept = found[0].processor
        self.notes["maps"] = maps = []
        found[0].set_processor(Remembering(kept, maps))
        patches.callback(found[0].set_processor, kept)

    @hook
    def after_guidance(self, guided):
        maps = self.notes["maps"]
        if guided.uncond is None or not self.scale:
            maps.clear()
            return
        count = len(guided.x)
        if len(maps) != 1 or len(maps[0]) != 2 * count:  # the unconditional half had no call of its own shape
            maps.clear()
            guided.again(uncond=True)
        looked = maps[-1][-count:]
        import torch

        seen = _as_picture(looked, guided.x.shape[-2:])
        soft = _blurred(guided.uncond, self.blur)
        degraded = torch.where(seen > 1.0, soft, guided.uncond)
        noisy = guided.x + degraded - guided.uncond  # the same noise around the degraded picture (equation 11)
        maps.clear()
        worse = guided.again(noisy, uncond=True)
        maps.clear()
        # In x0 terms the noise of the degraded call is (noisy - worse) / sigma: only the x0 part may be taken away.
        guided.denoised = guided.denoised + self.scale * (guided.uncond - worse - (guided.x - noisy))


class Remembering:
    """An attention processor that keeps how much each token is looked at: [b tokens] a call, 1 on average."""

    def __init__(self, plain, maps):
        self.plain, self.maps = plain, maps

    def __call__(self, attention, hidden, *rest, **named):
        q, k = (
            part(hidden).unflatten(-1, (attention.heads, -1)).transpose(1, 2)
            for part in (attention.to_q, attention.to_k)
        )
        looks = (q.float() @ k.float().transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1)
        self.maps.append(looks.mean(1).sum(1))
        return self.plain(attention, hidden, *rest, **named)


def _as_picture(looked, size):
    """[b tokens] as [b 1 h w], enlarged to the latents' size by repeating."""
    from torch.nn.functional import interpolate

    h, w = size
    small = _grid(looked.shape[1], h / w)
    return interpolate(looked.unflatten(1, small)[:, None], size=(h, w), mode="nearest")


def _grid(tokens, ratio):
    """(rows, columns) of that many tokens nearest to a ratio of height to width."""
    shapes = [(n, tokens // n) for n in range(1, tokens + 1) if tokens % n == 0]
    return min(shapes, key=lambda shape: abs(shape[0] / shape[1] / ratio - 1))


def _blurred(x0, sigma):
    """Each channel blurred by a 9x9 Gaussian."""
    import torch
    from torch.nn.functional import conv2d, pad

    line = torch.exp(-((torch.arange(9, device=x0.device, dtype=x0.dtype) - 4) ** 2) / (2 * sigma**2))
    line, channels = line / line.sum(), x0.shape[1]
    across = line.view(1, 1, 1, 9).repeat(channels, 1, 1, 1)
    wide = pad(x0, (4, 4, 4, 4), mode="replicate")
    return conv2d(conv2d(wide, across, groups=channels), across.transpose(2, 3), groups=channels)
