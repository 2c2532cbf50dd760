"""Workshop: everything that outlives a job on one device: loaded models, the numerics profile, how long things take."""

from typing import Any

import torch

from modules.core.errors import BadValue
from modules.core.settings import Settings
from modules.engine import loading, numerics
from modules.engine.pace import Pace
from modules.engine.residency import Residency, free_bytes, total_bytes
from modules.extend.loader import Registry
from modules.families.base import Numerics
from modules.library import blobs
from modules.library.blobs import Blobs
from modules.library.upscalers import Upscalers

NOTES = "numerics.json"  # in the data folder


class Workshop:
    """One device and what stands ready on it. One job at a time."""

    def __init__(self, settings: Settings, extensions: Registry | None = None) -> None:
        self.settings = settings
        self.extensions = extensions if extensions is not None else Registry(())
        self.device = device_for(settings.device)
        self.residency = Residency(self.device, loading.load, loading.examine)
        self.pace = Pace()
        self.upscalers = Upscalers(settings.model_folders, settings.data)
        self.inputs = Blobs(settings.data / blobs.FOLDER, reads_only=True)
        self._profile: Numerics | None = None

    def numerics(self, name: str) -> Numerics:
        """The profile of that name; "auto" is found by a measurement once a machine and kept in the data folder."""
        if name != "auto":
            return numerics.named(name)
        if self._profile is None:
            self._profile = numerics.profile(self.settings.numerics, self.device, self.settings.data / NOTES)
        return self._profile

    def describe(self) -> dict[str, Any]:
        """``model`` (the last one used, or empty), ``device``, all ``held``, and a GPU's memory; plain data."""
        loaded = self.residency.ledger()
        about = {"model": self.residency.newest(), "device": str(self.device), "held": loaded}
        if self.device.type == "cuda":
            about |= {"free_bytes": free_bytes(self.device), "total_bytes": total_bytes(self.device)}
        return about

    def close(self) -> None:
        """Let everything go."""
        self.residency.unload()


def device_for(name: str) -> torch.device:
    """The device of a setting: "auto" is a GPU where there is one; raises BadValue for one that is not there."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise BadValue(
            f"The device {name!r} is not here.", "Use auto, cpu, cuda, cuda:N or mps.", field="device"
        ) from None
    return device
