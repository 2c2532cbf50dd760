"""What Stable Diffusion 1, 2 and XL share: the original files' layout, and how their tensors become networks.

A UNet and an autoencoder of the latent diffusion kin (Rombach et al. 2022, arXiv:2112.10752) and CLIP text encoders in
either of the two namings that files have. Widths, depths and levels come from the tensors' shapes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from modules.core.errors import ModelError
from modules.core.geometry import Size
from modules.families.base import SAFE, Family, Model, Numerics, Origin, Shapes, Use
from modules.families.layouts import unet_name

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

GROUPS = 32
LAYERS_PER_LEVEL = 2
HEAD_WIDTH = 64  # of every attention but SD1's UNet's, which has eight heads of any width
BESIDE: Mapping[int, Literal["mask", "picture"]] = {5: "mask", 4: "picture"}  # by channels beside the latents

UNET = "model.diffusion_model."
VAE = "first_stage_model."

# Tensors that a file may hold beside the networks: the schedule that the family's numbers say, averages kept for
# training, marks that `modules.families.evidence` reads, and what CLIP has beside its text encoder.
LEFT_ALONE = (
    "model_ema.", "betas", "alphas_cumprod", "sqrt_", "log_one_minus_", "posterior_", "lvlb_weights", "logvar",
    "denoiser.", "sigmas", "v_pred", "ztsnr", "edm_", "first_stage_model.loss.", "loss.",
    "cond_stage_model.logit_scale", "conditioner.embedders.0.logit_scale",
)  # fmt: skip
LEFT_ALONE_ENDS = (
    ".position_ids", ".logit_scale", ".attn_mask", "transformer.text_projection",
    "cond_stage_model.transformer.text_projection.weight",
    "conditioner.embedders.0.transformer.text_projection.weight",  # of SDXL's first encoder; its second's is used
)  # fmt: skip
SPARE = ("model_ema.", "first_stage_model.loss.", "loss.")  # of those, what only a training goes on with


class LatentDiffusion(Family):
    """A family of this layout: its text encoders by the prefixes of their tensors."""

    latent_scale: float
    latent_shift: float = 0.0  # taken from the latents before they are scaled
    is_quantised: bool = True  # whether 1x1 convolutions stand between the autoencoder's halves
    texts: Mapping[str, tuple[str, ...]]  # part -> the prefixes under which files hold it

    def examine(self, shapes: Shapes) -> None:
        """Build the networks from tensors that have a shape and no content."""
        import torch

        nothing = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
        self.build(nothing, shapes, SAFE, torch.device("meta"))

    def build_networks(
        self, weights: Mapping[str, Tensor], shapes: Shapes, numerics: Numerics, device: torch.device
    ) -> dict[str, nn.Module]:
        """The UNet ("network") and the autoencoder ("vae"), and the text encoders by part, all filled."""
        import torch
        from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

        prefixes = [prefix for among in self.texts.values() for prefix in among]
        refuse_unknown(self, shapes, (UNET, VAE, *prefixes))
        unet_config = self.unet_facts(shapes)
        vae_facts(self, shapes)  # what is missing is told before anything is read
        with torch.device("meta"):
            unet = UNet2DConditionModel(**unet_config)
        reader = Reader(weights, shapes, device)
        found = reader.read(UNET, numerics.network)
        converted = convert_ldm_unet_checkpoint(dict(found), unet_config)
        refuse_left_over(self, found, converted, "UNet")
        fill(self, unet, converted, "UNet")
        if numerics.channels_last:
            unet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        made: dict[str, nn.Module] = {"network": unet, "vae": autoencoder(self, reader, shapes, numerics)}
        for part, among in self.texts.items():
            made[part] = self.build_text(part, reader, among, numerics.text)
        return made

    def build_text(self, part: str, reader: Reader, prefixes: tuple[str, ...], dtype: str) -> nn.Module:
        """The text encoder of a part, from whichever of the prefixes the file has."""
        raise NotImplementedError

    def names_in_files(self, part: str, name: str, names: Collection[str]) -> tuple[str, ...]:
        """As `Family.names_in_files`: the original UNet's names."""
        return (unet_name(f"{name}.weight", names).removesuffix(".weight"),) if part == "network" else ()

    def origin(self, part: str, name: str, names: Collection[str], shapes: Shapes) -> Origin | None:
        """As `Family.origin`, for the UNet and the text encoders in either naming."""
        if part == "network":
            full = UNET + unet_name(name, names)
            return Origin(full) if full in shapes else None
        plain = name.removeprefix("text_model.")
        for prefix in self.texts.get(part, ()):
            for level in ("", "text_model."):
                if prefix + level + plain in shapes:
                    return Origin(prefix + level + plain)
            if is_open_clip(shapes, prefix):
                return in_open_clip(plain, prefix)
        return None

    def use_of(self, name: str) -> Use:
        """As `Family.use_of`: the networks by their prefixes."""
        if is_left_alone(name):
            return "spare" if name.startswith(SPARE) else "beside"
        prefixes = (UNET, VAE, *(prefix for among in self.texts.values() for prefix in among))
        return "weights" if name.startswith(prefixes) else "spare"

    def unet_facts(self, shapes: Shapes) -> dict[str, Any]:
        """The UNet's configuration in diffusers' words."""
        levels = len([name for name in shapes if name.endswith(".0.op.weight") and name.startswith(UNET)]) + 1
        places = [f"{UNET}input_blocks.{(LAYERS_PER_LEVEL + 1) * level + 1}." for level in range(levels)]
        widths = [shape_of(self, shapes, f"{place}0.out_layers.3.weight")[0] for place in places]
        depths = [depth(shapes, place + "1.") for place in places]
        middle = depth(shapes, UNET + "middle_block.1.")
        attends = next(
            (place for place, blocks in zip(places, depths, strict=True) if blocks), UNET + "input_blocks.1."
        )
        return {
            "sample_size": 64,
            "in_channels": shape_of(self, shapes, UNET + "input_blocks.0.0.weight")[1],
            "out_channels": shape_of(self, shapes, UNET + "out.2.weight")[0],
            "block_out_channels": widths,
            "layers_per_block": LAYERS_PER_LEVEL,
            "down_block_types": ["CrossAttnDownBlock2D" if blocks else "DownBlock2D" for blocks in depths],
            "up_block_types": ["CrossAttnUpBlock2D" if blocks else "UpBlock2D" for blocks in reversed(depths)],
            # diffusers gives the middle the last level's depth; a level without attention asks for none of its own
            "transformer_layers_per_block": [*(blocks or 1 for blocks in depths[:-1]), depths[-1] or middle],
            "cross_attention_dim": shape_of(
                self, shapes, attends + "1.transformer_blocks.0.attn2.to_k.weight"
            )[1],
            "use_linear_projection": len(shape_of(self, shapes, attends + "1.proj_in.weight")) == 2,
            "attention_head_dim": self.heads(widths),  # diffusers' name; for this UNet it counts heads
            "norm_num_groups": GROUPS,
        }  # fmt: skip

    def heads(self, widths: list[int]) -> list[int]:
        """How many heads the attention of each level has; shapes cannot tell."""
        return [max(1, width // HEAD_WIDTH) for width in widths]


class LatentDiffusionModel(Model):
    """The loaded networks."""

    family: LatentDiffusion

    def __init__(self, family: LatentDiffusion, networks: dict[str, nn.Module], device: torch.device) -> None:
        self.family = family
        self.diffusion = family.diffusion
        self.device = device
        self._networks = {name: network.eval().requires_grad_(False) for name, network in networks.items()}

    def network(self, x: Tensor, time: float, cond: Mapping[str, Tensor]) -> Tensor:
        """As `Model.network`; ``cond["beside"]`` [b more h w] goes in beside x where the checkpoint takes it."""
        import torch

        unet = self.part("network")
        times = torch.full((len(x),), time, dtype=torch.float32, device=x.device)
        context = cond["context"].to(x.device, unet.dtype)
        if self.beside and "beside" in cond:
            x = torch.cat([x, cond["beside"].to(x)], dim=1)
        if x.shape[1] != unet.config["in_channels"]:
            raise ModelError(
                f"This checkpoint takes {unet.config['in_channels']} channels: it needs a picture to start from.",
                "Give it a picture and a mask, or choose another checkpoint.",
                code="model_needs_picture", field="model.checkpoint",
            )  # fmt: skip
        added = self.added(cond, x.device, unet.dtype)
        return unet(
            x.to(unet.dtype), times, encoder_hidden_states=context, added_cond_kwargs=added, return_dict=False
        )[0].float()  # fmt: skip

    def added(self, cond: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype) -> dict[str, Tensor] | None:
        """What the UNet is told beside the context, in diffusers' words."""
        return None

    def decode(self, latents: Tensor) -> Tensor:
        """As `Model.decode`."""
        vae = self.part("vae")
        family = self.family
        latents = latents / family.latent_scale + family.latent_shift
        return vae.decode(latents.to(vae.dtype), return_dict=False)[0].float()

    def decode_bytes(self, size: Size) -> int:
        """Measured at 256 to 512 px in both dtypes: 8 to 10 planes of the finest level at once."""
        vae: Any = self._networks["vae"]
        return 10 * vae.config.block_out_channels[0] * vae.dtype.itemsize * size.pixels

    def encode_pixels(self, pixels: Tensor) -> Tensor:
        """As `Model.encode_pixels`."""
        return self.posterior(pixels)[0]

    @property
    def beside(self) -> Literal["", "mask", "picture"]:
        """As `Model.beside`, by how many channels enter the UNet beside the latents'."""
        return BESIDE.get(self.part("network").config["in_channels"] - self.family.latent.channels, "")

    def posterior(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """As `Model.posterior`."""
        vae = self.part("vae")
        found, scale = vae.encode(pixels.to(vae.dtype)).latent_dist, self.family.latent_scale
        return (found.mean.float() - self.family.latent_shift) * scale, found.std.float() * scale

    def picture_beside(self, pixels: Tensor) -> Tensor:
        """As `Model.picture_beside`: the latents without their scale (Brooks et al. 2022, arXiv:2211.09800)."""
        return self.encode_pixels(pixels) / self.family.latent_scale

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


class Reader:
    """Reads a file's tensors of one prefix in a dtype to a device.

    One tensor after the other, in this thread: what other threads allocate stays in their heaps when it is freed.
    Measured over swaps of a 76 MB model: 100 MB stayed resident with two reading threads, and no trim gave it back.
    """

    def __init__(self, weights: Mapping[str, Tensor], shapes: Shapes, device: torch.device) -> None:
        self.weights, self.shapes, self.device = weights, shapes, device

    def read(self, prefix: str, dtype: str) -> dict[str, Tensor]:
        """The tensors under the prefix, by their full names."""
        import torch

        kind = getattr(torch, dtype)
        names = [name for name in self.shapes if name.startswith(prefix) and not is_left_alone(name)]
        return {name: self.weights[name].to(self.device, kind) for name in names}


def is_left_alone(name: str) -> bool:
    """Whether nothing reads this tensor and that is well."""
    return name.startswith(LEFT_ALONE) or name.endswith(LEFT_ALONE_ENDS)


def depth(shapes: Shapes, place: str) -> int:
    """How many transformer blocks stand at a place of the UNet; 0 where it has no attention."""
    head = place + "transformer_blocks."
    return len({name.removeprefix(head).split(".")[0] for name in shapes if name.startswith(head)})


def vae_facts(family: LatentDiffusion, shapes: Shapes) -> dict[str, Any]:
    """The autoencoder's configuration in diffusers' words."""
    levels = len(
        {
            name.removeprefix(VAE + "encoder.down.").split(".")[0]
            for name in shapes
            if name.startswith(VAE + "encoder.down.")
        }
    )
    widths = [
        shape_of(family, shapes, f"{VAE}encoder.down.{level}.block.0.conv2.weight")[0]
        for level in range(max(levels, 1))
    ]
    return {
        "in_channels": 3,
        "out_channels": 3,
        "down_block_types": ["DownEncoderBlock2D"] * len(widths),
        "up_block_types": ["UpDecoderBlock2D"] * len(widths),
        "block_out_channels": widths,
        "layers_per_block": LAYERS_PER_LEVEL,
        "latent_channels": shape_of(
            family, shapes, VAE + ("post_quant_conv.weight" if family.is_quantised else "decoder.conv_in.weight")
        )[1],
        "use_quant_conv": family.is_quantised,
        "use_post_quant_conv": family.is_quantised,
        "norm_num_groups": GROUPS,
        "sample_size": 512,
        "scaling_factor": family.latent_scale,
    }


def autoencoder(family: LatentDiffusion, reader: Reader, shapes: Shapes, numerics: Numerics) -> nn.Module:
    """The filled autoencoder of a file."""
    import torch
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    facts = vae_facts(family, shapes)
    with torch.device("meta"):
        vae = AutoencoderKL(**facts)
    found = reader.read(VAE, numerics.vae)
    converted = convert_ldm_vae_checkpoint(dict(found), facts)
    refuse_left_over(family, found, converted, "autoencoder")
    fill(family, vae, converted, "autoencoder")
    return vae.to(memory_format=torch.channels_last) if numerics.channels_last else vae  # type: ignore[call-overload]


# CLIP's text encoder as OpenCLIP names it, and as transformers does.
OPEN_CLIP = (
    ("transformer.resblocks.", "encoder.layers."), (".ln_1.", ".layer_norm1."), (".ln_2.", ".layer_norm2."),
    (".mlp.c_fc.", ".mlp.fc1."), (".mlp.c_proj.", ".mlp.fc2."), (".attn.", ".self_attn."),
    ("ln_final.", "final_layer_norm."), ("token_embedding.weight", "embeddings.token_embedding.weight"),
)  # fmt: skip


def is_open_clip(shapes: Shapes, prefix: str) -> bool:
    """Whether the text encoder under this prefix has OpenCLIP's names."""
    return prefix + "token_embedding.weight" in shapes


def from_open_clip(found: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """OpenCLIP's tensors under transformers' names: queries, keys and values apart, the projection turned."""
    made: dict[str, Tensor] = {}
    for full, value in found.items():
        name = full.removeprefix(prefix)
        if name == "positional_embedding":
            made["embeddings.position_embedding.weight"] = value
            continue
        if name == "text_projection":
            made["text_projection.weight"] = value.T.contiguous()
            continue
        for theirs, ours in OPEN_CLIP:
            name = name.replace(theirs, ours)
        if ".in_proj_" in name:
            for part, third in zip("qkv", value.chunk(3), strict=True):
                made[name.replace(".in_proj_", f".{part}_proj.")] = third.contiguous()
        else:
            made[name] = value
    return made


def in_open_clip(name: str, prefix: str) -> Origin:
    """Where OpenCLIP keeps what transformers calls ``name``; the other way round of `from_open_clip`."""
    if name == "embeddings.position_embedding.weight":
        return Origin(prefix + "positional_embedding")
    if name == "text_projection.weight":
        return Origin(prefix + "text_projection", turned=True)
    for theirs, ours in OPEN_CLIP:
        name = name.replace(ours, theirs)
    for piece, letter in enumerate("qkv"):
        if f".{letter}_proj." in name:
            return Origin(prefix + name.replace(f".{letter}_proj.", ".in_proj_"), piece, 3)
    return Origin(prefix + name)


def plain_clip(found: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """CLIP's tensors under transformers' names without the level ``text_model.`` that some versions have."""
    return {full.removeprefix(prefix).removeprefix("text_model."): value for full, value in found.items()}


def text_facts(weights: Mapping[str, Tensor], activation: str, layers: int | None = None) -> dict[str, Any]:
    """A text encoder's configuration in transformers' words, from tensors that `plain_clip` or `from_open_clip` named.

    ``activation`` is what shapes cannot tell: CLIP-L computes "quick_gelu", the OpenCLIP ones "gelu".
    """
    vocabulary, width = weights["embeddings.token_embedding.weight"].shape
    found = {name.split(".")[2] for name in weights if name.startswith("encoder.layers.")}
    projection = weights.get("text_projection.weight")
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": weights["encoder.layers.0.mlp.fc1.weight"].shape[0],
        "projection_dim": width if projection is None else projection.shape[0],
        "num_hidden_layers": len(found) if layers is None else layers,
        "num_attention_heads": max(1, width // HEAD_WIDTH),
        "max_position_embeddings": weights["embeddings.position_embedding.weight"].shape[0],
        "hidden_act": activation,
        "bos_token_id": vocabulary - 2,
        "eos_token_id": vocabulary - 1,
        "pad_token_id": vocabulary - 1,
    }


def text_encoder(
    family: LatentDiffusion, weights: dict[str, Tensor], activation: str, *, projected: bool = False
) -> nn.Module:
    """A filled CLIP text encoder; ``projected`` is one whose last token becomes one vector for the whole chunk."""
    import torch
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    for name in ("embeddings.token_embedding.weight", "embeddings.position_embedding.weight",
                 "encoder.layers.0.mlp.fc1.weight"):  # fmt: skip
        if name not in weights:
            raise unusable(family, f"its text encoder lacks {name}", PART)
    config = CLIPTextConfig(**text_facts(weights, activation))
    with torch.device("meta"):
        text = (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)
    # transformers' versions differ in the level "text_model.", which only the one with a projection always has
    level = "text_model." if any(key.startswith("text_model.") for key in text.state_dict()) else ""
    named = {name if name.startswith("text_projection.") else level + name: value for name, value in weights.items()}
    if not projected:
        named.pop("text_projection.weight", None)
    fill(family, text, named, "text encoder")
    return text


def hidden(text: Any, ids: Tensor, layer: int, *, normalised: bool) -> tuple[Tensor, Any]:
    """Hidden states [n 77 width] of the layer counted from the end (1 is the last), float32, and the whole answer.

    An encoder of fewer layers answers with its first. ``normalised`` puts a layer before the last through the final
    normalisation, as the last always is.
    """
    answer = text(input_ids=ids, output_hidden_states=True)
    layers = answer.hidden_states[1:]
    inner = getattr(text, "text_model", text)
    if layer == 1:
        return answer.last_hidden_state.float(), answer
    states = layers[-min(layer, len(layers))]
    return (inner.final_layer_norm(states) if normalised else states).float(), answer


PART = "Get a complete checkpoint: this one is only a part of one."


def shape_of(family: Family, shapes: Shapes, name: str) -> tuple[int, ...]:
    """The shape of a tensor that must be there."""
    if name not in shapes:
        raise unusable(family, f"the tensor {name} is missing", PART)
    return shapes[name]


def refuse_unknown(family: Family, shapes: Shapes, known: tuple[str, ...]) -> None:
    """A tensor that nothing would read means that the file holds more than this family computes."""
    rest = [name for name in shapes if not name.startswith(known) and not is_left_alone(name)]
    if rest:
        raise unusable(family, f"{len(rest)} tensors are none of the family's, the first {rest[0]}")


def refuse_left_over(family: Family, found: Mapping[str, Tensor], converted: Mapping[str, Tensor], what: str) -> None:
    """diffusers' converters drop what they do not know, each other tensor becomes exactly one."""
    if len(converted) == len(found):
        return
    used = {id(value) for value in converted.values()}
    rest = [name for name, value in found.items() if id(value) not in used and ".attn_1." not in name]  # those reshaped
    raise unusable(
        family, f"its {what} has {len(found) - len(converted)} tensors too many, the first {rest[0] if rest else '?'}"
    )


def fill(family: Family, network: nn.Module, weights: dict[str, Tensor], what: str) -> None:
    """Put the weights in place, each exactly once; raises ModelError naming what is missing, left over or misshapen."""
    import torch

    wanted = network.state_dict()
    if missing := sorted(wanted.keys() - weights.keys()):
        raise unusable(family, f"its {what} lacks {len(missing)} of {len(wanted)} tensors, the first {missing[0]}")
    if rest := sorted(weights.keys() - wanted.keys()):
        raise unusable(family, f"its {what} has {len(rest)} tensors too many, the first {rest[0]}")
    for name, value in weights.items():
        if value.shape != wanted[name].shape:
            raise unusable(family, f"{name} of its {what} is {tuple(value.shape)}, not {tuple(wanted[name].shape)}")
    network.load_state_dict(weights, strict=True, assign=True)
    device = next(network.parameters()).device
    for module in network.modules():
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.is_meta:  # not in any file: CLIP's count of positions
                if name != "position_ids":
                    raise unusable(family, f"the {what}'s buffer {name} is in no file")
                setattr(module, name, torch.arange(buffer.shape[-1], device=device).unsqueeze(0))


def unusable(
    family: Family, why: str, hint: str = "Get another copy of the file, or choose another checkpoint."
) -> ModelError:
    """The error for a file whose tensors are not the family's."""
    return ModelError(f"This is no usable {family.title} checkpoint: {why}.", hint, code="model_layout")
