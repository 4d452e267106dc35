"""The options of what is done with MedImageInsight, written once: API, commands and pages are made from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..imaging.geometry import AUTO_PLANE, PLANE_CHOICES
from ..imaging.windows import CT_WINDOWS
from ..options import Path_, option
from ..tasks.embed import AT_ONCE, BATCH, Selection
from ..tasks.preprocessing import FITS, POOLS, Preprocessing

_SLICES = "slices of a volume"
_RECIPE = "recipe (kept with each vector; vectors of different recipes are never compared)"
_SPEED = "speed"
_PRIVACY = "privacy"
_NETWORK = "network"
_MANY = "many volumes"
_PARTS = "parts (split by patient, never by slice)"
_OUTPUTS = "outputs"
_RECIPE_OF = "where the index has several, as `index info` prints them"
_ONE_PLANE = "default auto: the volume's own slices"


@dataclass(frozen=True)
class SliceOptions:
    """Which slices of a volume."""

    slices: str | list[int] = option("all", help="indices along the plane's axis, end not included", metavar="15|10:20|all", group=_SLICES)
    every: int = option(1, help="only each N-th of them", metavar="N", group=_SLICES)
    content: bool = option(False, help="only slices on which something is seen", group=_SLICES)
    plane: str = option(AUTO_PLANE, help=_ONE_PLANE, choices=PLANE_CHOICES, group=_SLICES)

    @property
    def selection(self) -> Selection:
        """As the tasks take it."""
        return Selection(self.slices, self.every, self.content, self.plane)


@dataclass(frozen=True)
class WhichOptions:
    """Which image, of several in one place."""

    modality: str = option("", help="DICOM modality code (CT, MR, …), where the file does not say")
    series: str | int = option("", help="which DICOM series of a folder that holds several", metavar="UID|NUMBER")
    frame: int | str | None = option(None, help="which volume of an image that holds several, counted from 0", metavar="N")


@dataclass(frozen=True)
class SpeedOptions:
    """How much at the same time."""

    at_once: int = option(AT_ONCE, help="most requests at the same time", metavar="N", group=_SPEED)
    batch: int = option(BATCH, help="images in a request", metavar="N", group=_SPEED)


@dataclass(frozen=True)
class RecipeOptions:
    """How a picture is made of a slice."""

    window: str = option(
        "auto",
        help="auto (CT -1000 to 1000 HU, 8-bit as it is, else percentiles 1 to 99), percentile, LOW,HIGH or one of "
        + ", ".join(CT_WINDOWS),
        metavar="WINDOW",
        group=_RECIPE,
    )
    fit: str = option("pad", help="to the square that is sent: padded with black or stretched", choices=FITS, group=_RECIPE)

    @property
    def preprocessing(self) -> Preprocessing:
        """As the tasks take it."""
        return Preprocessing(self.window, self.fit)


@dataclass(frozen=True)
class ClassifyOptions(SpeedOptions, WhichOptions, RecipeOptions, SliceOptions):
    """How an image is compared with labels."""

    label: Iterable[str] = option((), help="a label; at least two", metavar='"…"', many=True)
    labels: Path_ | None = option(
        None, help='labels from a file, or a ready set, e.g. "CT chest"; adds to the others', metavar="FILE.csv|NAME"
    )
    label_set: str = option("", help="which set of a file that holds several", metavar="NAME", flag="--set")
    prefix: str = option(
        "",
        help='begins the text of each label: "modality anatomy parameters", such as "x-ray chest anteroposterior"',
        metavar='"…"',
    )
    tuned: bool = option(False, help="the endpoint is a fine-tuned classifier, which has labels of its own")
    picture: Path_ | None = option(None, help="the probabilities as a chart", metavar="CHART.png")


@dataclass(frozen=True)
class VectorOptions(SpeedOptions, WhichOptions, RecipeOptions, SliceOptions):
    """How images become vectors, and what is kept beside them."""

    pool: str = option("none", help="one vector a volume: mean, or seven statistics; none: one a slice", choices=POOLS, group=_RECIPE)
    paths: bool = option(True, help="keep names and paths beside the vectors", off="keep no names and paths", group=_PRIVACY)

    @property
    def preprocessing(self) -> Preprocessing:
        """As the tasks take it."""
        return Preprocessing(self.window, self.fit, self.pool)


@dataclass(frozen=True)
class EmbedOptions(VectorOptions):
    """What `embed` writes."""

    output: Path_ | None = option(None, help="where the vectors go", metavar="FILE.npz|.csv")


@dataclass(frozen=True)
class KeepOptions(VectorOptions):
    """What an index keeps of each image."""

    thumbnails: bool = option(True, help="keep a small picture of each image", off="keep no small pictures", group=_PRIVACY)


@dataclass(frozen=True)
class IndexOptions(KeepOptions):
    """What `index add` keeps, and how many volumes are shared out."""

    work_dir: Path_ | None = option(
        None,
        help="a folder that keeps each volume's vectors and the account of the run, until all are merged into the index at once; "
        "inputs are then as for batch",
        metavar="DIR",
        group=_MANY,
    )
    shard: str = option("", help="do the K-th of N parts of the volumes; the others may run elsewhere", metavar="K/N", group=_MANY)
    redo: str = option(
        "", help="do again: those that failed, those whose vectors are missing, all", choices=("failed", "changed", "all"), group=_MANY
    )
    scheduler: str = option("", help="a Dask scheduler whose workers do the volumes", metavar="ADDRESS", group=_MANY)


@dataclass(frozen=True)
class SearchOptions(WhichOptions):
    """What is searched for in an index, and what may be found."""

    text: str | None = option(None, help='a text, such as "x-ray chest anteroposterior pneumonia"', metavar='"…"')
    slices: str | list[int] | None = option(
        None, help="the slice of a volume to search with, its index along the plane's axis", metavar="N"
    )
    plane: str = option(AUTO_PLANE, help=_ONE_PLANE, choices=PLANE_CHOICES)
    top: int = option(10, help="how many", metavar="N")
    other_volumes: bool = option(False, help="leave out what comes from the same volume")
    volumes: str = option(
        "",
        help="find whole volumes like a volume, in an index of slices: by votes of its slices, or by mean or seven statistics of their vectors",
        choices=("vote", "mean", "statistics"),
    )
    one_each: bool = option(False, help="of each volume only the most similar slice")
    least: float = option(-1.0, help="only what is at least this similar (cosine, 1 for the same; all by default)", metavar="S")
    only_kind: str = option("", help="only vectors of this kind", choices=("slice", "picture", "volume", "study"))
    only_plane: str = option("", help="only slices of this plane", choices=("axial", "coronal", "sagittal"))
    only_modality: str = option("", help="only images of this modality, where the index knows it", metavar="CODE")
    only_name: Iterable[str] = option((), help="only these files (with * and ?), folders or series", metavar="NAME", many=True)
    only_label: Iterable[str] = option((), help="only what has this label", metavar="SET=LABEL", many=True)
    recipe: str | None = option(None, help=_RECIPE_OF, metavar="RECIPE")
    picture: Path_ | None = option(None, help="the query and what was found", metavar="GRID.png")


@dataclass(frozen=True)
class PrepareOptions:
    """How a large index is made fast to search."""

    method: str = option(
        "sketches", help="with a file of sketches, or with FAISS's inverted lists (needs faiss-cpu)", choices=("sketches", "faiss")
    )


@dataclass(frozen=True)
class RetrievalOptions:
    """How a search is measured."""

    patients: str = option("", help="the set that tells patients apart (default: each series is one)", metavar="SET")
    k: str = option("1,3,5,10", help="how many results are looked at", metavar="1,3,5")
    recipe: str = option("", help=_RECIPE_OF, metavar="RECIPE")
    adapter: Path_ | None = option(
        None,
        help="rank by this network's features, too (Euclidean distance); asked with images that it has not learned from",
        metavar="ADAPTER.npz",
    )
    picture: Path_ | None = option(None, help="the five worst queries with what they found", metavar="WORST.png")


@dataclass(frozen=True)
class OutlierOptions:
    """How unlike things are found in an index."""

    by: str = option("slice", help="rank slices, or volumes by statistics of their slices", choices=("slice", "study"))
    neighbors: int = option(1, help="average over the N nearest of the reference set", metavar="N")
    recipe: str = option("", help=_RECIPE_OF, metavar="RECIPE")
    map: Path_ | None = option(None, help="all of the index as points in the plane", metavar="MAP.png")
    map_method: str = option("auto", help="principal components, or UMAP where umap-learn is installed", choices=("auto", "pca", "umap"))
    method: str = option("knn", help="lof and forest need scikit-learn", choices=("knn", "lof", "forest"))
    false_alarms: float = option(0.05, help="the expected rate, which sets the threshold", metavar="RATE")
    labels: str = option("", help="a set of labels that says what is unusual, for the ROC curve", metavar="SET")
    unusual: Iterable[str] = option((), help="a label of that set; may be given several times", metavar="LABEL", many=True)


@dataclass(frozen=True)
class LabelOptions:
    """Where labels come from, and which images they are for."""

    csv: Path_ | None = option(
        None,
        help="a table: columns label, one of name, series, id, content_hash, and plane, slice, set",
        metavar="FILE.csv",
        exclusive="where",
    )
    folders: int = option(
        0, help="1: the name of the folder that a file lies in; 2: of the one above", metavar="N", exclusive="where", bare=1
    )
    dicom: str = option(
        "",
        help="a header field, such as Modality; its values are stored in the index (of those that identify people only numbers)",
        metavar="FIELD",
        exclusive="where",
    )
    segments: Path_ | None = option(
        None, help="the structures that a segmentation has on each slice", metavar="FILE|FOLDER", exclusive="where"
    )
    label: str = option("", help="one label, for records by number or source", metavar='"…"', exclusive="where")
    ids: Iterable[int] = option((), help="a record's number; may be given several times", metavar="N", flag="--id", many=True)
    source: str | Iterable[str] = option(
        (), help="a file's name (with * and ?), path, folder or series; what is meant", metavar="NAME", many=True
    )
    least: int = option(1, help="pixels of a segment on a slice, to count", metavar="PIXELS")
    absent: str = option("", help="a label for slices without any segment", metavar='"…"')
    beside: bool = option(False, help="keep the labels that are there in the set")


@dataclass(frozen=True)
class TrainOptions:
    """How an adapter learns."""

    kind: str = option("linear", help="logistic regression, or the published network", choices=("linear", "network"))
    by: str = option("slice", help="each slice, or one vector a series", choices=("slice", "mean", "statistics"))
    patients: str = option("", help="the set of labels that tells patients apart (default: each series is one)", metavar="SET")
    only: Iterable[str] = option((), help="a label to learn; may be given several times (default all)", metavar="LABEL", many=True)
    several: str = option("auto", help="labels an image; many: also to tell some labels from all others", choices=("auto", "one", "many"))
    weights: str = option("none", help="balanced: rare labels count more", choices=("none", "balanced"))
    strength: float = option(0.0, help="of the linear head (scikit-learn's C); 0 (default) chooses it", metavar="C")
    engine: str = option("auto", help="of the linear head", choices=("auto", "scikit-learn", "scipy"))
    epochs: int = option(30, help="at most", metavar="N", group=_NETWORK)
    patience: int = option(10, help="epochs without a better figure before it stops", metavar="N", group=_NETWORK)
    batch: int = option(8, help="examples a step", metavar="N", group=_NETWORK)
    rate: float = option(3e-4, help="learning rate", metavar="R", group=_NETWORK)
    width: int = option(512, help="of its features", metavar="N", group=_NETWORK)
    test: float = option(0.2, help="kept for testing", metavar="SHARE", group=_PARTS)
    validate: float = option(0.15, help="for choosing the epoch or the strength", metavar="SHARE", group=_PARTS)
    seed: int = option(0, help="of everything that is drawn", metavar="N", group=_PARTS)
    recipe: str = option("", help=_RECIPE_OF, metavar="RECIPE")
    picture: Path_ | None = option(None, help="curves, confusion and reliability of the test part", metavar="CHART.png")


@dataclass(frozen=True)
class MeasureOptions:
    """How an adapter is measured."""

    labels: str = option("", help="the set of labels (default: the one it learned from)", metavar="SET")
    part: str = option(
        "test",
        help="test: images held out for testing; new: images it has never seen, such as another hospital's index; all: every image, also those"
        " that it was trained on, for which the figures are too good",
        choices=("test", "new", "all"),
    )
    patients: str = option("", help="the set of labels that tells patients apart (default: as in training)", metavar="SET")
    picture: Path_ | None = option(None, help="curves, confusion and reliability", metavar="CHART.png")


@dataclass(frozen=True)
class ApplyOptions(SpeedOptions, SliceOptions):
    """What an adapter is asked about, and where its answers go; the recipe is its own."""

    csv: Path_ | None = option(None, help="a row an image, with the probability of each label", metavar="FILE.csv")
    write: str = option("", help="of an index: keep the answers in this set of labels", metavar="SET")
    least: float = option(0.5, help="the probability from which on they are kept", metavar="P")
    modality: str = option("", help="DICOM modality code, where the file does not say")


@dataclass(frozen=True)
class ExamOptions:
    """How exam parameters are learned."""

    attributes: Iterable[str] = option(
        (),
        help="modality, plane, body part, sequence, contrast, field strength; all by default",
        metavar="NAME",
        flag="--attribute",
        many=True,
    )
    kind: str = option("linear", help="logistic regression, or the published network", choices=("linear", "network"))
    headers: bool = option(True, help="make the sets of labels from the headers", off="use the sets of labels that are there")
    patients: str = option("", help="the set of labels that tells patients apart", metavar="SET")
    recipe: str = option("", help=_RECIPE_OF, metavar="RECIPE")
    seed: int = option(0, help="of everything that is drawn", metavar="N")
