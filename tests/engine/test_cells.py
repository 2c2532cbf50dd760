"""A sheet in the engine: every cell the picture that it is alone, in the cheapest order, no prompt read twice."""

import numpy as np
import pytest

from modules.core.errors import Cancelled
from modules.engine.run import fulfil
from modules.families.analytic import AnalyticModel
from modules.planning.sheets import word
from tests.engine.bench import Bench, KeepingJob, pixels, request
from tests.planning.test_wording import PHRASES


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def sheet(x=("Nothing", ""), y=("Nothing", ""), **changed):
    script = {"kind": "xyz", "x": {"axis": x[0], "values": x[1]}, "y": {"axis": y[0], "values": y[1]}}
    return word(request(script=script, **changed), PHRASES).request


def fulfilled(bench, asked, pictures=None, job=None):
    job = job or KeepingJob()
    fulfil(asked, pictures, bench.catalogue, bench.workshop, job)
    return job


def test_each_cell_is_the_picture_alone_under_its_own_number(bench):
    asked = sheet(("Steps", "2, 3"), ("CFG Scale", "1, 2"))
    job = fulfilled(bench, asked)
    made = {event.picture: pixels(event) for event in job.of("image_made")}
    assert sorted(made) == [0, 1, 2, 3]
    for picture, image in made.items():
        alone = fulfilled(bench, asked.at(picture)).images()[0]
        np.testing.assert_array_equal(image, alone)
    assert len({image.tobytes() for image in made.values()}) == 4
    told = [step.progress for step in job.of("step")]
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1.0)


def test_a_plot_over_cfg_reads_no_prompt_twice(bench, monkeypatch):
    read = []
    plain = AnalyticModel.encode

    def encode(self, *given, **more):
        read.append(given)
        return plain(self, *given, **more)

    monkeypatch.setattr(AnalyticModel, "encode", encode)
    fulfilled(bench, request())
    once = len(read)
    assert once > 0
    other = sheet(("CFG Scale", "1.5-4 [6]"), ("Steps", "2, 3"), prompt="blue dog", negative_prompt="fog")
    fulfilled(bench, other)
    assert len(read) - once == 2, "the prompt and the negative prompt, each once for twelve cells"


def test_the_slow_axis_is_outermost(bench):
    asked = sheet(("Prompt S/R", "red, blue"), ("Steps", "1-3"))
    assert [event.picture for event in fulfilled(bench, asked).of("image_made")] == [0, 2, 4, 1, 3, 5]


def test_only_what_is_missing_is_made_again(bench):
    asked = sheet(("Seed", "1-4"))
    whole = {event.picture: event.pixels for event in fulfilled(bench, asked).of("image_made")}
    rest = fulfilled(bench, asked, [3, 1]).of("image_made")
    assert {event.picture: event.pixels for event in rest} == {1: whole[1], 3: whole[3]}
    assert [(event.picture, event.seed) for event in rest] == [(1, 2), (3, 4)]


def test_one_cell_is_skipped_and_the_job_is_stopped(bench):
    def skip(job, event):
        if event.type == "step" and event.picture == 1:
            job.skipped.add(1)

    asked = sheet(("Seed", "1-4"))
    job = fulfilled(bench, asked, job=KeepingJob(skip))
    assert [event.picture for event in job.of("image_made")] == [0, 2, 3]

    def stop(job, event):
        job.cancelled = event.type == "step" and event.picture == 2

    job = KeepingJob(stop)
    with pytest.raises(Cancelled):
        fulfilled(bench, asked, job=job)
    assert [event.picture for event in job.of("image_made")] == [0, 1]
