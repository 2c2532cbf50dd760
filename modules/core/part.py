"""Part: the strict, frozen base of every piece of data that is stored or crosses a process."""

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """Frozen, strict (no "512" for 512, no true for 1), no unknown fields, no NaN or infinity.

    One validation for the page, the API, infotext and stored jobs, so that none of them accepts what another refuses.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)
