"""Extensions: fields, hooks, the guard, and the loader that names the culprit."""

from dataclasses import dataclass, field
from pathlib import Path

import pluggy
import pytest

from modules.core.errors import BadValue, Cancelled, NotFound
from modules.extend.api import Extension, choice, controls, hook, make, slider, text, toggle
from modules.extend.hooks import NAMES, Hooks, check_hooks
from modules.extend.loader import discover

CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Sample(Extension):
    """Add an amount.

    More about it.
    """

    title = "Sample"
    amount: float = slider(0.5, low=0.0, high=1.0)
    count: int = slider(2, low=1, high=4)
    mode: str = choice("soft", ("soft", "hard"))
    on: bool = toggle(True)
    word: str = text("x")

    @hook
    def edit_image(self, image):
        return image + self.amount


class Guided:
    denoised = 1.0


def test_fields_become_controls():
    assert [row.kind for row in controls(Sample)] == ["slider", "slider", "choice", "toggle", "text"]
    assert controls(Sample)[0].label == "Amount"


def test_a_plain_field_is_refused():
    @dataclass(frozen=True)
    class Plain(Extension):
        amount: float = field(default=1.0)

    with pytest.raises(TypeError, match=r"Plain\.amount"):
        controls(Plain)


@pytest.mark.parametrize(
    ("settings", "bad"),
    [
        ({"amount": 2.0}, "amount"),
        ({"amount": "0.5"}, "amount"),
        ({"amount": True}, "amount"),
        ({"count": 1.5}, "count"),
        ({"mode": "loud"}, "mode"),
        ({"on": 1}, "on"),
        ({"word": "x" * 1001}, "word"),
        ({"amuont": 0.5}, "amuont"),
    ],
)
def test_bad_settings_name_the_field(settings, bad):
    with pytest.raises(BadValue) as caught:
        make(Sample, settings, "sample")
    assert caught.value.field == f"extensions.sample.{bad}"


def test_whole_numbers_pass_for_floats():
    assert make(Sample, {"amount": 1}, "sample").amount == 1


def test_a_misspelt_hook_fails_at_load():
    @dataclass(frozen=True)
    class Misspelt(Extension):
        @hook
        def after_guidence(self, guided): ...

    with pytest.raises(pluggy.PluginValidationError, match="after_guidence"):
        check_hooks(Misspelt)


def test_a_misspelt_argument_fails_at_load():
    @dataclass(frozen=True)
    class Misspelt(Extension):
        @hook
        def after_guidance(self, guidance): ...

    with pytest.raises(pluggy.PluginValidationError, match="guidance"):
        check_hooks(Misspelt)


@pytest.mark.parametrize("problem", [ValueError("no"), SystemExit(3)])
def test_a_failing_extension_is_left_out_and_its_half_edit_undone(problem):
    @dataclass(frozen=True)
    class Bad(Extension):
        @hook
        def after_guidance(self, guided):
            guided.denoised = 99.0
            raise problem

        @hook
        def edit_image(self, image):
            return image + 100

    failures = []
    hooks = Hooks([("bad", Bad()), ("sample", Sample())], failures.append)
    guided = Guided()
    hooks.after_guidance(guided)
    assert guided.denoised == 1.0
    assert [(failure.name, failure.hook) for failure in failures] == [("bad", "after_guidance")]
    assert hooks.edit_image(1.0) == 1.5
    hooks.after_guidance(guided)
    assert len(failures) == 1


def test_what_is_raised_can_be_stored_and_sent_whatever_it_says():
    """File names that are no UTF-8 come with halves of surrogate pairs, which neither JSON nor msgpack takes."""

    @dataclass(frozen=True)
    class Bad(Extension):
        @hook
        def edit_image(self, image):
            raise FileNotFoundError("caf\udce9.png " * 10_000)

    failures = []
    Hooks([("bad", Bad())], failures.append).edit_image(1)
    message = failures[0].message
    assert "caf" in message
    assert len(message.encode("utf-8")) < 10_000


def test_an_edit_in_place_is_undone_too():
    numpy = pytest.importorskip("numpy")

    class Tensor(numpy.ndarray):
        def clone(self):
            return self.copy()

    @dataclass(frozen=True)
    class Bad(Extension):
        @hook
        def after_step(self, step):
            step.x *= 2
            raise RuntimeError("half way")

    step = Guided()
    step.x = numpy.ones(3).view(Tensor)
    Hooks([("bad", Bad())], lambda failure: None).after_step(step)
    assert step.x.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("point", NAMES)
