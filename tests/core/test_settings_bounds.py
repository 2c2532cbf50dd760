"""Settings: numbers stay within their bounds and lists hold texts, wherever the value comes from."""

import pytest

from modules.core import settings
from modules.core.errors import BadValue
from modules.core.settings import Settings


@pytest.mark.parametrize(
    ("name", "value"),
    [("image_quality", 0), ("image_quality", 101), ("image_quality", 10**30), ("extensions_off", ("a", 3)),
     ("extensions_off", ({},))],
)  # fmt: skip
def test_a_value_outside_is_refused_and_nothing_is_written(tmp_path, name, value):
    with pytest.raises(BadValue) as raised:
        settings.save(Settings(data_dir=str(tmp_path)), {name: value})
    assert raised.value.field == name
    assert list(tmp_path.iterdir()) == []


def test_a_port_outside_is_refused():
    with pytest.raises(BadValue, match="outside 1-65535"):
        settings.load(["--port", "70000"], {})


def test_the_edges_are_inside(tmp_path):
    saved = settings.save(Settings(data_dir=str(tmp_path)), {"image_quality": 1, "extensions_off": ("a",)})
    assert (saved.image_quality, saved.extensions_off) == (1, ("a",))
