"""Stable Diffusion 1: CLIP text encoder, UNet of four levels and an 8x autoencoder, at whatever widths the file has.

What tensors' shapes cannot tell is the same in every file of the family: 8 attention heads in the UNet, 32 groups in
every normalisation, quick_gelu in the text encoder with one head per 64 channels, and the scale of the latents.
Wrong ones would load without complaint and draw something else (Rombach et al. 2022, arXiv:2112.10752; the published
v1-inference configuration).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from modules.core.errors import ModelError
from modules.core.geometry import Size
from modules.families.base import SAFE, Defaults, Diffusion, Family, LatentFormat, Model, Numerics, Shapes, register

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

LATENT_SCALE = 0.18215  # 1 / std of the autoencoder's latents over its training pictures
HEADS = 8
GROUPS = 32
LAYERS_PER_LEVEL = 2
BESIDE: dict[int, Literal["", "mask", "picture"]] = {4: "", 9: "mask", 8: "picture"}  # by channels that enter

UNET = "model.diffusion_model."
VAE = "first_stage_model."
TEXT = "cond_stage_model.transformer."

# Tensors that a file may hold beside the networks: the schedule that the numbers above say, averages kept for training,
# and what CLIP has beside its text encoder.
LEFT_ALONE = (
    "model_ema.", "betas", "alphas_cumprod", "sqrt_", "log_one_minus_", "posterior_", "lvlb_weights", "logvar",
    "cond_stage_model.logit_scale", "cond_stage_model.transformer.text_projection", "first_stage_model.loss.",
    TEXT + "text_model.embeddings.position_ids", TEXT + "embeddings.position_ids",
)  # fmt: skip


class StableDiffusion1(Family):
    """SD 1.x and every checkpoint in its layout, the starter among them."""

    name = "sd1"
    title = "Stable Diffusion 1"
    latent = LatentFormat(channels=4, downscale=8, multiple=8)
    diffusion = Diffusion(prediction="eps")
    defaults = Defaults(
        size=Size(width=512, height=512),
        steps={"draft": 12, "good": 20, "best": 36},
        cfg_scale=7.0,
        sampler="DPM++ 2M",
    )

    def detect(self, shapes: Shapes) -> bool:
        """A UNet of 4 latent channels (9 or 8 with what is beside them), attention entered by 1x1 convolutions.

        (SD 2 enters it by matrices.)
        """
        first = shapes.get(UNET + "input_blocks.0.0.weight", ())
        enter = shapes.get(UNET + "input_blocks.1.1.proj_in.weight", ())
        wide = UNET + "input_blocks.1.1.transformer_blocks.1.norm1.weight"  # SDXL and its kin go deeper than one block
        return len(first) == 4 and first[1] in BESIDE and len(enter) == 4 and wide not in shapes

    def examine(self, shapes: Shapes) -> None:
        """Build the networks from tensors that have a shape and no content."""
        import torch

        nothing = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
        self.build(nothing, shapes, SAFE, torch.device("meta"))

    def build(self, weights: Mapping[str, Tensor], shapes: Shapes, numerics: Numerics, device: torch.device) -> Model:
        """Networks on the meta device, keys by diffusers' converters, weights put in place without a second copy."""
        import torch
        from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
        from transformers import CLIPTextConfig, CLIPTextModel

        _refuse_unknown(shapes)
        unet_config, vae_config, text_config = unet_facts(shapes), vae_facts(shapes), text_facts(shapes)
        with torch.device("meta"):
            unet = UNet2DConditionModel(**unet_config)
            vae = AutoencoderKL(**vae_config)
            text = CLIPTextModel(CLIPTextConfig(**text_config))

        def read(prefix: str, dtype: str) -> dict[str, Tensor]:
            return _read(weights, [name for name in shapes if name.startswith(prefix)], getattr(torch, dtype), device)

        for network, prefix, dtype, convert, config, what in (
            (unet, UNET, numerics.network, convert_ldm_unet_checkpoint, unet_config, "UNet"),
            (vae, VAE, numerics.vae, convert_ldm_vae_checkpoint, vae_config, "autoencoder"),
        ):
            found = read(prefix, dtype)
            converted = convert(dict(found), config)
            _refuse_left_over(found, converted, what)
            _fill(network, converted, what)
        _fill(text, _text_keys(read(TEXT, numerics.text), text), "text encoder")
        if numerics.channels_last:
            for network in (unet, vae):
                network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return Sd1Model(self, {"network": unet, "vae": vae, "text": text}, device)


