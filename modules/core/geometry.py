"""Size and Box: keyword-only, so that width and height cannot swap."""

from modules.core.part import Part


class Size(Part):
    """A picture's size in pixels."""

    width: int
    height: int

    @property
    def pixels(self) -> int:
        return self.width * self.height

    def times(self, factor: float) -> "Size":
        """Scaled and rounded to whole pixels, at least one."""
        return Size(width=max(1, round(self.width * factor)), height=max(1, round(self.height * factor)))

    def padded_to(self, multiple: int) -> "Size":
        """The smallest size that covers this one and whose sides are multiples of ``multiple``."""
        return Size(width=-(-self.width // multiple) * multiple, height=-(-self.height // multiple) * multiple)

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


class Box(Part):
    """A rectangle in pixels: left and top edge, and its size."""

    left: int
    top: int
    width: int
    height: int

    @property
    def right(self) -> int:
        return self.left + self.width

    @property
    def bottom(self) -> int:
        return self.top + self.height
