"""The Script fold: every script comes back from its values, mistakes name their row, and other scripts' rows stay."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.core.errors import BadValue
from modules.core.geometry import Size
from modules.core.request import GenerationRequest
from modules.core.sheet import XYZ, Along, Lines, Matrix
from modules.families.base import Defaults
from modules.planning import sheets
from modules.planning.axes import AXES
from modules.webui import forms
from modules.webui.controls import Form
from modules.webui.titles import fold_title

FORM = Form.build()
DEFAULTS = Defaults(size=Size(width=256, height=256), steps={"draft": 12, "good": 20, "best": 28}, cfg_scale=6.0,
                    sampler="DPM++ 2M")  # fmt: skip
margin = st.integers(0, 500)
along = st.builds(Along, axis=st.sampled_from([row.name for row in AXES]), values=st.text("ab1,- ", max_size=9))
seeds = st.sampled_from([(False, ()), (True, ()), (False, ("x",)), (False, ("y", "z")), (False, ("x", "z"))])
plots = st.builds(lambda own, **rest: XYZ(own_seeds=own[0], vary=own[1], **rest), own=seeds, x=along, y=along, z=along,
                  legend=st.booleans(), margin=margin)  # fmt: skip
matrices = st.builds(
    Matrix, of=st.sampled_from(["prompt", "negative_prompt"]), joined=st.sampled_from(["comma", "space"]),
    at_start=st.booleans(), own_seeds=st.booleans(), legend=st.booleans(), margin=margin,
)  # fmt: skip
lines = st.builds(Lines, text=st.text("ab\n", max_size=9), own_seeds=st.booleans(),
                  insert=st.sampled_from(["none", "start", "end"]))  # fmt: skip


def start():
    return forms.start(FORM, DEFAULTS, "a cat")


@given(script=st.none() | plots | matrices | lines)
def test_every_script_comes_back_from_the_form(script):
    request = GenerationRequest(seed=1, script=script)
    values = {**start(), **forms.values_of(request, FORM, DEFAULTS)}
    assert forms.request_of(values, FORM).script == script
    assert values["carried"] == "{}"


def test_a_form_that_nobody_touched_has_no_script():
    assert forms.request_of(start(), FORM).script is None


def test_another_script_is_kept_while_one_is_chosen():
    values = {**start(), "x_axis": "Steps", "x_values": "4, 8", "script": "lines", "lines_text": "a\nb"}
    left = {**values, **forms.values_of(forms.request_of(values, FORM), FORM, DEFAULTS)}
    assert (left["x_axis"], left["x_values"]) == ("Steps", "4, 8")
    assert isinstance(forms.request_of({**left, "script": "xyz"}, FORM).script, XYZ)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"script": "xyz", "x_axis": "Steps", "x_values": "four"}, "script.x.values"),
        ({"script": "xyz", "y_axis": "Hires steps", "y_values": "4"}, "script.y.axis"),
        ({"script": "matrix"}, "script.of"),
        ({"script": "lines"}, "script.text"),
    ],
)
def test_a_mistake_names_its_row(changes, field):
    with pytest.raises(BadValue) as caught:
        sheets.word(forms.request_of({**start(), **changes}, FORM), _NOBODY)
    assert caught.value.field == field
    assert any(row.field == field for row in FORM.controls)


def test_the_fold_says_which_script_and_along_what():
    fold = next(fold for fold in FORM.folds if fold.name == "script")
    values = {**start(), "script": "xyz", "x_axis": "Steps", "z_axis": "Sampler"}
    assert fold_title(fold, "Script", values, FORM, "en") == "Script · X/Y/Z plot, Steps × Sampler"
    assert fold_title(fold, "Script", start(), FORM, "en") == "Script · off"
    assert fold_title(fold, "脚本", {**values, "script": "lines"}, FORM, "zh") == "脚本 · 逐行提示词"


class _Nobody:
    """Phrases of somebody who keeps no styles and no wildcards."""

    def styles(self):
        return {}

    def lines(self, name):
        return None


_NOBODY = _Nobody()
