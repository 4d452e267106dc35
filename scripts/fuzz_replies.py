"""Feed the client damaged replies and watch for crashes, hangs and memory: `python3 scripts/fuzz_replies.py [--seconds 300]`.

Half of the time goes to whole HTTP replies (see fuzz_http.py), half to the decoders of their bodies; `--only` chooses one.

Every documented reply form is taken as a seed and damaged in one or several ways: bytes changed, cut or doubled, numbers of the JSON
made huge, negative or of another kind, cells replaced, headers of the NIfTI inside changed, gzip bombs put in. A decoder may accept
what is left or refuse it with a ReplyError; anything else is a finding. It also is one when a decoder takes longer than HANG seconds,
or more memory than four times what the largest thing it was given or was allowed to make.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import json
import random
import sys
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent
ROOT = SCRIPTS.parent
sys.path[:0] = [str(SCRIPTS), str(ROOT / "MedImageParseExtension" / "MedImageParse"), str(ROOT / "Testing")]

HANG = 20.0  # seconds
SHAPE_IJK = (7, 9, 5)
SIDE = 16
PROMPTS = 3
_ODD = [0, -1, 1, 2**31, 2**63, 10**30, -(10**9), 1.5, 1e308, True, None, "", "0", [], {}, [[[]]], "\u0000", "NaN"]


def seeds() -> list[tuple[bytes, Callable[[bytes], object]]]:
    """(reply, decoder) pairs: all documented forms of the three models."""
    import numpy as np

    from doubles import forms
    from MedImageParseLib.wire import medimageinsight, medimageparse, medimageparse3d

    rng = np.random.default_rng(11)
    volumes = [rng.random(SHAPE_IJK) > 0.7 for _ in range(PROMPTS)]
    pictures = [rng.random((SIDE, SIDE)) > 0.5 for _ in range(PROMPTS)]
    found: list[tuple[bytes, Callable[[bytes], object]]] = []
    for form in forms.VOLUME_FORMS.values():
        masks = volumes[:1] if form.volume == "single" else volumes
        body = forms.wrap([forms.volume_row(masks, np.eye(4), form)], form, "azureml")
        found.append((body, lambda reply, count=len(masks): medimageparse3d.parse_reply(reply, count, SHAPE_IJK[::-1], True)))
    for form in forms.PICTURE_FORMS.values():
        body = forms.wrap([forms.picture_row(pictures, form)], form, "azureml")
        found.append((body, lambda reply: medimageparse.parse_reply(reply, 1, PROMPTS, (SIDE, SIDE))))
    vector = rng.normal(size=1024).round(4).tolist()
    row = {"image_features": [vector], "text_features": vector, "scaling_factor": 4.513362}
    for column in ("image_features", "text_features"):
        found.append((json.dumps([row]).encode(), lambda reply, name=column: medimageinsight.parse_reply(reply, 1, name)))
    return found


def damage(reply: bytes, rng: random.Random) -> bytes:
    """A reply with one to three things wrong."""
    for _ in range(rng.randint(1, 3)):
        reply = rng.choice((_change_bytes, _cut, _double, _change_json, _change_json, _change_inside, _change_inside))(reply, rng)
    return reply


def _change_bytes(reply: bytes, rng: random.Random) -> bytes:
    changed = bytearray(reply)
    for _ in range(rng.randint(1, 8)):
        if changed:
            changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _cut(reply: bytes, rng: random.Random) -> bytes:
    return reply[: rng.randrange(len(reply) + 1)]


def _double(reply: bytes, rng: random.Random) -> bytes:
    if len(reply) < 2 or len(reply) > 1_000_000:
        return reply
    start = rng.randrange(len(reply) - 1)
    return reply[:start] + reply[start : start + rng.randint(1, 400)] * rng.randint(2, 9) + reply[start:]


def _change_json(reply: bytes, rng: random.Random) -> bytes:
    """One value somewhere in the outer or the inner JSON becomes something odd."""
    try:
        outer = json.loads(reply)
    except (ValueError, RecursionError):
        return reply
    holder, key = _somewhere(outer, rng)
    if holder is None:
        return json.dumps(rng.choice(_ODD)).encode()
    value = holder[key]
    if isinstance(value, str) and value.startswith("{") and rng.random() < 0.8:
        holder[key] = _change_json(value.encode(), rng).decode("utf-8", "replace")
    else:
        holder[key] = rng.choice(_ODD)
    return json.dumps(outer).encode()


def _change_inside(reply: bytes, rng: random.Random) -> bytes:
    """The base64 data inside: a changed header field, another length, a bomb."""
    try:
        outer = json.loads(reply)
        rows = outer["predictions"] if isinstance(outer, dict) else outer
        name = "nifti_file" if "nifti_file" in rows[0] else "image_features"
        cell = rows[0][name]
        inner = json.loads(cell) if isinstance(cell, str) else cell
        data = base64.b64decode(inner["data"])
        packed = data[:2] == b"\x1f\x8b"
        data = gzip.decompress(data) if packed else data
    except (ValueError, KeyError, TypeError, IndexError, EOFError, OSError, RecursionError, zlib.error):
        return reply
    data = bytearray(data)
    kind = rng.randrange(4)
    if kind == 0 and len(data) >= 352:
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(352)] = rng.choice((0, 1, 127, 128, 255))
    elif kind == 1:
        data = data[: rng.randrange(len(data) + 1)]
    elif kind == 2:
        data += bytes(50_000_000 if rng.random() < 0.03 else rng.choice((1, 100, 10_000)))
    elif data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    inner["data"] = base64.b64encode(gzip.compress(bytes(data), 1) if packed else bytes(data)).decode()
    rows[0][name] = json.dumps(inner) if isinstance(cell, str) else inner
    return json.dumps(outer).encode()


def _somewhere(value: object, rng: random.Random) -> tuple[object, object]:
    holder, key = None, None
    while isinstance(value, (dict, list)) and value:
        holder, key = value, rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
        value = holder[key]
        if rng.random() < 0.3:
            break
    return holder, key


def fuzz(seconds: float, seed: int, report: Callable[[str], None] = print, most: int = sys.maxsize) -> tuple[int, list[str]]:
    """Damage and decode until the time is up, or so many replies have been tried.

    Returns:
        how many replies were decoded, and the findings, one line each (empty is what it should be).
    """
    from MedImageParseLib.errors import ReplyError

    rng = random.Random(seed)
    known = seeds()
    for reply, decode in known:
        decode(reply)  # every seed is good before it is damaged
    findings: list[str] = []
    allowed = max(8 * SHAPE_IJK[0] * SHAPE_IJK[1] * SHAPE_IJK[2] * PROMPTS, 8 * SIDE * SIDE * PROMPTS)
    tried, refused, until = 0, 0, time.monotonic() + seconds
    tracemalloc.start()
    while time.monotonic() < until and tried < most and len(findings) < 20:
        reply, decode = rng.choice(known)
        reply = damage(reply, rng)
        tracemalloc.reset_peak()
        before, start = tracemalloc.get_traced_memory()[0], time.monotonic()
        trouble = ""
        try:
            decode(reply)
        except ReplyError:
            refused += 1
        except Exception as error:  # the very thing that is looked for
            trouble = f"{type(error).__name__}: {error}"[:200]
        tried += 1
        spent, peak = time.monotonic() - start, tracemalloc.get_traced_memory()[1] - before
        if spent > HANG:
            trouble = trouble or f"took {spent:.1f} s"
        if peak > 4 * (len(reply) + allowed) + 8_000_000:  # 8 MB: buffers of fixed size
            trouble = trouble or f"took {peak / 1e6:.0f} MB for a reply of {len(reply) / 1e6:.1f} MB"
        if trouble:
            findings.append(f"{trouble} (reply number {tried} of seed {seed}; it begins {reply[:80]!r})")
            report(findings[-1])
    tracemalloc.stop()
    report(
        f"{tried} damaged replies: {tried - refused - len(findings)} still readable, {refused} refused with a sentence, {len(findings)} findings"
    )
    return tried, findings


def main() -> int:
    """Returns 1 where anything was found."""
    import environment

    parser = argparse.ArgumentParser(description="Fuzz HTTP replies and the decoders of their bodies.")
    parser.add_argument("--seconds", type=float, default=300, help="in all (default 300)")
    parser.add_argument("--only", choices=("http", "bodies"), help="one of the two")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    environment.ensure(("test",))
    print(f"seed {arguments.seed}")
    import fuzz_http

    parts = [fuzz] * (arguments.only != "http") + [fuzz_http.fuzz] * (arguments.only != "bodies")
    return 1 if [finding for part in parts for finding in part(arguments.seconds / len(parts), arguments.seed)[1]] else 0


if __name__ == "__main__":
    sys.exit(main())
