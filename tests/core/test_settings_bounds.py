"""Settings: numbers stay within their bounds and lists hold texts, wherever the value comes from."""

import errno

import pytest

from modules.core import settings
from modules.core.errors import BadValue, WorkbenchError
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


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, "disk_full"), (errno.EROFS, "not_writable")])
def test_a_disk_that_takes_nothing_is_an_error_for_people_and_leaves_the_old_file(tmp_path, monkeypatch, number, code):
    before = settings.save(Settings(data_dir=str(tmp_path)), {"theme": "dark"})

    def refuse(descriptor):
        raise OSError(number, "no")

    monkeypatch.setattr(settings.os, "fsync", refuse)
    with pytest.raises(WorkbenchError) as raised:
        settings.save(before, {"theme": "light"})
    assert raised.value.code == code
    assert (tmp_path / "settings.toml").read_text() == 'theme = "dark"\n'
    assert not list(tmp_path.glob("*.part"))


def test_the_edges_are_inside(tmp_path):
    saved = settings.save(Settings(data_dir=str(tmp_path)), {"image_quality": 1, "extensions_off": ("a",)})
    assert (saved.image_quality, saved.extensions_off) == (1, ("a",))
