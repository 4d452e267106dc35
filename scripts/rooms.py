"""The packages of MedImageParseLib and what each is for: the picture of the developers' page is drawn from this (make_docs_pictures.py rooms)."""

from __future__ import annotations

import sys
from typing import Any

# From the top down: at file level a package imports from its own row and from the rows below it.
ROWS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    ("interfaces", (("panels", "the panel: the only package that knows Qt"), ("cli", "the command line, made from the API"),
        ("agents", "tools for agents: MCP over stdio"))),
    ("jobs", (("logic", "queue of jobs, the two Logic classes"),)),
    ("facade", (("api", "what a person calls from Python"),)),
    ("many cases", (("cohort", "batches, evaluation, statistics"),)),
    (
        "work",
        (
            ("tasks", "one file per job: arrays in, masks or vectors out"), ("azure", "Resource Manager: discovery, deployment, batch jobs"),
            ("local_endpoint", "the server of the local demo"),
        ),
    ),
    (
        "input, output",
        (
            ("wire", "requests and replies of each model, as bytes"), ("search", "the index of vectors"),
            ("files", "reading and writing files"), ("scene", "MRML: volumes out, segments in"), ("engines", "models behind the local endpoint"),
        ),
    ),
    (
        "connection",
        (
            ("transport", "one HTTP conversation, faults, retries"), ("signin", "keys, tokens, Entra"),
            ("profiles", "endpoints by name, consent"),
        ),
    ),
    ("domain", (("imaging", "geometry, windows, slabs, NIfTI bytes"), ("prompts", "targets, codes, grammar"))),
)  # fmt: skip
BASE = "models   errors   progress   (and the other files beside the packages)"


def names() -> list[str]:
    """Every package in the picture."""
    return [name for _title, row in ROWS for name, _duty in row]


def draw() -> Any:
    """The picture, as a Pillow image."""
    from PIL import Image, ImageDraw, ImageFont

    wide, high, gap, left = 1180, 74, 14, 120
    title, small = ImageFont.load_default(18), ImageFont.load_default(13)
    sheet = Image.new("RGB", (wide, len(ROWS) * (high + gap) + 76), (255, 255, 255))
    pen = ImageDraw.Draw(sheet)
    for number, (word, row) in enumerate(ROWS):
        top = gap + number * (high + gap)
        pen.text((12, top + high / 2 - 8), word, (110, 110, 110), small)
        across = (wide - left - gap) / len(row) - gap
        for column, (name, duty) in enumerate(row):
            x = left + column * (across + gap)
            own = name in ("local_endpoint", "engines")
            pen.rounded_rectangle((x, top, x + across, top + high), 8, (246, 240, 228) if own else (228, 238, 248), (120, 140, 160))
            pen.text((x + 12, top + 10), name, (20, 40, 70), title)
            for line, text in enumerate(_wrapped(duty, small, across - 20)):
                pen.text((x + 12, top + 34 + 16 * line), text, (70, 70, 70), small)
    top = gap + len(ROWS) * (high + gap)
    pen.rounded_rectangle((left, top, wide - 2 * gap, top + 44), 8, (238, 238, 238), (150, 150, 150))
    pen.text((left + 12, top + 14), BASE, (40, 40, 40), small)
    pen.text((12, top + 14), "base", (110, 110, 110), small)
    return sheet


def _wrapped(text: str, font: Any, width: float) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) > width and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


if __name__ == "__main__":
    sys.exit("This picture is made by make_docs_pictures.py rooms.")
