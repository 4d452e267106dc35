"""What became of each input of a run over many images, and the sentence for a run that went only partly well."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import MedImageParseError
from ..remedies import Sentence, few, joined
from ..search.records import Record

_REASONS = 3  # that a sentence names
_TOO_MUCH = {
    "413": "the endpoint rejects it as too large, though it is sent alone.",
    "408": "the model needs longer for it than its deployment allows, though it is sent alone.",
    "504": "the model needs longer for it than the gateway waits, though it is sent alone.",
}


@dataclass(slots=True)
class InputTally:
    """What became of one input; counts are pictures (volumes where the run pools).

    `refused` has an entry {"plane", "slice", "error"} for each picture that the endpoint could not answer; `error` is why the input as a
    whole could not be used, "" where it could.
    """

    name: str
    path: str
    series: str = ""
    size_kji: list[int] | None = None
    spacing_mm: list[float] | None = None
    modality: str | None = None
    window: str = ""
    plane: str | None = None
    chosen: int = 0
    embedded: int = 0
    already_there: int = 0
    without_content: int = 0
    refused: list[dict] = field(default_factory=list)
    error: str = ""

    def report(self) -> dict:
        """Plain JSON types."""
        return {name: getattr(self, name) for name in self.__slots__}

    def refuse(self, record: Record, error: MedImageParseError) -> str:
        """Note a picture that the endpoint could not answer.

        Args:
            record: the place where it is shown.
            error: what the endpoint said.

        Returns:
            what a person calls the picture.
        """
        index = record.slice_index if record.slice_index >= 0 else None
        self.refused.append({"plane": record.plane or None, "slice": index, "error": str(error)})
        if index is None:
            return self.name
        return Sentence("{name}, {plane} slice {index}", name=self.name, plane=record.plane, index=index)


def why(error: MedImageParseError) -> str:
    """Why the endpoint could not answer a picture, for a list in which the picture is named."""
    return _TOO_MUCH.get(error.code) or str(error)


def listed_by_reason(given_up: Mapping[str, Sequence[str]]) -> Sentence:
    """What could not be answered, and why.

    Args:
        given_up: why -> what a person calls the images.
    """
    reasons = [Sentence("{listed}: {why}", listed=few(names, between="; "), why=reason) for reason, names in given_up.items()]
    return few(reasons, _REASONS, " ")


def what_failed(tallies: Sequence[InputTally], given_up: Mapping[str, Sequence[str]], failure: MedImageParseError | None) -> str:
    """The sentence for what stopped a run half-way and for what it could not use; "" where all went through.

    Args:
        tallies: one an input.
        given_up: why -> the pictures that the endpoint could not answer.
        failure: what stopped the run.
    """
    parts = []
    if failure is not None:
        parts.append(
            Sentence(
                "{added} of the pictures were embedded and are kept, then the run stopped: {failure}",
                added=sum(tally.embedded for tally in tallies),
                failure=failure,
            )
        )
    bad = [tally for tally in tallies if tally.error]
    if bad:
        parts.append(
            Sentence(
                "{count} of {count2} inputs could not be used{others}: {error}",
                count=len(bad),
                count2=len(tallies),
                others=_others(tally.name for tally in bad[1:]),
                error=bad[0].error,
            )
        )
    if given_up:
        parts.append(
            Sentence(
                "{count} of {chosen} pictures could not be embedded, and the next run tries them again: {reasons}",
                count=sum(map(len, given_up.values())),
                chosen=sum(tally.chosen for tally in tallies),
                reasons=listed_by_reason(given_up),
            )
        )
    return joined(parts)


def _others(names: Iterable[str]) -> str:
    """In brackets, the inputs beside the first."""
    names = list(names)
    return Sentence(" (also {listed})", listed=few(names)) if names else ""
