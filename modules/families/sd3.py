"""Stable Diffusion 3 and 3.5: a transformer that walks a rectified flow over sixteen planes, told by two CLIPs.

Esser et al. 2024 (arXiv:2403.03206). The network was also taught with T5's states beside those of the CLIPs, and with
zeros in their place in nearly half of the training (section 5.3): zeros is what it is told here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from modules.core.errors import ModelError
from modules.core.geometry import Size
from modules.families import ldm
from modules.families.base import (
    Defaults,
    Diffusion,
    Evidence,
    Frame,
    LatentFormat,
    Model,
    Numerics,
    Origin,
    Shapes,
    register,
)
from modules.families.ldm import HEAD_WIDTH, UNET, VAE, LatentDiffusion, LatentDiffusionModel, Reader
from modules.families.sd2 import zero_padded
from modules.families.sdxl import PENULTIMATE, without_fp16_vae

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

L = "text_encoders.clip_l.transformer."
G = "text_encoders.clip_g.transformer."
T5 = "text_encoders.t5xxl."
EMBEDDING = "text_model.embeddings.token_embedding.weight"
T5_TOKENS = 256  # as many as diffusers tells
TWICE = ".x_block.attn2.qkv.weight"  # of the first blocks of 3.5 medium, which attend to the picture twice

# diffusers' words for the modules of a block, and the original ones: stem, piece, pieces.
_BLOCK: Mapping[str, tuple[str, int, int]] = {
    **{f"attn.to_{letter}": ("x_block.attn.qkv", piece, 3) for piece, letter in enumerate("qkv")},
    **{f"attn.add_{letter}_proj": ("context_block.attn.qkv", piece, 3) for piece, letter in enumerate("qkv")},
    **{f"attn2.to_{letter}": ("x_block.attn2.qkv", piece, 3) for piece, letter in enumerate("qkv")},
    "attn.norm_q": ("x_block.attn.ln_q", 0, 1), "attn.norm_k": ("x_block.attn.ln_k", 0, 1),
    "attn.norm_added_q": ("context_block.attn.ln_q", 0, 1), "attn.norm_added_k": ("context_block.attn.ln_k", 0, 1),
    "attn2.norm_q": ("x_block.attn2.ln_q", 0, 1), "attn2.norm_k": ("x_block.attn2.ln_k", 0, 1),
    "attn.to_out.0": ("x_block.attn.proj", 0, 1), "attn.to_add_out": ("context_block.attn.proj", 0, 1),
    "attn2.to_out.0": ("x_block.attn2.proj", 0, 1),
    "norm1.linear": ("x_block.adaLN_modulation.1", 0, 1),
    "norm1_context.linear": ("context_block.adaLN_modulation.1", 0, 1),
    "ff.net.0.proj": ("x_block.mlp.fc1", 0, 1), "ff.net.2": ("x_block.mlp.fc2", 0, 1),
    "ff_context.net.0.proj": ("context_block.mlp.fc1", 0, 1), "ff_context.net.2": ("context_block.mlp.fc2", 0, 1),
}  # fmt: skip
_PLAIN: Mapping[str, str] = {
    "pos_embed.proj": "x_embedder.proj", "context_embedder": "context_embedder", "proj_out": "final_layer.linear",
    "time_text_embed.timestep_embedder.linear_1": "t_embedder.mlp.0",
    "time_text_embed.timestep_embedder.linear_2": "t_embedder.mlp.2",
    "time_text_embed.text_embedder.linear_1": "y_embedder.mlp.0",
    "time_text_embed.text_embedder.linear_2": "y_embedder.mlp.2",
}  # fmt: skip


class StableDiffusion3(LatentDiffusion):
    """SD 3 and 3.5, medium and large, and every checkpoint in their layout that has both CLIPs inside."""

    name = "sd3"
    title = "Stable Diffusion 3"
    latent = LatentFormat(channels=16, downscale=8, multiple=16)
    latent_scale = 1.5305
    latent_shift = 0.0609
    is_quantised = False
    diffusion = Diffusion(prediction="flow", shift=3.0)
    defaults = Defaults(
        size=Size(width=1024, height=1024),
        steps={"draft": 14, "good": 28, "best": 40},
        cfg_scale=4.5,
        sampler="Euler",
        schedule="Simple",
    )
    texts: Mapping[str, tuple[str, ...]] = {"text": (L,), "text_2": (G,)}
    clip_skip_in_a1111 = PENULTIMATE

    def detect(self, shapes: Shapes) -> bool:
        """A transformer whose blocks join picture and text."""
        first = shapes.get(UNET + "x_embedder.proj.weight", ())
        return len(first) == 4 and UNET + "joint_blocks.0.context_block.attn.qkv.weight" in shapes

    def lacks(self, shapes: Shapes) -> ModelError | None:
        """A file without its text encoders, or without its autoencoder."""
        parts = (("CLIP-L text encoder", L + EMBEDDING), ("CLIP-G text encoder", G + EMBEDDING),
                 ("autoencoder", VAE + "decoder.conv_in.weight"))  # fmt: skip
        missing = [what for what, sign in parts if sign not in shapes]
        if not missing:
            return None
        return ModelError(
            f"This {self.title} checkpoint has no {' and no '.join(missing)} inside.",
            "Get the version of the file that includes its CLIP text encoders (T5 is not needed).",
            code="model_lacks_parts", field="model.checkpoint",
        )  # fmt: skip

    def defaults_of(self, evidence: Evidence) -> tuple[Defaults, tuple[str, ...]]:
        """The usual, and a word where the file holds what is not read."""
        unread = any(name.startswith(T5) for name in evidence.shapes)
        return self.defaults, ("prompts are read by its two CLIPs alone: its T5 encoder is not used",) if unread else ()

    def build(self, weights: Mapping[str, Tensor], shapes: Shapes, numerics: Numerics, device: torch.device) -> Model:
        """As `Family.build`; the autoencoder never in fp16, and T5's weights are not read."""
        import torch
        from diffusers.loaders.single_file_utils import convert_sd3_transformer_checkpoint_to_diffusers
        from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel

        if problem := self.lacks(shapes):
            raise problem
        ldm.refuse_unknown(self, shapes, (UNET, VAE, L, G, T5))
        facts = self.transformer_facts(shapes)
        with torch.device("meta"):
            network = SD3Transformer2DModel(**facts)
        reader = Reader(weights, shapes, device)
        left = reader.read(UNET, numerics.network)
        try:
            converted = convert_sd3_transformer_checkpoint_to_diffusers(left)
        except KeyError as missing:
            raise ldm.unusable(self, f"its transformer lacks {missing.args[0]}", ldm.PART) from None
        if left:  # the converter takes out of it what it knows
            raise ldm.unusable(self, f"its transformer has {len(left)} tensors too many, the first {min(left)}")
        ldm.fill(self, network, converted, "transformer")
        made: dict[str, nn.Module] = {"network": network}
        made["vae"] = ldm.autoencoder(self, reader, shapes, without_fp16_vae(numerics))
        for part, prefixes in self.texts.items():
            made[part] = self.build_text(part, reader, prefixes, numerics.text)
        return Sd3Model(self, made, device)

    def build_text(self, part: str, reader: Reader, prefixes: tuple[str, ...], dtype: str) -> nn.Module:
        """Either CLIP with its projection; where a file leaves CLIP-L's out, it is the identity."""
        import torch

        found = ldm.plain_clip(reader.read(prefixes[0], dtype), prefixes[0])
        if "text_projection.weight" not in found and "final_layer_norm.weight" in found:
            norm = found["final_layer_norm.weight"]
            found["text_projection.weight"] = torch.eye(len(norm), dtype=norm.dtype, device=norm.device)
        return ldm.text_encoder(self, found, "quick_gelu" if part == "text" else "gelu", projected=True)

    def transformer_facts(self, shapes: Shapes) -> dict[str, Any]:
        """The transformer's configuration in diffusers' words."""

        def side(name: str, axis: int) -> int:
            return ldm.shape_of(self, shapes, UNET + name)[axis]

        width, patch = side("x_embedder.proj.weight", 0), side("x_embedder.proj.weight", 2)
        blocks = {name.removeprefix(UNET).split(".")[1] for name in shapes if name.startswith(UNET + "joint_blocks.")}
        depth = len(blocks)
        normalised = UNET + "joint_blocks.0.x_block.attn.ln_q.weight" in shapes
        return {
            "sample_size": 128,
            "patch_size": patch,
            "in_channels": side("x_embedder.proj.weight", 1),
            "out_channels": side("final_layer.linear.weight", 0) // patch**2,
            "num_layers": depth,
            "attention_head_dim": HEAD_WIDTH,
            "num_attention_heads": max(1, width // HEAD_WIDTH),
            "joint_attention_dim": side("context_embedder.weight", 1),
            "caption_projection_dim": side("context_embedder.weight", 0),
            "pooled_projection_dim": side("y_embedder.mlp.0.weight", 1),
            "pos_embed_max_size": math.isqrt(side("pos_embed", 1)),
            "dual_attention_layers": tuple(n for n in range(depth) if f"{UNET}joint_blocks.{n}{TWICE}" in shapes),
            "qk_norm": "rms_norm" if normalised else None,
        }

    def names_in_files(self, part: str, name: str, names: Collection[str]) -> tuple[str, ...]:
        """As `Family.names_in_files`: the original names of modules that are whole there."""
        found = original(f"{name}.weight") if part == "network" else None
        return (found.name.removesuffix(".weight"),) if found and found.pieces == 1 else ()

    def origin(self, part: str, name: str, names: Collection[str], shapes: Shapes) -> Origin | None:
        """As `Family.origin`; what the last block's text is scaled by has its halves the other way round in files."""
        if part != "network":
            return super().origin(part, name, names, shapes)
        found = original(name)
        last = UNET + f"joint_blocks.{self.transformer_facts(shapes)['num_layers'] - 1}.context_block.adaLN"
        if found is None or UNET + found.name not in shapes or (UNET + found.name).startswith(last):
            return None
        return Origin(UNET + found.name, found.piece, found.pieces)


class Sd3Model(LatentDiffusionModel):
    """The loaded networks: transformer, autoencoder and both CLIPs."""

    def __init__(self, family: StableDiffusion3, networks: dict[str, nn.Module], device: torch.device) -> None:
        super().__init__(family, networks, device)
        self.encoders = tuple(networks[name].config.hidden_size for name in family.texts)  # type: ignore[union-attr]

    def encode(self, ids: Tensor, clip_skip: int) -> Tensor:
        """As `Model.encode`: both encoders' states side by side."""
        return self.read(ids, clip_skip)[0]

    def read(self, ids: Tensor, clip_skip: int) -> tuple[Tensor, Tensor]:
        """Hidden states of the last layer but one (or ``clip_skip`` from the end), and both vectors side by side."""
        import torch

        here = ids.to(self.device)
        layer = max(clip_skip, PENULTIMATE)
        one, first = ldm.hidden(self.part("text"), here, layer, normalised=False)
        two, second = ldm.hidden(self.part("text_2"), zero_padded(here), layer, normalised=False)
        return torch.cat([one, two], -1), torch.cat([first.text_embeds, second.text_embeds], -1).float()

    def tell(self, cond: Mapping[str, Tensor], frame: Frame) -> Mapping[str, Tensor]:
        """The CLIPs' states made as wide as T5's, and zeros where T5's would stand behind them."""
        from torch.nn import functional

        network: Any = self._networks["network"]
        context = cond["context"]
        more = network.config.joint_attention_dim - context.shape[-1]
        return {**cond, "context": functional.pad(context, (0, more, 0, T5_TOKENS))}

    def network(self, x: Tensor, time: float, cond: Mapping[str, Tensor]) -> Tensor:
        """As `Model.network`; raises ModelError for a canvas beyond the places that the network knows."""
        import torch

        network = self.part("network")
        most = network.config.pos_embed_max_size * network.config.patch_size
        if max(x.shape[-2:]) > most:
            longest = most * self.family.latent.downscale
            raise ModelError(
                f"This checkpoint knows no places beyond {longest} pixels a side.", "Make the picture smaller.",
                code="model_too_small", field="size.width",
            )  # fmt: skip
        dtype = network.dtype
        times = torch.full((len(x),), time, dtype=torch.float32, device=x.device)
        return network(
            hidden_states=x.to(dtype), timestep=times, encoder_hidden_states=cond["context"].to(x.device, dtype),
            pooled_projections=cond["pooled"].to(x.device, dtype), return_dict=False,
        )[0].float()  # fmt: skip

    @property
    def beside(self) -> Any:
        """As `Model.beside`: none of these sees more than x."""
        return ""

    def blocks(self) -> Iterable[nn.Module]:
        """Every block of the transformer, and every residual block of the autoencoder."""
        from diffusers.models.attention import JointTransformerBlock
        from diffusers.models.resnet import ResnetBlock2D

        for name in ("network", "vae"):
            for module in self._networks[name].modules():
                if isinstance(module, JointTransformerBlock | ResnetBlock2D):
                    yield module


def original(name: str) -> Origin | None:
    """Where files keep what diffusers calls ``name``, without the prefix of the network; None where nobody knows."""
    if name == "pos_embed.pos_embed":
        return Origin("pos_embed")
    stem, _, end = name.rpartition(".")
    if stem in _PLAIN:
        return Origin(f"{_PLAIN[stem]}.{end}")
    if stem == "norm_out.linear":
        return None  # its halves stand the other way round
    match = re.fullmatch(r"transformer_blocks\.(\d+)\.(.+)", stem)
    if match is None or match[2] not in _BLOCK:
        return None
    inner, piece, pieces = _BLOCK[match[2]]
    return Origin(f"joint_blocks.{match[1]}.{inner}.{end}", piece, pieces)


SD3 = register(StableDiffusion3())
