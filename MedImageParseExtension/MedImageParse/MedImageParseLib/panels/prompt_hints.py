"""What is said under the prompt field while typing, and the button that does what is suggested."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from slicer.i18n import tr as _

from ..prompts import advice, grammar, grouping
from .widgets import Timer, plain, setTip, showSentence

_DELAY_MS = 400  # after the last key; looking for what is written alike takes up to 20 ms a prompt
_MOST_PROMPTS, _MOST_SHOWN = 40, 2
_BUTTON = 26  # characters of a name on the button
_QUOTED = 40


class PromptHints:
    """The label and the button under the prompt field.

    Args:
        ui: the panel's widgets: hintLabel, hintButton.
        asked: gives (prompts, modality, all in one request to the 3D model) as they are now; no prompts where there is nothing to say.
        replace: replace(prompt, by): puts other targets, joined by " & ", in the place of one.
        sendApart: lets nested targets go in requests of their own.
    """

    def __init__(
        self,
        ui: Any,
        asked: Callable[[], tuple[Sequence[str], str, bool]],
        replace: Callable[[str, str], object],
        sendApart: Callable[[], object],
    ):
        self._ui, self._asked, self._replace, self._sendApart = ui, asked, replace, sendApart
        self._apply: Callable[[], object] | None = None
        self._shown: tuple = ()
        ui.hintButton.connect("clicked()", self._clicked)
        self._timer = Timer(self.show, _DELAY_MS)
        self._say([], "", None)

    def later(self) -> None:
        """Something has changed: look again when typing pauses."""
        self._timer.start()

    def stop(self) -> None:
        """Look no more."""
        self._timer.stop()

    def show(self) -> None:
        """Say what there is to say now."""
        prompts, modality, isTogether = self._asked()
        asked = (tuple(prompts), modality, isTogether)
        if asked == self._shown:
            return
        self._shown = asked
        hints = advice.hints(prompts[:_MOST_PROMPTS], modality)
        sentences = [_worded(hint) for hint in hints]
        sentences += [
            _("“{prompt}” is too long for the model. Use fewer words.").format(prompt=_quoted(prompt))
            for prompt in prompts[:_MOST_PROMPTS]
            if grammar.token_warning(prompt)
        ]
        first = next((hint for hint in hints if hint.instead), None)
        text, slot = "", None
        if first is not None:
            text = (
                _("Separate these targets")
                if first.kind == advice.SEPARATOR
                else _("Use {name}").format(name=_short(first.instead, _BUTTON))
            )
            slot = lambda: self._replace(first.prompt, first.instead)  # noqa: E731
        if isTogether and grouping.nested_warning(prompts):
            sentences.insert(0, _("Some of these targets overlap. In one request, one can suppress another."))
            text, slot = _("Send nested targets separately"), self._sendApart
        self._say(sentences, text, slot)

    def _say(self, sentences: list[str], buttonText: str, slot: Callable[[], object] | None) -> None:
        shown = sentences[:_MOST_SHOWN]
        if len(sentences) > len(shown):
            shown.append(_("There are {count} more hints.").format(count=len(sentences) - len(shown)))
        showSentence(self._ui.hintLabel, "\n".join(shown))
        setTip(self._ui.hintLabel, "\n".join(sentences))
        self._apply = slot
        self._ui.hintButton.setVisible(slot is not None)
        self._ui.hintButton.setText(plain(buttonText).replace("&", "&&"))

    def _clicked(self) -> None:
        if self._apply is not None:
            self._apply()
            self.show()


def _worded(hint: advice.Hint) -> str:
    prompt = _quoted(hint.prompt)
    if hint.kind == advice.UNKNOWN and hint.names:
        return _("“{prompt}” is not a known target. Did you mean {names}? It is sent as typed.").format(
            prompt=prompt, names=_(" or ").join(hint.names)
        )
    if hint.kind == advice.UNKNOWN:
        return _("“{prompt}” is not a known target. It is sent as typed.").format(prompt=prompt)
    if hint.kind == advice.SEPARATOR and hint.mark == ",":
        return _("“{prompt}” contains a comma, which does not separate targets. Type one target per line.").format(prompt=prompt)
    if hint.kind == advice.SEPARATOR:
        return _("“{prompt}” contains a semicolon, which does not separate targets. Type one target per line.").format(prompt=prompt)
    names = [_modality(code) for code in hint.modalities]
    if hint.kind == advice.OTHER_IMAGE:
        return _("“{prompt}” names {said}, but this image is {image}.").format(prompt=prompt, said=names[0], image=names[1])
    return _("“{target}” is recommended for {modalities}, not for {image}. Check the result carefully.").format(
        target=hint.names[0], modalities=", ".join(names[:-1]), image=names[-1]
    )


def _modality(code: str) -> str:
    return {
        "US": _("ultrasound"), "DX": _("X-ray"), "OPT": _("OCT"), "OP": _("fundus photography"), "DMS": _("dermoscopy"), "ES": _("endoscopy"),
        "SM": _("pathology"), "GM": _("microscopy"), "PT": _("PET"), "MR": _("MRI"),
    }.get(code, code)  # fmt: skip


def _quoted(prompt: str) -> str:
    return _short(" ".join(prompt.split()), _QUOTED)


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
