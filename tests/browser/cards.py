"""Makes the pictures of the first start's cards with the starter model: python -m tests.browser.cards.

Run it whenever the starter changes; the prompts and seeds are in modules/webui/words/first.toml.
"""

import tempfile
import time
import tomllib
from pathlib import Path

from PIL import Image

from modules.core.request import GenerationRequest
from modules.core.settings import CHECKOUT, Settings
from modules.prompt.vocabulary import unknown_words
from modules.webui import forms
from modules.webui.controls import Form
from modules.webui.models import Models

WEBUI = CHECKOUT / "modules" / "webui"


def main():
    from modules.jobs.studio import Studio

    rows = tomllib.loads((WEBUI / "words" / "first.toml").read_text("utf-8"))["card"]
    folder = WEBUI / "static" / "first"
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as data:
        studio = Studio.open(Settings(data_dir=data, engine="thread"))
        form, models = Form.build(), Models(studio)
        vocabulary = models.vocabulary() or {}
        for row in rows:
            if unknown_words(row["prompt"], vocabulary):
                (folder / f"{row['name']}.webp").unlink(missing_ok=True)  # a picture of what it cannot draw misleads
                continue
            values = {**forms.start(form, models.defaults(""), row["prompt"]), "seed": str(row["seed"])}
            picture = made(studio, forms.request_of(values, form))
            Image.open(picture).convert("RGB").save(folder / f"{row['name']}.webp", quality=88, method=6)
            print(row["name"], flush=True)
        studio.close()


def made(studio, request: GenerationRequest) -> Path:
    """Queue one request and wait for its file."""
    job = studio.queue.submit(request, client="cards", workspace="")
    while not job.has_ended:
        time.sleep(0.2)
        job = studio.queue.job(job.id)
    if job.state != "finished":
        raise RuntimeError(job.error)
    return studio.gallery.path(job.images[0][1])


if __name__ == "__main__":
    main()
