"""Sentences that every face puts into its own words: another language, and other names for what a person can do about a fault.

A sentence is written once, where the fault is found, as a template with parameters; a translation is looked up by the template. Where it
says what to do, and that is an option of the command line and a field of the panel, a parameter is a `Remedy`; each face has its own words
for it. Read as plain text, a sentence is English and has the command line's words.

    >>> sentence = Sentence("No key was given: {remedy}.", remedy=GIVE_KEY)
    >>> sentence
    'No key was given: set MEDIMAGEPARSE_KEY or use --key-file.'
    >>> sentence.worded(lambda remedy: "type it in Settings")
    'No key was given: type it in Settings.'
    >>> sentence.worded(lambda remedy: "in den Einstellungen", {"No key was given: {remedy}.": "Der Schlüssel fehlt: {remedy}."}.get)
    'Der Schlüssel fehlt: in den Einstellungen.'
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .program import command_name

Words = Callable[["Remedy"], str]
Translate = Callable[[str], "str | None"]


class Remedy(str):
    """The command line's words for something that a person can do, and a name by which another face finds its own.

    Args:
        name: a short stable word.
        words: what the command line says, in the middle of a sentence.
    """

    name: str

    def __new__(cls, name: str, words: str) -> Remedy:
        """A str with a name."""
        made = super().__new__(cls, words)
        made.name = name
        return made

    def __reduce__(self) -> tuple:
        """For copies and pickles."""
        return type(self), (self.name, str.__str__(self))


class Sentence(str):
    """A finished English sentence that remembers its template and its parameters.

    Args:
        template: English, with `{name}` where a parameter goes; taken as it is where there are no parameters.
        params: what goes into it. Remedies, sentences and errors among them are put into words with the sentence; a plain text stays as it is.

    Attributes:
        template, params: as given.
    """

    template: str
    params: dict[str, Any]

    def __new__(cls, template: str, /, **params: Any) -> Sentence:
        """A str with a template."""
        made = super().__new__(cls, template.format_map(params) if params else template)
        made.template, made.params = template, params
        return made

    def __reduce__(self) -> tuple:
        """For copies and pickles."""
        return _sentence, (type(self), self.template, self.params)

    def worded(self, words: Words | None = None, translate: Translate | None = None) -> str:
        """The sentence with another face's words, in another language.

        Args:
            words: gives the words for a remedy; None for the command line's.
            translate: gives a template's translation, with the same parameters in it; None or "" where there is none. None for English.

        Returns:
            the translation with the parameters filled in; English where there is none or it names other parameters.
        """
        return self._filled(self.template, words, translate)

    def _filled(self, template: str, words: Words | None, translate: Translate | None) -> str:
        translated = translate(template) if translate else None
        if not self.params:
            return translated or template
        ready = {name: _part(value, words, translate) for name, value in self.params.items()}
        if translated and placeholders(translated) <= placeholders(template):
            return translated.format_map(ready)
        return template.format_map(ready)


def _part(value: Any, words: Words | None, translate: Translate | None) -> Any:
    """A parameter in words. A plain text is a name or a value, which no language changes."""
    if isinstance(value, BaseException) and not hasattr(value, "worded"):
        value = value.args[0] if value.args else ""
    return worded(value, words, translate) if isinstance(value, Remedy) or hasattr(value, "worded") else value


def _sentence(kind: type[Sentence], template: str, params: dict[str, Any]) -> Sentence:
    return kind(template, **params)


class _Noted(Sentence):
    """A sentence with notes in brackets before its full stop: what `annotated` makes. Its parameters are the sentence and the notes."""

    def __new__(cls, template: str, /, **params: Any) -> _Noted:
        made = str.__new__(cls, _with_notes(*params.values()))
        made.template, made.params = template, params
        return made

    def worded(self, words: Words | None = None, translate: Translate | None = None) -> str:
        return _with_notes(*(worded(value, words, translate) for value in self.params.values()))


def _with_notes(sentence: str, request_id: str, *notes: str) -> str:
    listed = "; ".join(note for note in (*notes, request_id) if note)
    return f"{sentence.removesuffix('.')} ({listed})." if listed else f"{sentence.removesuffix('.')}."


def worded(value: Any, words: Words | None = None, translate: Translate | None = None) -> Any:
    """As Sentence.worded, for anything: a remedy, a sentence, an error, a text (which may be a template of its own).

    Args:
        value: what is said; a value that is no text, such as a number, stays as it is.
        words: as in Sentence.worded.
        translate: as in Sentence.worded.
    """
    if isinstance(value, Remedy):
        return words(value) if words else value
    if isinstance(value, str) and not isinstance(value, Sentence):
        return (translate(value) if translate and value else None) or value
    return value.worded(words, translate) if hasattr(value, "worded") else value


def placeholders(template: str) -> set[str]:
    """The names of the parameters in a template; a template that cannot be filled in at all names one that nothing has.

    Args:
        template: a sentence before its parameters.
    """
    try:
        return {name for _text, name, _spec, _conversion in string.Formatter().parse(template) if name is not None}
    except ValueError:
        return {""}


def joined(sentences: Iterable[str], between: str = " ") -> Sentence:
    """Sentences one after the other.

    Args:
        sentences: texts; sentences among them keep their templates.
        between: what stands between them.
    """
    listed = list(sentences)
    return Sentence(between.join(f"{{part{number}}}" for number in range(len(listed))), **{f"part{n}": one for n, one in enumerate(listed)})


def few(names: Iterable[str], most: int = 5, between: str = ", ") -> Sentence:
    """The first of several texts, and how many more there are.

    Args:
        names: texts; sentences among them keep their templates.
        most: how many are named.
        between: what stands between them.
    """
    listed = list(names)
    more = [Sentence("and {count} more", count=len(listed) - most)] if len(listed) > most else []
    return joined([joined(listed[:most], between), *more])


def annotated(sentence: str, notes: Sequence[str], request_id: str = "") -> Sentence:
    """A sentence with notes in brackets before its full stop.

    Args:
        sentence: as it is without them.
        notes: what every face says.
        request_id: the request's identifier, which a face may show elsewhere; "" for none.
    """
    identifier = Remedy("request-id", f"request id {request_id}") if request_id else ""
    return _Noted("", sentence=sentence, request_id=identifier, **{f"note{number}": note for number, note in enumerate(notes)})


GIVE_KEY = Remedy("give-key", "set MEDIMAGEPARSE_KEY or use --key-file")
SIGN_IN_SOMEHOW = Remedy("sign-in-somehow", "set MEDIMAGEPARSE_KEY, name a --key-file, or choose another sign-in")
KEY_NOT_IN_URL = Remedy("key-not-in-url", "give the key with --key-file or MEDIMAGEPARSE_KEY")
KEY_NOT_IN_PROFILE = Remedy("key-not-in-profile", "put it into MEDIMAGEPARSE_KEY, a key file or the system's keyring, and take it out here")
GIVE_AUTHORITY = Remedy("give-authority", "give its authority with --ca-bundle or in the profile")
GIVE_PEM = Remedy("give-pem", "give its PEM file as the CA bundle")
ALLOW_PLAIN_HTTP = Remedy("allow-plain-http", "allow plain http for this endpoint in its profile")
RAISE_TIMEOUT = Remedy("raise-timeout", "raise the timeout")
RAISE_BOTH_TIMEOUTS = Remedy("raise-both-timeouts", "raise the timeout here and in the deployment")
START_SERVER = Remedy("start-server", f"start the server there (the local demo with `{command_name()} serve`)")
AGREE = Remedy("agree", "add --consent once if it may")
ONE_PROMPT_A_REQUEST = Remedy("one-prompt-a-request", "--group each sends every prompt by itself")
NAME_TENANT = Remedy("name-tenant", "with --tenant")
ANOTHER_TENANT = Remedy("another-tenant", "name another tenant with --tenant")
NAME_SCOPE = Remedy("name-scope", "add the profile anew with --scope")
KEEP_EMPTY_SLICES = Remedy("keep-empty-slices", "leave out --content")
ONE_DEPLOYMENT = Remedy("one-deployment", "name one --deployment")
ASK_CLASSIFIER = Remedy("ask-classifier", "ask it with `classify --tuned`")
CHOOSE_PLANE = Remedy("choose-plane", "choose that plane")
CHOOSE_CLASH = Remedy("choose-clash", "import again with --clash rename or --clash replace")
RESCUE_INDEX = Remedy("rescue-index", "check it, and export what is readable into a new one")

ALL: dict[str, Remedy] = {value.name: value for value in list(globals().values()) if isinstance(value, Remedy)}
