"""How often pictures show what their prompts say, for held-out combinations, judged in pixels where it is honest."""

# diffusers types its parts loosely ("Tensor | Module", no stubs): these checks would only repeat that
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from modules.training import judge as judging
from modules.training.captions import Mood, tell
from modules.training.diffusion import sample
from modules.training.gallery import Gallery
from modules.training.networks import LATENT_SCALE, Networks
from modules.training.pool import scene_of
from modules.training.scenes import SPOT_CENTRES, colour_allowed, held_out_combinations, sample_scene
from modules.training.world import COLOURS, PLACE_LIGHTS, PLACE_WEATHERS, PLACES, STYLES, THINGS, TINTS, Placed, Scene

Marks = dict[str, dict[str, list[bool]]]
LANGUAGES = ("en", "zh")
PLAIN_STYLE = STYLES[0].name


@dataclass(frozen=True)
class Question:
    """A prompt and the scene that it asks for."""

    prompt: str
    scene: Scene
    language: str


def _one_of(rng: np.random.Generator, choices: Sequence[str]) -> str:
    return choices[int(rng.integers(len(choices)))]


def held_out_questions(limit: int) -> list[Question]:
    """Prompts of combinations of thing, colour and ground that no training picture shows, half in each language.

    A third of them in other styles than the picture book, places in any light that lets the colour be seen.
    """
    rng = np.random.default_rng(11)
    questions: dict[str, list[Question]] = {language: [] for language in LANGUAGES}
    for language in LANGUAGES:
        for thing, colour, ground in held_out_combinations(language):
            tint, place = (ground, None) if ground in TINTS else (None, ground)
            style = _one_of(rng, [style.name for style in STYLES]) if rng.random() < 0.4 else PLAIN_STYLE
            light = _one_of(rng, PLACE_LIGHTS[place]) if place else "day"
            for light_now, style_now in ((light, style), ("day", style), ("day", PLAIN_STYLE)):
                if colour_allowed(colour, tint, place, light_now, style_now):
                    break
            else:
                continue
            placed = Placed(thing, colour, 0.5, 0.5, 0.25, (None, "left", "right")[rng.integers(3)])
            questions[language].append(ask(Scene((placed,), tint, place, light_now, 0, None, style_now), language, rng))
        rng.shuffle(questions[language])  # type: ignore[arg-type]
    each = [question for pair in zip(*questions.values(), strict=False) for question in pair]
    return each[:limit]


def ask(scene: Scene, language: str, rng: np.random.Generator) -> Question:
    """The scene as a prompt, a sentence or tags, that says everything which is judged."""
    placed = {f"spot{k}" for k, thing in enumerate(scene.kinds) if thing.spot}
    while True:
        told = tell(scene, rng, Mood(language, ("sentence", "tags")[rng.integers(2)], False, False))
        if "ground" in told.said and (not placed or placed & told.said):
            return Question(told.text, scene, language)


def pair_questions(count: int) -> list[Question]:
    """Two different things side by side, in different colours, on plain grounds and in places, languages in turn."""
    rng = np.random.default_rng(12)
    questions: list[Question] = []
    while len(questions) < count:
        tint = _one_of(rng, tuple(TINTS)) if rng.random() < 0.5 else None
        place = None if tint else _one_of(rng, [word.name for word in PLACES])
        things = rng.choice([thing.name for thing in THINGS], 2, replace=False)
        colours = rng.choice([colour.name for colour in COLOURS], 2, replace=False)
        if all(colour_allowed(str(colour), tint, place, "day") for colour in colours):
            placed = tuple(
                Placed(str(t), str(c), 0, 0, 0, s) for t, c, s in zip(things, colours, ("left", "right"), strict=True)
            )
            scene = Scene(placed, tint, place, "day", 0)
            questions.append(ask(scene, LANGUAGES[len(questions) % 2], rng))
    return questions


def several_questions(count: int) -> list[Question]:
    """Two or three of one kind."""
    questions, seed = [], 7_000_000_000
    rng = np.random.default_rng(13)
    while len(questions) < count:
        scene = sample_scene(seed)
        seed += 1
        if scene.count > 1:
            questions.append(ask(replace(scene, style=PLAIN_STYLE), LANGUAGES[len(questions) % 2], rng))
    return questions


