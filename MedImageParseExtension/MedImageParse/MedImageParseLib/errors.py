"""Errors as sentences. Each carries the exit status that the command line gives it (see docs/command-line.md).

The text of an error is one sentence that a person can act on: what is wrong, then what to do. It never holds a key, a token or
patient data; the details for a developer go to the log.

An error is raised with a template and its parameters, and every face puts the two together in its own language:

    >>> error = UsageError("The file {path} does not exist: check its name.", path="ct.nii")
    >>> str(error)
    'The file ct.nii does not exist: check its name.'
    >>> error.template, error.params, error.kind
    ('The file {path} does not exist: check its name.', {'path': 'ct.nii'}, 'usage')
    >>> error.sentence({"The file {path} does not exist: check its name.": "Es gibt keine Datei {path}."}.get)
    'Es gibt keine Datei ct.nii.'

A sentence that was made elsewhere is a `remedies.Sentence`, which is its own template with its own parameters. Where a sentence says what to
do, and the panel has another name for that than the command line, a parameter is a `remedies.Remedy`. No code ever edits or compares a
sentence: programs look at the class, at `kind` and at `code`.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from .remedies import Remedy, Sentence, worded


class MedImageParseError(Exception):
    """Base of everything this package raises on purpose.

    Args:
        template: an English sentence, with `{name}` where a parameter goes; taken as it is where there are no parameters.
        code: a short stable word for programs, "" for the class's own.
        params: what goes into the sentence. An error among them is put in as its sentence.

    Attributes:
        kind: "usage", "input", "endpoint" or "cancelled", the class's own: what a report says.
        exit_status: of the command line, the class's own.
        code: a short stable word for programs ("refused", "timeout", "401", "damaged", …).
        template: the sentence before its parameters, which a translation is looked up by.
        params: the parameters by name.
    """

    kind = "endpoint"
    exit_status = 3
    code = ""

    def __init__(self, template: str = "", /, *, code: str = "", **params: Any) -> None:
        self.template = template
        self.params = params
        self.code = code or type(self).code or self.kind
        super().__init__(Sentence(template, **params) if params else template)

    def __str__(self) -> str:
        """The English sentence with the command line's words; a `Sentence` that still knows its template."""
        return Sentence(self.template, **self.params) if self.params else self.template

    def worded(self, words: Callable[[Remedy], str] | None = None, translate: Callable[[str], str | None] | None = None) -> str:
        """The sentence with another face's words for what a person can do, in another language.

        Args:
            words: gives the words for a remedy; None for the command line's.
            translate: gives a template's translation, as in `sentence`; None for English.
        """
        return worded(str(self), words, translate)

    def sentence(self, translate: Callable[[str], str | None] | None = None) -> str:
        """The sentence in another language.

        Args:
            translate: gives a template's translation, with the same parameters in it; None or "" where there is none. None for English.

        Returns:
            the translation with the parameters filled in; the English sentence where there is none or it names other parameters.
        """
        return self.worded(None, translate)


class UsageError(MedImageParseError):
    """The request itself makes no sense: an unknown option value, an empty prompt, a slice that is not there."""

    kind = "usage"
    exit_status = 2


class InputError(MedImageParseError):
    """An input file or volume cannot be used: missing, truncated, empty, not an image, not numbers."""

    kind = "input"
    exit_status = 2


def path_fault(error: OSError | ValueError) -> InputError | None:
    """The sentence for a path that the system refuses whatever is to be done with it.

    Args:
        error: what it raised.

    Returns:
        None for an error of another kind.
    """
    if isinstance(error, OSError):
        name = str(error.filename) if error.filename is not None else ""
        if not name or error.errno not in (errno.ENAMETOOLONG, errno.EACCES, errno.EPERM, errno.ELOOP):
            return None
        why = error.strerror
    else:
        name, why = "", str(error)
        if "null" not in why:
            return None
    return InputError(
        "The path {path} cannot be used ({why}): check its spelling, its length and its permissions.",
        path=name if len(name) < 100 else f"{name[:40]}…",
        why=why,
        code="path",
    )


class ConsentError(MedImageParseError):
    """Image data would leave for a host that the person has not agreed to yet."""

    kind = "usage"
    exit_status = 2
    code = "consent"


MOST_FAILURES = 5  # of the endpoint in a row; then a run over many images stops, as going on helps nobody


class EndpointError(MedImageParseError):
    """The endpoint could not be reached, refused, or failed.

    Args:
        template, code, params: as in MedImageParseError; `code` is the fault's word ("refused", "timeout", "401", …).
        request_id: the x-ms-client-request-id of the last try, "" if none was sent.
        status: HTTP status of the last reply, 0 if there was none.
        tries: how many times the request was sent.

    Attributes:
        request_id, status, tries: as given.
    """

    def __init__(
        self, template: str = "", /, *, code: str = "", request_id: str = "", status: int = 0, tries: int = 0, **params: Any
    ) -> None:
        super().__init__(template, code=code, **params)
        self.request_id = request_id
        self.status = status
        self.tries = tries


class ReplyError(EndpointError):
    """The endpoint answered 200 but with something that the contract does not list; quotes its first 200 characters."""

    code = "reply"


class PartlyDone(MedImageParseError):
    """Some of the work is done and kept, some failed.

    Args:
        template, code, params: as in MedImageParseError.
        cause: the error that stopped the rest, whose kind this one takes.
        report: of what was done, None where there is none.

    Attributes:
        report: as given.
    """

    exit_status = 4
    code = "partly-done"

    def __init__(
        self,
        template: str = "",
        /,
        *,
        code: str = "",
        cause: MedImageParseError | None = None,
        report: dict[str, Any] | None = None,
        **params: Any,
    ) -> None:
        super().__init__(template, code=code, **params)
        self.report = report
        if cause is not None:
            self.kind = cause.kind


class Cancelled(MedImageParseError):
    """The person stopped the work."""

    kind = "cancelled"
    exit_status = 130

    def __init__(self, template: str = "Cancelled.", /, *, code: str = "", **params: Any) -> None:
        super().__init__(template, code=code, **params)
