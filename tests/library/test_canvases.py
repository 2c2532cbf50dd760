"""Canvases by workspace: saved as what came of a revision, so that no tab overwrites another unseen."""

import pytest

from modules.core.canvas import Document, Stroke
from modules.core.errors import WorkbenchError
from modules.core.geometry import Size
from modules.library.canvases import Canvases


@pytest.fixture
def canvases(tmp_path):
    made = Canvases(tmp_path / "canvases.sqlite")
    yield made
    made.close()


def drawn(*widths):
    strokes = tuple(Stroke(width=width, points=(1.0, 2.0, 1.0)) for width in widths)
    return Document(picture="ab" * 32, size=Size(width=8, height=8), strokes=strokes)


def test_it_comes_back_as_it_was_and_workspaces_do_not_mix(canvases):
    assert canvases.load("a") == (0, Document())
    assert canvases.save("a", 0, drawn(3.0)) == 1
    assert canvases.save("a", 1, drawn(3.0, 4.5)) == 2
    assert canvases.load("a") == (2, drawn(3.0, 4.5))
    assert canvases.load("b") == (0, Document())


def test_a_tab_that_saw_an_older_one_is_told_and_overwrites_nothing(canvases):
    canvases.save("a", 0, drawn(3.0))
    with pytest.raises(WorkbenchError) as caught:
        canvases.save("a", 0, drawn(9.0))
    assert (caught.value.code, caught.value.status) == ("canvas_changed", 409)
    assert canvases.load("a") == (1, drawn(3.0))


def test_the_oldest_are_forgotten(canvases):
    for number in range(Canvases.KEEP + 3):
        canvases.save(f"w{number}", 0, drawn(1.0))
    assert canvases.load("w0").revision == 0
    assert canvases.load(f"w{Canvases.KEEP + 2}").revision == 1
