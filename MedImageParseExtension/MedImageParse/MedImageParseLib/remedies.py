"""What a person can do about a fault, where the command line and the panel name it differently.

A sentence is written once, where the fault is found. Where it says what to do, and that is an option of the command line and a field of
the panel, it holds a `Remedy`; each face has its own words for it. Read as plain text, a sentence has the command line's words.

    >>> sentence = Sentence("No key was given: ", GIVE_KEY, ".")
    >>> sentence
    'No key was given: set MEDIMAGEPARSE_KEY or use --key-file.'
    >>> sentence.worded(lambda remedy: "type it in Settings")
    'No key was given: type it in Settings.'
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .program import command_name


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
    """A finished English sentence that remembers the remedies in it.

    Args:
        parts: text, remedies, other sentences, in order. Text is taken as it is.
    """

    parts: tuple[str, ...]

    def __new__(cls, *parts: str) -> Sentence:
        """A str with parts."""
        flat: list[str] = []
        for part in parts:
            flat.extend(part.parts if isinstance(part, Sentence) else [part])
        made = super().__new__(cls, "".join(flat))
        made.parts = tuple(flat)
        return made

    def __reduce__(self) -> tuple:
        """For copies and pickles."""
        return type(self), self.parts

    def worded(self, words: Callable[[Remedy], str]) -> str:
        """The sentence with another face's words.

        Args:
            words: gives the words for a remedy.
        """
        return "".join(words(part) if isinstance(part, Remedy) else part for part in self.parts)


def worded(sentence: str, words: Callable[[Remedy], str]) -> str:
    """As Sentence.worded, for any text: one without remedies stays as it is."""
    return sentence.worded(words) if isinstance(sentence, Sentence) else sentence


def joined(sentences: Sequence[str]) -> Sentence:
    """Sentences one after the other, with spaces between them."""
    parts = [part for sentence in sentences for part in (" ", sentence)]
    return Sentence(*parts[1:])


def annotated(sentence: str, notes: Sequence[str], request_id: str = "") -> Sentence:
    """A sentence with notes in brackets before its full stop.

    Args:
        sentence: as it is without them.
        notes: what every face says.
        request_id: the request's identifier, which a face may show elsewhere; "" for none.
    """
    parts: list[str] = list(sentence.parts) if isinstance(sentence, Sentence) else [sentence]
    if parts[-1].endswith(".") and not isinstance(parts[-1], Remedy):
        parts[-1] = parts[-1][:-1]
    listed, identifier = "; ".join(notes), f"request id {request_id}"
    if notes and request_id:
        parts += [f" ({listed}", Remedy("request-id", f"; {identifier}"), ")"]
    elif notes:
        parts.append(f" ({listed})")
    elif request_id:
        parts.append(Remedy("request-id", f" ({identifier})"))
    return Sentence(*parts, ".")


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
RESCUE_INDEX = Remedy("rescue-index", "check it, and export what is readable into a new one")

ALL: dict[str, Remedy] = {value.name: value for value in list(globals().values()) if isinstance(value, Remedy)}
