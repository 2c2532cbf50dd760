"""JSON from strangers: halves of surrogate pairs and deep nesting are named errors on every Python."""

import contextlib

import pytest

from modules.core import strictjson
from modules.core.errors import WorkbenchError


@pytest.mark.parametrize(
    ("text", "field"), [('{"a":{"b":"x\\ud800"}}', "a.b"), ('["\\udfff"]', "0"), ('{"\\ud800":1}', None)]
)
def test_half_a_surrogate_pair_is_422_naming_its_place(text, field):
    with pytest.raises(WorkbenchError) as raised:
        strictjson.loads(text)
    assert (raised.value.status, raised.value.field) == (422, field)


def test_whole_pairs_and_every_script_pass():
    assert strictjson.loads('{"a":"\\ud83e\\udd8a 狐狸 \\u202e"}') == {"a": "🦊 狐狸 \u202e"}


def test_depth_is_400_on_every_python():
    with pytest.raises(WorkbenchError, match="nested too deeply") as raised:
        strictjson.loads("[" * 100_000 + "]" * 100_000)
    assert raised.value.status == 400


@pytest.mark.parametrize("depth", [950, 5_000])
def test_lesser_depth_raises_nothing_else(depth):
    with contextlib.suppress(WorkbenchError):
        strictjson.loads("[" * depth + "]" * depth)
