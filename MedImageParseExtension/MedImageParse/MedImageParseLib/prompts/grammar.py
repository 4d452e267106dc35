"""From what a person types to the list of prompts, and back to the one text that is sent.

"&" separates targets and cannot be escaped; the server joins them with "[SEP]" inside, which a prompt therefore must not hold
(BiomedParse). Prompts are trimmed and otherwise sent as typed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from ..errors import UsageError
from ..remedies import Sentence

CLIP_TOKENS = 77  # context length of the text encoder, two of them taken by start and end marks
SEPARATORS = re.compile(r"&|\r\n|[\n\r\u2028\u2029]")
_QUOTED_LENGTH = 60  # characters of a prompt repeated in a sentence
_INVISIBLE = frozenset(("Cc", "Cf", "Cs"))


def parse_prompts(texts: Iterable[str]) -> list[str]:
    """The prompts in one or more texts, each of which may hold several, separated by "&" or line ends.

    Prompts are trimmed, empty ones dropped, the order kept.

    Raises:
        UsageError: nothing is left, a prompt comes twice (whatever its case and spaces), or it holds "[SEP]", a control character
            or an invisible one.

    >>> parse_prompts(["liver & left kidney", "unicorn"])
    ['liver', 'left kidney', 'unicorn']
    """
    if isinstance(texts, str):
        texts = [texts]
    prompts = [part.strip() for text in texts for part in SEPARATORS.split(text)]
    prompts = [prompt for prompt in prompts if prompt]
    if not prompts:
        raise UsageError('There is no prompt: name at least one structure, for example "liver & left kidney".')
    seen: set[str] = set()
    for prompt in prompts:
        _check(prompt)
        same = " ".join(prompt.casefold().split())
        if same in seen:
            raise UsageError("The prompt {quoted} is given twice: leave one out.", quoted=quoted(prompt))
        seen.add(same)
    return prompts


def join_prompts(prompts: Sequence[str]) -> str:
    """The text of a request: the prompts joined by " & "."""
    return " & ".join(prompts)


def token_warning(prompt: str) -> str | None:
    """A sentence where a prompt may be longer than the model's text encoder reads, else None.

    An estimate, as the encoder's vocabulary is not shipped: one token for every four letters begun, every digit and every run of
    punctuation, and two for start and end. Everyday words of up to four letters cost one token and longer ones rarely more than the
    estimate, so that it errs towards warning.
    """
    tokens = 2
    for piece in re.findall(r"[^\W\d_]+|\d|[^\w\s]+|_+", prompt):
        tokens += -(-len(piece.encode("utf-8", "surrogatepass")) // 4) if piece.isalpha() else 1
    if tokens <= CLIP_TOKENS:
        return None
    return Sentence(
        "The prompt {prompt} is about {tokens} tokens long and the model reads {clip_tokens}, so its end may be cut off: use fewer words.",
        prompt=quoted(prompt),
        tokens=tokens,
        clip_tokens=CLIP_TOKENS,
    )


def _check(prompt: str) -> None:
    if "[sep]" in prompt.casefold():
        raise UsageError('The prompt {quoted} holds "[SEP]", which the model uses itself: leave it out.', quoted=quoted(prompt))
    for character in prompt:
        if unicodedata.category(character) in _INVISIBLE:
            raise UsageError(
                "The prompt {quoted} holds a control or invisible character (U+{ord:04X}): type it anew without it.",
                quoted=quoted(prompt),
                ord=ord(character),
            )


def quoted(prompt: str) -> str:
    """The prompt as it may stand in a sentence: short and printable."""
    shown = "".join(character if character.isprintable() else " " if character.isspace() else "?" for character in prompt)
    return f'"{shown if len(shown) <= _QUOTED_LENGTH else shown[:_QUOTED_LENGTH] + "…"}"'