class Sd1Model(Model):
    """The three loaded networks."""

    def __init__(self, family: Family, networks: dict[str, nn.Module], device: torch.device) -> None:
        self.family = family
        self.diffusion = family.diffusion
        self.device = device
        self._networks = {name: network.eval().requires_grad_(False) for name, network in networks.items()}

    def encode(self, ids: Tensor, clip_skip: int) -> Tensor:
        """As `Model.encode`; every layer's answer goes through the last normalisation, as A1111 and its users expect.

        A text encoder of fewer layers than ``clip_skip`` answers with its first layer.
        """
        text: Any = self._networks["text"]
        answer = text(input_ids=ids.to(self.device), output_hidden_states=clip_skip > 1)
        if clip_skip == 1:
            return answer.last_hidden_state.float()
        layers = answer.hidden_states[1:]
        final = getattr(text, "text_model", text).final_layer_norm
        return final(layers[-min(clip_skip, len(layers))]).float()

    def network(self, x: Tensor, time: float, cond: Mapping[str, Tensor]) -> Tensor:
        """As `Model.network`."""
        import torch

        unet: Any = self._networks["network"]
        times = torch.full((len(x),), time, dtype=torch.float32, device=x.device)
        context = cond["context"].to(x.device, unet.dtype)
        x = torch.cat([x, cond["beside"].to(x)], 1) if self.beside else x
        return unet(x.to(unet.dtype), times, encoder_hidden_states=context, return_dict=False)[0].float()

    def decode(self, latents: Tensor) -> Tensor:
        """As `Model.decode`."""
        vae: Any = self._networks["vae"]
        return vae.decode((latents / LATENT_SCALE).to(vae.dtype), return_dict=False)[0].float()

    def decode_bytes(self, size: Size) -> int:
        """Measured at 256 to 512 px in both dtypes: 8 to 10 planes of the finest level at once."""
        vae: Any = self._networks["vae"]
        return 10 * vae.config.block_out_channels[0] * vae.dtype.itemsize * size.pixels

    def encode_pixels(self, pixels: Tensor) -> Tensor:
        """As `Model.encode_pixels`."""
        vae: Any = self._networks["vae"]
        return vae.encode(pixels.to(vae.dtype)).latent_dist.mode().float() * LATENT_SCALE

    @property
    def beside(self) -> Literal["", "mask", "picture"]:
        """As `Model.beside`, by how many channels enter the UNet."""
        unet: Any = self._networks["network"]
        return BESIDE[unet.config.in_channels]

    def posterior(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """As `Model.posterior`."""
        vae: Any = self._networks["vae"]
        found = vae.encode(pixels.to(vae.dtype)).latent_dist
        return found.mean.float() * LATENT_SCALE, found.std.float() * LATENT_SCALE

    def picture_beside(self, pixels: Tensor) -> Tensor:
        """As `Model.picture_beside`: the latents without their scale (Brooks et al. 2022, arXiv:2211.09800)."""
        return self.encode_pixels(pixels) / LATENT_SCALE

    def parts(self) -> dict[str, nn.Module]:
        """As `Model.parts`."""
        return dict(self._networks)

    def blocks(self) -> Iterable[nn.Module]:
        """Every residual and every transformer block, of the UNet and of the autoencoder."""
        from diffusers.models.attention import BasicTransformerBlock
        from diffusers.models.resnet import ResnetBlock2D

        for name in ("network", "vae"):
            for module in self._networks[name].modules():
                if isinstance(module, ResnetBlock2D | BasicTransformerBlock):
                    yield module


def unet_facts(shapes: Shapes) -> dict[str, Any]:
    """The UNet's configuration in diffusers' words."""
    widths = [_shape(shapes, f"{UNET}input_blocks.{3 * level + 1}.0.out_layers.3.weight")[0] for level in range(4)]
    attends = [f"{UNET}input_blocks.{3 * level + 1}.1.proj_in.weight" in shapes for level in range(4)]
    return {
        "sample_size": 64,
        "in_channels": _shape(shapes, UNET + "input_blocks.0.0.weight")[1],
        "out_channels": _shape(shapes, UNET + "out.2.weight")[0],
        "block_out_channels": widths,
        "layers_per_block": LAYERS_PER_LEVEL,
        "down_block_types": ["CrossAttnDownBlock2D" if attend else "DownBlock2D" for attend in attends],
        "up_block_types": ["CrossAttnUpBlock2D" if attend else "UpBlock2D" for attend in reversed(attends)],
        "cross_attention_dim": _shape(
            shapes, UNET + "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
        )[1],
        "attention_head_dim": HEADS,  # diffusers' name; for this UNet it counts heads
        "norm_num_groups": GROUPS,
    }  # fmt: skip


def vae_facts(shapes: Shapes) -> dict[str, Any]:
    """The autoencoder's configuration in diffusers' words."""
    widths = [_shape(shapes, f"{VAE}encoder.down.{level}.block.0.conv2.weight")[0] for level in range(4)]
    return {
        "in_channels": 3,
        "out_channels": 3,
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "block_out_channels": widths,
        "layers_per_block": LAYERS_PER_LEVEL,
        "latent_channels": _shape(shapes, VAE + "post_quant_conv.weight")[1],
        "norm_num_groups": GROUPS,
        "sample_size": 512,
        "scaling_factor": LATENT_SCALE,
    }


def text_facts(shapes: Shapes) -> dict[str, Any]:
    """The text encoder's configuration in transformers' words."""
    head = TEXT + ("text_model." if any(name.startswith(TEXT + "text_model.") for name in shapes) else "")
    vocabulary, width = _shape(shapes, head + "embeddings.token_embedding.weight")
    layers = {name.removeprefix(head).split(".")[2] for name in shapes if name.startswith(head + "encoder.layers.")}
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": _shape(shapes, head + "encoder.layers.0.mlp.fc1.weight")[0],
        "projection_dim": width,
        "num_hidden_layers": len(layers),
        "num_attention_heads": width // 64,
        "max_position_embeddings": _shape(shapes, head + "embeddings.position_embedding.weight")[0],
        "hidden_act": "quick_gelu",
        "bos_token_id": vocabulary - 2,
        "eos_token_id": vocabulary - 1,
        "pad_token_id": vocabulary - 1,
    }


