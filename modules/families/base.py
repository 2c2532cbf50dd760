"""Family: what one architecture of models is, as facts without torch, and how its files become a working model.

The engine knows no architecture. It asks a family three things: is this file yours (`detect`), build your networks
from these weights (`build`), and then, through the `Model` that `build` returned: tokens to conditioning (`encode`),
one call of the network (`network`), latents to pixels and back (`decode`, `encode_pixels`). Torch is imported inside
functions only, because the page's process reads these facts too and never imports torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from modules.core.errors import ModelError
from modules.core.geometry import Size

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Prediction = Literal["eps", "v", "x0", "flow"]
Quality = Literal["draft", "good", "best"]
CLIP_END = 49407  # the token that ends a prompt, and pads it where the text encoder is OpenAI's
Shapes = Mapping[str, tuple[int, ...]]  # tensor name -> shape, as a checkpoint's header says


@dataclass(frozen=True)
class LatentFormat:
    """What the network walks on: ``channels`` planes, one latent pixel for ``downscale`` x ``downscale`` pixels.

    ``multiple`` is what both sides of the canvas are a multiple of, in pixels. ``rgb`` is a straight line from latent
    to colour for previews where no decoder is at hand: one row (r, g, b) in [-1, 1] a channel, and one row of bias.
    """

    channels: int = 4
    downscale: int = 8
    multiple: int = 8
    rgb: tuple[tuple[float, float, float], ...] = ()


Aligned = Literal["sd1", "sdxl"]
"""Whose tables of steps the schedules named Align Your Steps walk."""


@dataclass(frozen=True)
class Diffusion:
    """How the network was taught to see noise: what it predicts, and which noise each of its times stands for.

    ``eps`` and ``v`` are variance preserving with ``timesteps`` times and betas that rise as the square of a line
    from sqrt(beta_start) to sqrt(beta_end), with ``zero_snr`` rescaled so that the last time is noise alone; ``flow``
    is a rectified flow whose times are shifted by ``shift``. ``aligned`` names the published tables of best steps.
    """

    prediction: Prediction = "eps"
    timesteps: int = 1000
    beta_start: float = 0.00085
    beta_end: float = 0.012
    shift: float = 1.0
    zero_snr: bool = False
    aligned: Aligned = "sd1"


@dataclass(frozen=True)
class Defaults:
    """What the form shows for a model of this family until the user says otherwise."""

    size: Size
    steps: Mapping[Quality, int]
    cfg_scale: float
    sampler: str
    schedule: str = "Automatic"


Use = Literal["weights", "beside", "spare"]
"""Of a checkpoint's tensor: the networks read it; small and told by it (marks, schedules); left from training."""

Variant = Literal["text", "inpaint", "edit"]
"""What a network sees beside the noisy latents: nothing, a mask and the masked picture, or a picture to change."""


@dataclass(frozen=True)
class Match:
    """A checkpoint recognised by a family: what was decided about it, and for each decision why, for people."""

    family: str
    diffusion: Diffusion
    defaults: Defaults
    reasons: tuple[str, ...]
    variant: Variant = "text"


@dataclass(frozen=True)
class Evidence:
    """What may tell one model of a family from another: tensors' ``shapes``, the file's ``metadata`` and its ``name``.

    ``peek`` reads one small tensor as numbers; None where its file cannot be asked.
    """

    shapes: Shapes
    metadata: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    peek: Callable[[str], Sequence[float] | None] = lambda name: None