def test_every_hook_is_guarded(point):
    def explode(self):
        raise RuntimeError("boom")

    explode.__name__ = point
    kind = dataclass(frozen=True)(type("Exploding", (Extension,), {point: hook(explode)}))
    failures = []
    hooks = Hooks([("exploding", kind())], failures.append)
    value = object()
    if point == "wrap_denoiser":
        ((name, wrap),) = hooks.wrappers()
        assert (name, wrap(value)) == ("exploding", value)
    elif point in ("edit_request", "edit_conditioning", "edit_image"):
        assert getattr(hooks, point)(value) is value
    elif point in ("after_guidance", "after_step"):
        thing = Guided()
        thing.x = 2
        getattr(hooks, point)(thing)
    else:
        assert hooks.collect(point) == []
    assert failures[0].hook == point
    assert not hooks


def test_a_cancel_passes_the_guard():
    @dataclass(frozen=True)
    class Stopping(Extension):
        @hook
        def edit_image(self, image):
            raise Cancelled

    with pytest.raises(Cancelled):
        Hooks([("stopping", Stopping())], pytest.fail).edit_image(1)


def test_nothing_active_is_false():
    assert not Hooks([], pytest.fail)


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).mkdir()
    (folder / name / "extension.py").write_text(text)


GOOD = """
from dataclasses import dataclass
from modules.extend.api import Extension, hook
@dataclass(frozen=True)
class Good(Extension):
    '''Good.'''
    title = "Good"
    @hook
    def edit_image(self, image): return image
"""


def test_four_of_five_load_and_the_culprit_is_named(tmp_path):
    for index in range(4):
        write(tmp_path, f"good-{index}", GOOD)
    write(tmp_path, "needy", "import a_package_nobody_has")
    registry = discover([tmp_path])
    assert len(registry.active()) == 4
    assert "a_package_nobody_has" in registry.get("needy").problem


def test_an_import_that_exits_or_is_empty_is_listed_with_its_problem(tmp_path):
    write(tmp_path, "leaving", "import sys; sys.exit(1)")
    write(tmp_path, "empty", "")
    registry = discover([tmp_path])
    assert registry.active() == []
    assert "SystemExit" in registry.get("leaving").problem
    assert "exactly one" in registry.get("empty").problem


def test_safe_mode_does_not_import_strangers(tmp_path):
    marker = tmp_path / "imported"
    write(tmp_path, "stranger", f"open({str(marker)!r}, 'w')" + GOOD)
    registry = discover([tmp_path, CHECKOUT / "extensions"], safe_mode=True)
    assert not marker.exists()
    assert not registry.get("stranger").active
    assert registry.get("rescale-cfg").active
    assert "safe mode" in registry.get("stranger").problem
    assert registry.names_off() == ()  # what is saved now holds for the next start, too


def test_switching_off_refuses_requests_that_name_it(tmp_path):
    write(tmp_path, "good", GOOD)
    registry = discover([tmp_path])
    generation = registry.generation
    assert registry.make({"good": {}})
    registry.set_enabled("good", False)
    assert registry.generation > generation
    assert registry.names_off() == ("good",)
    with pytest.raises(BadValue, match="switched off"):
        registry.make({"good": {}})
    with pytest.raises(BadValue, match="not installed"):
        registry.make({"absent": {}})
    with pytest.raises(NotFound):
        registry.set_enabled("absent", True)


def test_three_failures_in_a_row_switch_it_off(tmp_path):
    write(tmp_path, "good", GOOD)
    registry = discover([tmp_path])
    assert not registry.count_failure("good")
    assert not registry.count_failure("good")
    registry.count_success(["good"])
    assert [registry.count_failure("good") for _ in range(3)] == [False, False, True]
    assert not registry.get("good").enabled


def test_builtin_extensions_load_without_torch():
    import subprocess
    import sys

    code = (
        "import sys; from pathlib import Path; from modules.extend.loader import discover;"
        "rows = discover([Path('extensions')]).all(); assert rows and all(r.active for r in rows), rows;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=CHECKOUT, timeout=60)
