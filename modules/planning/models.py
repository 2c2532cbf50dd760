"""Which file a request means: the checkpoint that it names, as the library knows it."""

from typing import Protocol, cast

from modules.core.errors import ModelError
from modules.core.plan import ModelFile, VaeFile
from modules.core.request import ModelChoice
from modules.families.base import Prediction
from modules.library.checkpoints import Checkpoint
from modules.library.vaes import Vae, Vaes
from modules.planning.adapters import Adapters


class Catalogue(Protocol):
    """What planning needs of the library; ``modules.library.checkpoints.Catalogue`` has it."""

    def find(self, name_or_hash: str) -> Checkpoint:
        """The usable checkpoint of that name or hash, the preferred one for the empty name; raises ModelError."""
        ...

    @property
    def adapters(self) -> Adapters:
        """The LoRAs and embeddings."""
        ...

    @property
    def vaes(self) -> Vaes:
        """The autoencoders beside those of the checkpoints."""
        ...


def choose(choice: ModelChoice, catalogue: Catalogue) -> Checkpoint:
    """The checkpoint that is meant; raises ModelError with the field ``model.checkpoint``.

    Where the request remembers a sha256 that the named file does not have, the file that has it is taken, whatever
    its name: a name is a label, the hash decides what the picture will be.
    """
    found = catalogue.find(choice.checkpoint)
    if choice.sha256 is None or found.sha256 in (None, choice.sha256):
        return found
    try:
        return catalogue.find(choice.sha256)
    except ModelError:
        raise ModelError(
            f"The checkpoint {found.name!r} is another file than this request was made with.",
            "Choose it again to use the file as it is now.",
            code="model_differs", field="model.checkpoint", name=found.name,
        ) from None  # fmt: skip


def as_file(checkpoint: Checkpoint, vae: Vae | None = None) -> ModelFile:
    """The plan's word for a checkpoint, with the autoencoder that takes the place of its own."""
    return ModelFile(
        name=checkpoint.name,
        path=str(checkpoint.path),
        family=checkpoint.family or "",
        stamp=checkpoint.stamp,
        sha256=checkpoint.sha256,
        prediction=cast(Prediction, checkpoint.prediction),
        zero_snr=checkpoint.zero_snr,
        vae=VaeFile(name=vae.name, path=str(vae.path), stamp=vae.stamp) if vae else None,
    )
