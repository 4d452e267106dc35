"""Errors as sentences. Each carries the exit status that the command line gives it (see the README's table).

The text of an error is one sentence that a person can act on: what is wrong, then what to do. It never holds a key, a token or
patient data; the details for a developer go to the log.
"""

from __future__ import annotations


class MedImageParseError(Exception):
    """Base of everything this package raises on purpose."""

    exit_status = 3


class UsageError(MedImageParseError):
    """The request itself makes no sense: an unknown option value, an empty prompt, a slice that is not there."""

    exit_status = 2


class InputError(MedImageParseError):
    """An input file or volume cannot be used: missing, truncated, empty, not an image, not numbers."""

    exit_status = 2


class ConsentError(MedImageParseError):
    """Image data would leave for a host that the person has not agreed to yet."""

    exit_status = 2


class EndpointError(MedImageParseError):
    """The endpoint could not be reached, refused, or failed.

    Attributes:
        request_id: the x-ms-client-request-id of the last try, "" if none was sent.
        status: HTTP status of the last reply, 0 if there was none.
        tries: how many times the request was sent.
        kind: a short stable word for programs ("refused", "timeout", "401", …); the sentence is for people.
    """

    def __init__(self, sentence: str, *, request_id: str = "", status: int = 0, tries: int = 0, kind: str = ""):
        super().__init__(sentence)
        self.request_id = request_id
        self.status = status
        self.tries = tries
        self.kind = kind


class ReplyError(EndpointError):
    """The endpoint answered 200 but with something that the contract does not list; quotes its first 200 characters."""


class PartlyDone(MedImageParseError):
    """Some of the work is done and kept, some failed."""

    exit_status = 4


class Cancelled(MedImageParseError):
    """The person stopped the work."""

    exit_status = 130

    def __init__(self, sentence: str = "Cancelled."):
        super().__init__(sentence)
