"""A message, and what stands around it where it is an error: an icon, Copy, and the button that helps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from ..errors import ConsentError, EndpointError, MedImageParseError
from ..logic.jobs import CANCELLED, Job
from ..profiles.profiles import LOCAL_DEMO
from ..signin.auth import SIGN_INS, SignInError
from .sentences import jobWords, requestId, words
from .widgets import StatusIcons, setTip, showSentence
from .wrapping_row import WrappingRow

Help = tuple[str, Callable[[], object]]  # (text of the button that helps, what it does)
_ICON = 16  # pixels


def helpAgainst(error: BaseException, endpoint: Any, openSettings: Callable[[], object]) -> Help | None:
    """The button that helps against an error of the chosen endpoint, None where none does.

    Args:
        error: what went wrong.
        endpoint: the EndpointBox.
        openSettings: shows the endpoint settings.
    """
    if not isinstance(error, (EndpointError, ConsentError)):
        return None
    if endpoint.name == LOCAL_DEMO:
        return None if endpoint.demo.isStarted else (_("Start local demo"), endpoint.startDemo)
    profile = endpoint.profile()
    isRefused = isinstance(error, SignInError) or getattr(error, "status", 0) == 401
    if profile is not None and SIGN_INS[profile.sign_in].asks_for == "entra" and isRefused:
        return _("Sign in"), endpoint.check
    return _("Open endpoint settings"), openSettings


class MessageRow:
    """Shows sentences in a label, and an error's icon and buttons around it.

    Args:
        label: the message. icon: a label before it. helpButton, copyButton: below it.
        icons: the status pictures.
        helpFor: helpFor(error) gives the button that helps, None where none does.
    """

    def __init__(
        self, label: Any, icon: Any, helpButton: Any, copyButton: Any, icons: StatusIcons, helpFor: Callable[[BaseException], Help | None]
    ):
        self._label, self._icon, self._helpButton, self._copyButton = label, icon, helpButton, copyButton
        self._icons, self._helpFor = icons, helpFor
        self._help: Help | None = None
        self._requestId = ""
        self._wrapping: WrappingRow | None = None
        copyButton.connect("clicked()", self._copy)
        helpButton.connect("clicked()", self._helpClicked)

    @classmethod
    def around(cls, label: Any, prefix: str, icons: StatusIcons, helpFor: Callable[[BaseException], Help | None]) -> MessageRow:
        """Make the icon and the buttons where a label stands alone in a vertical layout.

        Args:
            label: the message.
            prefix: what the widgets' names begin with.
            icons: as for the class.
            helpFor: as for the class.
        """
        layout = _holderOf(label, label.parentWidget().layout())
        place = layout.indexOf(label)
        icon, helpButton, copyButton = qt.QLabel(), qt.QPushButton(), qt.QPushButton(_("Copy"))
        icon.setFixedSize(_ICON, _ICON)
        setTip(copyButton, _("Copy the message and the request identifier, for the endpoint's administrator."))
        line, buttons = qt.QHBoxLayout(), qt.QWidget()
        layout.removeWidget(label)
        line.addWidget(icon)
        line.addWidget(label, 1)
        lines = qt.QVBoxLayout(buttons)
        lines.setContentsMargins(0, 0, 0, 0)
        first = qt.QHBoxLayout()
        lines.addLayout(first)
        first.addWidget(helpButton)
        first.addWidget(copyButton)
        buttons.setSizePolicy(qt.QSizePolicy.Ignored, qt.QSizePolicy.Fixed)
        layout.insertLayout(place, line)
        layout.insertWidget(place + 1, buttons)
        for widget, name in ((icon, "MessageIcon"), (helpButton, "MessageHelpButton"), (copyButton, "MessageCopyButton")):
            widget.setObjectName(prefix + name)
            widget.setVisible(False)
        row = cls(label, icon, helpButton, copyButton, icons, helpFor)
        row._wrapping = WrappingRow(buttons, [helpButton, copyButton], isFilling=False)
        return row

    def say(self, sentence: str, error: BaseException | None = None) -> None:
        """Show the person a sentence, or none.

        Args:
            sentence: as it is shown; "" takes the last one away.
            error: what it is about, for the button that helps; None for a message that is no error.
        """
        isError = error is not None and bool(sentence)
        self._help = self._helpFor(error) if error is not None and sentence else None
        self._requestId = requestId(error)
        showSentence(self._label, sentence)
        setTip(self._label, _("For the endpoint's administrator: request {id}").format(id=self._requestId) if self._requestId else "")
        self._icon.setVisible(isError)
        if isError:
            self._icons.show(self._icon, "Bad")
        self._copyButton.setVisible(isError)
        self._helpButton.setVisible(self._help is not None)
        if self._help is not None:
            self._helpButton.setText(self._help[0])

    def sayError(self, error: BaseException) -> None:
        """Show the person what is wrong."""
        self.say(words(error), error)

    def sayWhyNot(self, job: Job, cancelled: str = "") -> None:
        """Say why a job that is not done ended. Args: job: it. cancelled: the sentence where the person stopped it."""
        if job.state == "cancelled":
            self.say(cancelled if cancelled and job.sentence == CANCELLED else jobWords(job))
        else:
            self.say(jobWords(job), job.error or MedImageParseError(job.sentence))

    def _copy(self) -> None:
        lines = [self._label.text]
        if self._requestId:
            lines.append(_("Request {id}").format(id=self._requestId))
        qt.QApplication.clipboard().setText("\n".join(lines))

    def _helpClicked(self) -> None:
        if self._help is not None:
            self._help[1]()


def noHelp(_error: BaseException) -> Help | None:
    """Where no button helps against an error."""
    return None


def _holderOf(widget: Any, layout: Any) -> Any:
    """The layout below `layout` that a widget stands in, None where there is none."""
    if layout.indexOf(widget) >= 0:
        return layout
    for number in range(layout.count()):
        inner = layout.itemAt(number).layout()
        found = _holderOf(widget, inner) if inner is not None else None
        if found is not None:
            return found
    return None
