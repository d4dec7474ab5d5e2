"""Held-out scenes, which are on no page: models trained on the demo's corpora are evaluated on them.

    FOLDER/pictures/00000.jpeg ...   as a page would serve them
    FOLDER/pairs.json                each image with an English sentence, as `pairmill evaluate` reads them
    FOLDER/singles/NAME/00007.jpeg   scenes of one emoji, in the folder of its English name; one folder per concept
    FOLDER/templates.txt             sentences around a name, one per line

The scenes come from the same stream as those of the pages, so none is near a crawled one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import cycle
from pathlib import Path
from random import Random

from pipeline.smallweb.captions import languages
from pipeline.smallweb.scenes import Concept, Scene

HELD_OUT = "held-out"
PICTURES, PAIRS, SINGLES, TEMPLATES = "pictures", "pairs.json", "singles", "templates.txt"
LANG = "en"


def write_held_out(folder: Path, concepts: Sequence[Concept], scenes: Iterable[Scene], rng: Random) -> None:
    """Write the scenes and both tasks into a new folder."""
    language = languages()[LANG]
    (folder / PICTURES).mkdir(parents=True)
    for concept in concepts:
        (folder / SINGLES / concept.names[LANG]).mkdir(parents=True)
    pairs = []
    for number, scene in enumerate(scenes):
        name, things = f"{number:05}.{scene.format}", scene.things(LANG)
        (folder / PICTURES / name).write_bytes(scene.data)
        pairs.append({"image": f"{PICTURES}/{name}", "caption": [language.caption(things, scene.ground, rng)]})
        if len(things) == 1:
            (folder / SINGLES / things[0] / name).write_bytes(scene.data)
    (folder / PAIRS).write_text(json.dumps(pairs, indent=1, ensure_ascii=False), encoding="utf-8")
    forms = zip(cycle(language.forms), language.grounds)
    templates = "".join(form.format(things="{}", ground=ground) + "\n" for form, ground in forms)
    (folder / TEMPLATES).write_text(templates, encoding="utf-8")