@dataclass(frozen=True)
class Origin:
    """Where a weight of a loaded part came from: a tensor of the checkpoint, or one of the equal ``pieces`` of it.

    ``turned`` says that its rows and columns change places.
    """

    name: str
    piece: int = 0
    pieces: int = 1
    turned: bool = False

    def read(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """The weight, in the file's own dtype."""
        whole = tensors[self.name]
        value = whole.chunk(self.pieces)[self.piece] if self.pieces > 1 else whole
        return value.T if self.turned else value


@dataclass(frozen=True)
class Frame:
    """What a picture's conditioning is told beside the prompt: the canvas, and which prompt it is.

    ``empty`` says that the text is empty and is to be told as nothing at all, where the family can.
    """

    canvas: Size
    negative: bool = False
    empty: bool = False


@dataclass(frozen=True)
class Numerics:
    """A named profile of how a model is computed: dtype of the networks, memory layout, attention function.

    ``text`` and ``vae`` are dtype names as torch writes them ("float32"); text encoders run in 32 bit where the
    profile does not say otherwise, since they run once a prompt.
    """

    name: str = "safe"
    network: str = "float32"
    text: str = "float32"
    vae: str = "float32"
    channels_last: bool = False
    attention: str = "sdpa"


SAFE = Numerics()


class Model(ABC):
    """A loaded checkpoint: networks on a device. One walk at a time; not thread-safe."""

    family: Family
    diffusion: Diffusion
    device: torch.device
    encoders: tuple[int, ...] = ()  # the width of each text encoder's part of the hidden states; empty: only one
    before_use: Callable[[str], None] = staticmethod(lambda part: None)  # set by whoever moves parts about

    @abstractmethod
    def encode(self, ids: Tensor, clip_skip: int) -> Tensor:
        """Token ids [n 77] of n chunks (begin and end tokens included) -> float32 hidden states [n 77 width].

        ``clip_skip`` 1 is the last layer, 2 the one before it, and so on. Weights of emphasis are not applied here.
        """

    def read(self, ids: Tensor, clip_skip: int) -> tuple[Tensor, Tensor | None]:
        """`encode`, and beside it each chunk in one vector [n width] where the network wants that too."""
        return self.encode(ids, clip_skip), None

    def tell(self, cond: Mapping[str, Tensor], frame: Frame) -> Mapping[str, Tensor]:
        """The conditioning as the network is told it in this frame: the family's own additions to what was read."""
        return cond

    @abstractmethod
    def network(self, x: Tensor, time: float, cond: Mapping[str, Tensor]) -> Tensor:
        """One bare call: x [b c h w] as the network wants it, its time (0 to 999, or 0 to 1000 for flow), conditioning.

        ``cond["context"]`` is [b tokens width], what `encode` made, weighted and its chunks joined. Returns the raw
        output [b c h w] (noise, v, x0 or flow, as ``diffusion.prediction`` says) in float32, for x in the network's own
        space: `modules.engine.prediction` maps the samplers' space to it and back.
        """

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """Latents [b c h w] -> pixels [b 3 h*downscale w*downscale], float32, about -1 to 1 (not clamped)."""

    @abstractmethod
    def encode_pixels(self, pixels: Tensor) -> Tensor:
        """Pixels [b 3 h w] in -1 to 1 -> latents [b c h/downscale w/downscale], float32: the posterior's mean."""

    @property
    def beside(self) -> Literal["", "mask", "picture"]:
        """What the network sees beside x, in ``cond["beside"]`` [b c h w].

        "mask" (made for inpainting): the mask and the masked picture's latents; "picture" (made for edits): what
        `picture_beside` returns.
        """
        return ""

    def posterior(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the latents of pixels [b 3 h w]; without a spread of its own that is 0."""
        mean = self.encode_pixels(pixels)
        return mean, mean * 0

    def picture_beside(self, pixels: Tensor) -> Tensor:
        """Pixels [b 3 h w] in -1 to 1 as a network made for edits wants them beside x."""
        return self.encode_pixels(pixels)

    @abstractmethod
    def parts(self) -> dict[str, nn.Module]:
        """The networks by name ("network", "text", "text_2", "vae"): what residency moves, what adapters patch."""

    def part(self, name: str) -> Any:
        """The part of that name, ready to be called: residency brings it to the device first."""
        self.before_use(name)
        return self.parts()[name]

    def blocks(self) -> Iterable[nn.Module]:
        """Modules inside the parts before which a running call may stop when its job is cancelled."""
        return ()

    def decode_bytes(self, size: Size) -> int:
        """About what `decode` takes beside the weights for a canvas of that size; it is tiled where less is free."""
        return 64 * size.pixels

    def preview(self, latents: Tensor) -> Tensor | None:
        """A small cheap picture of x0 [b c h w] -> [b 3 h' w'] in -1 to 1, or None where only ``latent.rgb`` serves."""
        return None


class Family(ABC):
    """One architecture. Instances hold facts only; everything that is loaded lives in a `Model`."""

    name: str
    title: str
    vocabulary: str = "clip"  # the tokenizer in modules.prompt
    latent: LatentFormat = LatentFormat()
    diffusion: Diffusion = Diffusion()
    defaults: Defaults
    clip_skip_in_a1111: int | None = None  # the layer that A1111 reads whatever its clip skip says; None: it obeys

    @abstractmethod
    def detect(self, shapes: Shapes) -> bool:
        """Whether a checkpoint with these tensors is of this family."""

    @abstractmethod
    def build(self, weights: Mapping[str, Tensor], shapes: Shapes, numerics: Numerics, device: torch.device) -> Model:
        """Build the model from the file's tensors; reading ``weights[name]`` reads that tensor from the disk.

        Raises ModelError naming missing, left-over or misshapen tensors.
        """

    def examine(self, shapes: Shapes) -> None:
        """Raise the ModelError that `build` would, as far as shapes tell, without reading any weight."""
        if not self.detect(shapes):
            raise ModelError(f"This is no {self.title} checkpoint.", "Choose another one.", code="model_unknown")

    def lacks(self, shapes: Shapes) -> ModelError | None:
        """What a file of this family would need beside what is in it, as the error to show; None for a whole one."""
        return None

    def match(self, evidence: Evidence) -> Match | None:
        """What this file is, or None; see `modules.families.evidence` for the order in which its signs count."""
        from modules.families.evidence import decide

        return decide(self, evidence) if self.detect(evidence.shapes) else None

    def names_in_files(self, part: str, name: str, names: Collection[str]) -> tuple[str, ...]:
        """What files call the module ``name`` of a part beside that; ``names`` are all weights of the part."""
        return ()

    def origin(self, part: str, name: str, names: Collection[str], shapes: Shapes) -> Origin | None:
        """The tensor of a checkpoint that the part's weight ``name`` is read from; None where nobody can say."""
        return None

    def use_of(self, name: str) -> Use:
        """What a tensor of a checkpoint is for: a merge mixes weights, keeps what is beside them, drops the spare."""
        return "weights"

    def prediction_of(self, evidence: Evidence) -> tuple[Prediction, str] | None:
        """What shapes or one tensor's numbers say of the prediction, and why; None where they say nothing."""
        return None

    def defaults_of(self, evidence: Evidence) -> tuple[Defaults, tuple[str, ...]]:
        """The defaults of such a file before its name or its metadata say otherwise, and why where not the usual."""
        return self.defaults, ()


FAMILIES: list[Family] = []


def register(family: Family) -> Family:
    """Add a family to the list, or replace the one of its name."""
    FAMILIES[:] = [*(known for known in FAMILIES if known.name != family.name), family]
    return family


_guests: set[str] = set()


def set_guests(families: Iterable[Family]) -> None:
    """Exactly these of extensions stand behind the built-in families from now on; a built-in name cannot be taken."""
    own = [known for known in FAMILIES if known.name not in _guests]
    added = [guest for guest in families if guest.name not in {known.name for known in own}]
    _guests.clear()
    _guests.update(guest.name for guest in added)
    FAMILIES[:] = [*own, *added]


def family(name: str) -> Family:
    """The family of that name; raises ModelError for one that is not installed."""
    for known in FAMILIES:
        if known.name == name:
            return known
    names = ", ".join(known.name for known in FAMILIES)
    raise ModelError(f"There is no family named {name!r}.", f"Installed are: {names}.", code="unknown_family")


def recognise(evidence: Evidence) -> Match | None:
    """The first family that knows these tensors says what they are; None for a file nobody knows."""
    for known in FAMILIES:
        match = known.match(evidence)
        if match is not None:
            return match
    return None