def weather_questions(count: int) -> list[Question]:
    """One thing in a place with weather."""
    rng = np.random.default_rng(15)
    questions: list[Question] = []
    while len(questions) < count:
        place = _one_of(rng, tuple(PLACE_WEATHERS))
        weather, thing = _one_of(rng, PLACE_WEATHERS[place]), _one_of(rng, [thing.name for thing in THINGS])
        scene = Scene((Placed(thing, "red", 0.5, 0.5, 0.25),), None, place, "day", 0, weather)
        questions.append(ask(scene, LANGUAGES[len(questions) % 2], rng))
    return questions


@torch.no_grad()
def draw(
    networks: Networks, prompts: list[str], *, guidance_scale: float, steps: int, size: int, device: str, batch: int
) -> Tensor:
    """Pictures [n 3 size size] in -1..1 for the prompts, on the CPU."""
    pictures = []
    for k in range(0, len(prompts), batch):
        some = prompts[k : k + batch]
        latents = sample(
            networks.unet, networks.text, some, seed=100 + k, size=size, steps=steps, guidance_scale=guidance_scale,
            device=device,
        )  # fmt: skip
        with torch.autocast(device.split(":")[0], torch.bfloat16, enabled=device != "cpu"):
            for few in (latents / LATENT_SCALE).split(16):
                shown = networks.vae.decode(few).sample  # type: ignore[arg-type]  # any tensor of floats will do
                pictures.append(shown.float().clamp(-1, 1).cpu())
    return torch.cat(pictures)


def score(questions: Iterable[Question], verdicts: Iterable[judging.Verdict]) -> Marks:
    """What was right: aspect -> group (all, a language, thing, colour, ground, style, light) -> one truth a picture."""
    marks: Marks = defaultdict(lambda: defaultdict(list))
    for question, verdict in zip(questions, verdicts, strict=True):
        scene = question.scene
        wanted = scene.things[0]
        groups = ("all", question.language, wanted.thing, wanted.colour, scene.ground, scene.style, scene.light)
        first = verdict.things[0] if verdict.things else None
        right = {"class": bool(first and first.thing == wanted.thing)}
        if first:
            right["colour"] = first.colour == wanted.colour
            if wanted.spot in ("left", "right"):
                right["left or right"] = (first.x < 0.5) == (SPOT_CENTRES[wanted.spot][0] < 0.5)
        if scene.tint:
            right["ground"] = verdict.looks["tint"] == scene.tint
            if scene.style == PLAIN_STYLE:
                right["ground in pixels"] = verdict.rim == scene.tint
        else:
            right["place"] = verdict.looks["place"] == scene.place
            right["light"] = verdict.looks["light"] == scene.light
            if scene.weather:
                right["weather"] = verdict.looks["weather"] == scene.weather
        right["style"] = verdict.looks["style"] == scene.style
        if scene.count > 1:
            right["count"] = bool(first and first.count == scene.count)
        for aspect, truth in right.items():
            for group in groups:
                marks[aspect][group].append(truth)
    return marks


def score_pairs(questions: Iterable[Question], verdicts: Iterable[judging.Verdict]) -> Marks:
    """For two things: both classes found, both in their colours, and in the asked order."""
    marks: Marks = defaultdict(lambda: defaultdict(list))
    for question, verdict in zip(questions, verdicts, strict=True):
        seen = {thing.thing: thing for thing in verdict.things}
        kinds = question.scene.kinds
        pair = [seen.get(placed.thing) for placed in kinds]
        left, right = pair
        truths = {
            "both classes": all(pair),
            "both classes and colours": all(one and one.colour == p.colour for one, p in zip(pair, kinds, strict=True)),
            "both classes in order": bool(left and right and left.x < right.x),
        }
        for aspect, truth in truths.items():
            for group in ("all", question.language):
                marks[aspect][group].append(truth)
    return marks


def share(truths: list[bool]) -> str:
    """A share as text, with how many it is of."""
    return f"{100 * sum(truths) / max(len(truths), 1):5.1f} % ({len(truths)})"


def table(title: str, marks: Marks) -> list[str]:
    """A heading and one line for each aspect: all, English, Chinese."""
    lines = [title]
    for aspect, groups in marks.items():
        shares = "  ".join(f"{group} {share(groups[group])}" for group in ("all", *LANGUAGES) if groups.get(group))
        lines.append(f"  {aspect:26} {shares}")
    return lines