def _shape(shapes: Shapes, name: str) -> tuple[int, ...]:
    if name not in shapes:
        raise _unusable(f"the tensor {name} is missing", "Get a complete checkpoint: this one is only a part of one.")
    return shapes[name]


def _refuse_unknown(shapes: Shapes) -> None:
    """A tensor that nothing would read means that the file holds more than this family computes."""
    rest = [name for name in shapes if not name.startswith((UNET, VAE, TEXT, *LEFT_ALONE))]
    if rest:
        raise _unusable(f"{len(rest)} tensors are none of the family's, the first {rest[0]}")


def _refuse_left_over(found: Mapping[str, Tensor], converted: Mapping[str, Tensor], what: str) -> None:
    """diffusers' converters drop what they do not know, each other tensor becomes exactly one."""
    if len(converted) == len(found):
        return
    used = {id(value) for value in converted.values()}
    rest = [name for name, value in found.items() if id(value) not in used and ".attn_1." not in name]  # those reshaped
    raise _unusable(
        f"its {what} has {len(found) - len(converted)} tensors too many, the first {rest[0] if rest else '?'}"
    )


def _read(
    weights: Mapping[str, Tensor], names: list[str], dtype: torch.dtype, device: torch.device
) -> dict[str, Tensor]:
    """One tensor after the other, in this thread: what other threads allocate stays in their heaps when it is freed.

    Measured over swaps of a 76 MB model: 100 MB stayed resident with two reading threads, and no trim gave it back.
    """
    return {name: weights[name].to(device, dtype) for name in names if not name.startswith(LEFT_ALONE)}


def _text_keys(found: Mapping[str, Tensor], text: nn.Module) -> dict[str, Tensor]:
    """Bring CLIP's keys to this transformers' form: versions differ in the level ``text_model.``."""
    level = "text_model." if any(key.startswith("text_model.") for key in text.state_dict()) else ""
    return {level + name.removeprefix(TEXT).removeprefix("text_model."): value for name, value in found.items()}


def _fill(network: nn.Module, weights: dict[str, Tensor], what: str) -> None:
    import torch

    wanted = network.state_dict()
    if missing := sorted(wanted.keys() - weights.keys()):
        raise _unusable(f"its {what} lacks {len(missing)} of {len(wanted)} tensors, the first {missing[0]}")
    if rest := sorted(weights.keys() - wanted.keys()):
        raise _unusable(f"its {what} has {len(rest)} tensors too many, the first {rest[0]}")
    for name, value in weights.items():
        if value.shape != wanted[name].shape:
            raise _unusable(f"{name} of its {what} is {tuple(value.shape)}, not {tuple(wanted[name].shape)}")
    network.load_state_dict(weights, strict=True, assign=True)
    device = next(network.parameters()).device
    for module in network.modules():
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.is_meta:  # not in any file: CLIP's count of positions
                if name != "position_ids":
                    raise _unusable(f"the {what}'s buffer {name} is in no file")
                setattr(module, name, torch.arange(buffer.shape[-1], device=device).unsqueeze(0))


def _unusable(why: str, hint: str = "Get another copy of the file, or choose another checkpoint.") -> ModelError:
    return ModelError(f"This is no usable {SD1.title} checkpoint: {why}.", hint, code="model_layout")


SD1 = register(StableDiffusion1())
