"""What extensions add to the program: samplers, schedules, families, routes; and the word that a picture is saved."""

import threading

import pytest
from fastapi.testclient import TestClient

from modules.core import sampling
from modules.core.errors import BadValue
from modules.core.request import GenerationRequest, Sampling
from modules.core.settings import Settings
from modules.extend.loader import discover
from modules.families import analytic
from modules.families.base import FAMILIES
from modules.jobs.extensions import announce
from modules.jobs.studio import Studio

ADDING = '''
from dataclasses import dataclass, replace
from modules.core.sampling import SamplerFacts, ScheduleFacts
from modules.extend.api import Extension, hook
saved = []

def walk(denoiser, x, sigmas, noise):
    """Straight to the first x0."""
    from modules.engine.denoise import Step
    for i, sigma in enumerate(sigmas[:-1]):
        denoised = denoiser(x, sigma).x0
        yield Step(i, sigma, denoised, denoised, 0.0)
        return

@dataclass(frozen=True)
class Adding(Extension):
    """Add things."""
    title = "Adding"
    @hook
    def register_samplers(self, samplers):
        samplers.add(SamplerFacts("One leap"), walk)
        samplers.add(SamplerFacts("Euler"), walk)
    @hook
    def register_schedules(self, schedules):
        schedules.add(ScheduleFacts("Halves", "halves"), lambda n, times: [10 / 2**i for i in range(n)] + [0.0])
    @hook
    def register_families(self, families):
        from modules.families.analytic import ANALYTIC
        class Guest(type(ANALYTIC)):
            name = "guest"
        families.append(Guest())
    @hook
    def add_routes(self, router):
        @router.get("/hello")
        def hello():
            return {"hello": "there"}
    @hook
    def image_saved(self, picture):
        saved.append(picture.id)
'''

FAILING = '''
from dataclasses import dataclass
from modules.extend.api import Extension, hook

@dataclass(frozen=True)
class Failing(Extension):
    """Fail."""
    title = "Failing"
    @hook
    def register_samplers(self, samplers):
        raise ValueError("no")
'''


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "extensions" / "adding").mkdir(parents=True)
    (tmp_path / "extensions" / "adding" / "extension.py").write_text(ADDING)
    return tmp_path


@pytest.fixture(autouse=True)
def _no_guests_left():
    yield
    sampling.set_guests([], [])
    from modules.engine import guests
    from modules.extend.registers import Registers
    from modules.families.base import set_guests

    guests.seat(Registers())
    set_guests([])


def test_names_come_and_go_with_the_switch(folder):
    registry = discover([folder / "extensions"])
    registry.on_change(lambda: announce(registry, lambda failure: pytest.fail(str(failure))))
    assert sampling.find_sampler("one leap").name == "One leap"
    assert sampling.find_schedule("halves").name == "Halves"
    assert "guest" in [family.name for family in FAMILIES]
    assert [row.name for row in sampling.SAMPLERS].count("Euler") == 1, "a built-in name was taken"
    registry.set_enabled("adding", False)
    with pytest.raises(BadValue):
        sampling.find_sampler("One leap")
    assert "guest" not in [family.name for family in FAMILIES]


def test_an_added_sampler_and_schedule_make_a_picture_and_its_saving_is_told(folder):
    """Through the real studio: queue, thread engine, analytic family, files."""
    pytest.importorskip("torch")
    models = folder / "models" / "Stable-diffusion"
    models.mkdir(parents=True)
    analytic.write_checkpoint(models / "analytic.safetensors")
    settings = Settings(data_dir=str(folder), engine="thread", device="cpu", numerics="safe")
    studio = Studio.open(settings)
    try:
        request = GenerationRequest.from_data(
            {
                "prompt": "red",
                "seed": 1,
                "size": {"width": 64, "height": 64},
                "model": {"checkpoint": "analytic"},
                "sampling": {"sampler": "One leap", "schedule": "Halves", "steps": 3},
                "extensions": {"adding": {}},
            }
        )
        job = studio.queue.submit(request, client="test", workspace="")
        _wait(lambda: studio.queue.job(job.id).state not in ("queued", "running"))
        ended = studio.queue.job(job.id)
        assert ended.state == "finished", ended.error
        saved = studio.extensions.get("adding").kind.image_saved.__globals__["saved"]
        _wait(lambda: saved)
        assert saved == [ended.images[0][1]]
    finally:
        studio.close()


def test_routes_answer_behind_the_gate_until_switched_off(folder):
    from modules.httpapi.server import build_app

    studio = Studio.open(Settings(data_dir=str(folder), engine="thread", device="cpu", numerics="safe"))
    try:
        with TestClient(build_app(studio), base_url="http://127.0.0.1:7860") as client:
            assert client.get("/x/adding/hello").json() == {"hello": "there"}
            assert client.get("/x/absent/hello").status_code == 404
            assert client.get("/x/adding/hello", headers={"host": "evil.example"}).status_code == 421
            studio.extensions.set_enabled("adding", False)
            assert client.get("/x/adding/hello").status_code == 404
    finally:
        studio.close()


def test_one_that_fails_while_settings_change_is_switched_off_and_the_settings_stay_open(folder):
    other = folder / "extensions" / "failing"
    other.mkdir()
    (other / "extension.py").write_text(FAILING)
    studio = Studio(Settings(data_dir=str(folder), engine="thread"), "tests.jobs.fakes:open_fake_thread", {})

    def switch_back_and_forth():
        for off in (("adding",), ()):
            studio.change_settings({"extensions_off": off})

    changing = threading.Thread(target=switch_back_and_forth, daemon=True)
    changing.start()
    changing.join(20.0)
    assert not changing.is_alive()
    assert studio.extensions.names_off() == studio.settings.extensions_off == ("failing",)
    studio.close()


def test_sampling_defaults_are_built_in():
    assert Sampling().sampler == sampling.SAMPLERS[0].name


def _wait(done, seconds=60.0):
    event = threading.Event()
    for _ in range(int(seconds / 0.05)):
        if done():
            return
        event.wait(0.05)
    pytest.fail("it did not happen in time")
