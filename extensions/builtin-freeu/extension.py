"""FreeU v2: strengthens what the UNet's decoder knows and quietens what its skips pass on."""

from dataclasses import dataclass

from modules.extend.api import Extension, hook, slider


@dataclass(frozen=True)
class FreeU(Extension):
    """Weigh the UNet's backbone against its skip connections (arXiv:2309.11497, 3.2, version 2); costs nothing."""

    title = "FreeU"
    words = {
        "zh": {
            "title": "FreeU",
            "about": "调整 UNet 主干与跳连的比重（arXiv:2309.11497，3.2 节，第 2 版）；不增加计算。",
            "b1": "主干，最宽层",
            "b2": "主干，次宽层",
            "s1": "跳连，最宽层",
            "s2": "跳连，次宽层",
        }
    }
    b1: float = slider(1.3, low=0.0, high=2.0, step=0.01, label="Backbone, widest level")
    b2: float = slider(1.4, low=0.0, high=2.0, step=0.01, label="Backbone, next level")
    s1: float = slider(0.9, low=0.0, high=4.0, step=0.01, label="Skips, widest level")
    s2: float = slider(0.2, low=0.0, high=4.0, step=0.01, label="Skips, next level")

    @hook
    def patch_model(self, network, patches):
        blocks = getattr(network, "up_blocks", None)
        if blocks is None:
            raise ValueError("this model has no UNet")
        before = network.mid_block.resnets[-1].out_channels
        inputs = []
        for block in blocks:  # each residual block's input is the backbone's channels, then the skip's
            for resnet in block.resnets:
                inputs.append((resnet, before))
                before = resnet.out_channels
        widths = sorted({width for _, width in inputs}, reverse=True)[:2]
        for resnet, width in inputs:
            if width in widths:
                backbone, skip = ((self.b1, self.s1), (self.b2, self.s2))[widths.index(width)]
                patches.callback(resnet.register_forward_pre_hook(_Weigh(width, backbone, skip)).remove)


class _Weigh:
    """Edits a residual block's input [b c h w]: first ``width`` channels of the backbone, then those of the skip."""

    def __init__(self, width, backbone, skip):
        self.width, self.backbone, self.skip = width, backbone, skip

    def __call__(self, module, inputs):
        import torch

        x, *rest = inputs
        h, passed = x.split([self.width, x.shape[1] - self.width], 1)
        half = self.width // 2
        mean = h.float().mean(1, keepdim=True)
        low, high = mean.amin((2, 3), keepdim=True), mean.amax((2, 3), keepdim=True)
        weight = 1 + (self.backbone - 1) * (mean - low) / (high - low).clamp_min(1e-8)  # version 2: where h is strong
        h = torch.cat([h[:, :half] * weight.to(h.dtype), h[:, half:]], 1)
        return (torch.cat([h, _scaled_lows(passed, self.skip)], 1), *rest)


def _scaled_lows(x, scale):
    """x with its lowest spatial frequencies (one step around the mean) multiplied: section 3.2, equation 6."""
    import torch

    spectrum = torch.fft.fftshift(torch.fft.fftn(x.float(), dim=(-2, -1)), dim=(-2, -1))
    row, column = x.shape[-2] // 2, x.shape[-1] // 2
    spectrum[..., row - 1 : row + 1, column - 1 : column + 1] *= scale
    return torch.fft.ifftn(torch.fft.ifftshift(spectrum, dim=(-2, -1)), dim=(-2, -1)).real.to(x.dtype)