def by_word(marks: Marks) -> list[str]:
    """Class by thing, colour by colour, ground and place by name, style by name."""
    names = {
        "class": [thing.name for thing in THINGS],
        "colour": [colour.name for colour in COLOURS],
        "ground": list(TINTS),
        "place": [place.name for place in PLACES],
        "style": [style.name for style in STYLES],
    }
    return [
        f"  {aspect} by word: " + ", ".join(f"{w} {share(marks[aspect][w])}" for w in words if marks[aspect].get(w))
        for aspect, words in names.items()
    ]


def mistakes(questions: Sequence[Question], verdicts: Sequence[judging.Verdict]) -> str:
    """The most frequent mistakes in class and colour."""
    wrong: Counter[str] = Counter()
    for question, verdict in zip(questions, verdicts, strict=True):
        wanted, first = question.scene.things[0], verdict.things[0] if verdict.things else None
        if first is None:
            wrong[f"{wanted.thing} -> nothing"] += 1
        elif first.thing != wanted.thing:
            wrong[f"{wanted.thing} -> {first.thing}"] += 1
        elif first.colour != wanted.colour:
            wrong[f"{wanted.colour} -> {first.colour}"] += 1
    return "  most frequent mistakes: " + ", ".join(f"{name} {count}" for name, count in wrong.most_common(15))


def single(scenes: Sequence[Scene]) -> list[int]:
    """Which of the scenes show one thing."""
    return [k for k, scene in enumerate(scenes) if len(scene.things) == 1]


@torch.no_grad()
def judge_itself(judge: judging.Judge, gallery: Gallery, span: range, networks: Networks | None, device: str) -> Marks:
    """The judge's accuracy on renders it never saw, as they are or after the model's autoencoder."""
    scenes = [scene_of(gallery.seeds[k])[0] for k in span]
    chosen = torch.tensor([span[k] for k in single(scenes)], device=gallery.pictures.device)
    asked = [Question("", scenes[k], "render") for k in single(scenes)]
    verdicts: list[judging.Verdict] = []
    for some in chosen.split(16):
        pictures = gallery.whole(some).to(device)
        if networks is not None:
            latents = networks.vae.encode(pictures).latent_dist.mean
            pictures = networks.vae.decode(latents).sample.clamp(-1, 1)
        verdicts += judging.look(judge, pictures)
    return score(asked, verdicts)


def report_figures(
    networks: Networks,
    judge: judging.Judge,
    *,
    say: Callable[[str], None],
    device: str = "cpu",
    size: int = 256,
    guidance_scale: float = 6.0,
    steps: int = 20,
    limit: int = 300,
    pairs: int = 80,
    others: int = 40,
    batch: int = 16,
    is_over: Callable[[], bool] = lambda: False,
) -> Tensor:
    """Say all tables; returns the pictures of the first questions for a sheet, [n 3 size size].

    `is_over` is asked between the groups, so that a run that is late says the most important ones at least.
    """

    def judged(questions: list[Question]) -> tuple[Tensor, list[judging.Verdict]]:
        drawn = draw(
            networks, [q.prompt for q in questions], guidance_scale=guidance_scale, steps=steps, size=size,
            device=device, batch=batch,
        )  # fmt: skip
        return drawn, [v for some in drawn.split(32) for v in judging.look(judge, some.to(device))]

    questions = held_out_questions(limit)
    pictures, verdicts = judged(questions)
    marks = score(questions, verdicts)
    title = f"one thing, {len(questions)} prompts of held-out combinations, CFG {guidance_scale}, {steps} steps"
    for line in (*table(title, marks), *by_word(marks), mistakes(questions, verdicts)):
        say(line)
    if pairs and not is_over():
        questions = pair_questions(pairs)
        _, verdicts = judged(questions)
        say("\n".join(table(f"two things, {len(questions)} prompts", score_pairs(questions, verdicts))))
    for name, asked in (("two or three of one kind", several_questions), ("weather", weather_questions)):
        if others and not is_over():
            questions = asked(others)
            _, verdicts = judged(questions)
            marks = score(questions, verdicts)
            kept = {aspect: marks[aspect] for aspect in ("class", "colour", "count", "weather") if aspect in marks}
            say("\n".join(table(f"{name}, {len(questions)} prompts", kept)))
    return pictures[:64]
