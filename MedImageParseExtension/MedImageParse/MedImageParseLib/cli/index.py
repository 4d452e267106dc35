"""`medimageparse index …`: an index of images on disk: add, search, evaluate, label, labels, info, remove, merge, check, compact, prepare, export, import."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable

from ..api import embed, labels
from ..api.insight_options import IndexOptions, LabelOptions, PrepareOptions, RetrievalOptions, SearchOptions
from ..errors import InputError, UsageError
from ..options import add_options, options_from
from ..redaction import visible
from ..tasks.find_similar import name_of, place_of
from .json_answer import answered
from .options import INPUT_HELP, Parser, add_common, add_connection, add_part, add_quiet, connection_options
from .terminal import Terminal, raise_if_partly, reported


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Declare the command's options."""
    parser = commands.add_parser(
        "index",
        help="find similar images: add, search, evaluate, label, labels, info, remove, merge, check, compact, prepare, export, import",
    )
    parts = parser.add_subparsers(title="what to do", required=True, metavar="WHAT", parser_class=Parser)
    _add_add(parts)
    _add_search(parts)
    _add_evaluate(parts)
    _add_label(parts)
    listed = _add_plain(parts, "labels", "the sets of labels", _labels)
    listed.add_argument("--remove", default="", metavar="SET", help="remove a set; the images stay")
    _add_plain(parts, "info", "what the index holds", _info)
    remove = _add_plain(parts, "remove", "remove records", _remove)
    which = remove.add_mutually_exclusive_group(required=True)
    which.add_argument("--source", default="", metavar="PATH", help="all of one file")
    which.add_argument("--series", default="", metavar="NAME", help="all of one series, as `index search --report` names it")
    which.add_argument("--id", type=int, action="append", default=[], metavar="N", help="one record; may be given several times")
    merge = _add_plain(parts, "merge", "add all that other indexes hold, or nothing", _merge)
    merge.add_argument("others", nargs="+", metavar="INDEX|DIR", help="index files, or working folders of index add")
    _add_plain(parts, "check", "read everything and compare it with its checksums", _check)
    _add_plain(parts, "compact", "give the room of removed records back", _compact)
    add_options(_add_plain(parts, "prepare", "make searches among hundreds of thousands of vectors fast", _prepare), PrepareOptions)
    export = _add_plain(parts, "export", "write all records with their vectors", _export)
    export.add_argument("output", metavar="FILE.npz|.parquet", help="the file to write")
    export.add_argument("--readable-only", action="store_true", help="of a damaged index, what can be read")
    add_import = _add_plain(parts, "import", "add the records of an exported file, of `embed` or of JSON lines", _import)
    add_import.add_argument("input", metavar="FILE.npz|.parquet|.jsonl", help="what was exported, or vectors of `embed`")


def _add_plain(
    parts: argparse._SubParsersAction, name: str, words: str, run: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    parser = add_part(parts, name, words, run)
    add_quiet(parser)
    return parser


def _add_add(parts: argparse._SubParsersAction) -> None:
    parser = add_part(
        parts,
        "add",
        "embed images into the index; what is there already is not sent again",
        _add,
        index="the index file, made anew where there is none",
    )
    parser.add_argument("input", nargs="+", metavar="INPUT", help=INPUT_HELP)
    add_options(parser, IndexOptions)
    add_connection(parser)
    add_common(parser)


def _add_search(parts: argparse._SubParsersAction) -> None:
    parser = add_part(parts, "search", "the images most like an image, or that fit a text best", _search)
    parser.add_argument("--image", metavar="INPUT", help="an image; of a volume, --slices says which slice")
    add_options(parser, SearchOptions)
    add_connection(parser)
    add_common(parser)


def _add_evaluate(parts: argparse._SubParsersAction) -> None:
    parser = add_part(parts, "evaluate", "how good the search is, by labels: beside chance and the demo's descriptors", _evaluate)
    parser.add_argument("--labels", required=True, metavar="SET", help="what counts as alike: the same label of this set")
    add_options(parser, RetrievalOptions)
    add_common(parser)


def _evaluate(arguments: argparse.Namespace) -> int:
    def work(**_run):
        return labels.index_evaluate(arguments.index, labels=arguments.labels, options=options_from(RetrievalOptions, arguments))

    result = reported(arguments, work, [])
    names = list(next(iter(result.rankings.values())).mean)
    vectors = result.rankings["vectors"]
    rows = {ranking: figures.mean for ranking, figures in result.rankings.items()}
    rows |= {f"label {label}": own for label, own in vectors.by_label.items()}
    rows |= {f"plane {plane or 'picture'}": own for plane, own in vectors.by_plane.items()}
    print("ranking", *names, sep="\t")
    for title, own in rows.items():
        print(title, *(f"{own[name]:.4f}" for name in names), sep="\t")
    if arguments.picture:
        print(arguments.picture)
    return 0


def _add_label(parts: argparse._SubParsersAction) -> None:
    parser = add_part(parts, "label", "say what images show, in a named set of labels", _label)
    parser.add_argument("--set", required=True, metavar="SET", help='the name of the set, such as "modality" or "patient"')
    add_options(parser, LabelOptions)
    add_common(parser)


def _label(arguments: argparse.Namespace) -> int:
    def work(**_run):
        return labels.index_label(arguments.index, set=arguments.set, options=options_from(LabelOptions, arguments))

    given = [path for path in (arguments.csv, arguments.segments) if path]
    result = reported(arguments, work, given, written=())
    print(f"{result.added} labels added")
    _print_sets(result.sets)
    return 0


def _labels(arguments: argparse.Namespace) -> int:
    if arguments.remove:
        removed = labels.index_unlabel(arguments.index, set=arguments.remove)
        if not removed:
            raise UsageError("The index has no set of labels '{remove}'; `index labels` lists them.", remove=arguments.remove[:80])
        answered(arguments, {"removed": removed})
        print(f"{removed} labels removed")
        return 0
    sets = labels.index_labels(arguments.index)
    answered(arguments, {"sets": [{"set": one.set, "counts": dict(one.counts)} for one in sets]})
    _print_sets(sets)
    return 0


def _print_sets(sets: list) -> None:
    for one in sets:
        for label, places in one.counts.items():
            print(f"{visible(one.set)}\t{visible(label)}\t{places}")


def _add(arguments: argparse.Namespace) -> int:
    def work(**run):
        options = options_from(IndexOptions, arguments)
        return embed.index_add(arguments.index, arguments.input, options=options, **run, **connection_options(arguments))

    result = reported(arguments, work, arguments.input)
    if arguments.shard:
        waiting = f"{result.embedded + result.already_there} pictures wait in {arguments.work_dir}"
        print(f"{waiting}; when all shards have ended: index merge {arguments.index} {arguments.work_dir}")
    else:
        print(f"{result.embedded} added, {result.already_there} already there")
    raise_if_partly(result)
    return 0


def _search(arguments: argparse.Namespace) -> int:
    def work(**run):
        options = options_from(SearchOptions, arguments)
        return embed.index_search(arguments.index, image=arguments.image, options=options, **run, **connection_options(arguments))

    result = reported(arguments, work, [arguments.image] if arguments.image else [])
    for rank, hit in enumerate(result.hits, start=1):
        print(f"{rank}\t{hit.similarity:.4f}\t{name_of(hit.record)}\t{place_of(hit.record)}\t{visible(hit.record.source)}")
    if arguments.picture:
        print(arguments.picture)
    return 0


def _info(arguments: argparse.Namespace) -> int:
    info = embed.index_info(arguments.index)
    answered(arguments, dataclasses.asdict(info))
    kinds = ", ".join(f"{count} {kind}{'s' if kind != 'study' else ''}" for kind, count in info.kinds.items() if count)
    print(
        f"{info.records} records{f' ({kinds})' if kinds else ''} of {info.series} series, {info.thumbnails} thumbnails, {info.bytes / 1e6:.1f} MB"
    )
    for space in info.spaces:
        made = space.provenance
        names = [made.model, made.deployment and f"deployment {made.deployment}", made.engine]
        print(f"{space.records}\t{space.length}\t{', '.join(name for name in names if name)}\t{made.preprocessing}")
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    removed = embed.index_remove(arguments.index, source=arguments.source, series=arguments.series, ids=arguments.id)
    if not removed:
        raise UsageError("The index has no such records; `index search` and `outliers` with --report name what it has.")
    answered(arguments, {"removed": removed})
    print(f"{removed} removed")
    return 0


def _merge(arguments: argparse.Namespace) -> int:
    added = embed.index_merge(arguments.index, arguments.others, progress=Terminal(arguments.quiet).progress)
    answered(arguments, {"added": added})
    print(f"{added} records added")
    return 0


def _check(arguments: argparse.Namespace) -> int:
    found = embed.index_check(arguments.index)
    answered(arguments, {"is_sound": found.is_sound, "sentence": str(found.sentence)})
    if not found.is_sound:
        raise InputError(found.sentence)
    print(found.sentence)
    return 0


def _compact(arguments: argparse.Namespace) -> int:
    given_back = embed.index_compact(arguments.index)
    answered(arguments, {"bytes_given_back": given_back})
    print(f"{given_back / 1e6:.1f} MB given back")
    return 0


def _prepare(arguments: argparse.Namespace) -> int:
    terminal = Terminal(arguments.quiet)
    options = options_from(PrepareOptions, arguments)
    prepared = embed.index_prepare(arguments.index, options=options, progress=terminal.progress, cancellation=arguments.cancellation)
    print(f"{prepared} vectors prepared")
    return 0


def _export(arguments: argparse.Namespace) -> int:
    written = embed.index_export(arguments.index, arguments.output, readable_only=arguments.readable_only)
    answered(arguments, {"written": written, "outputs": [arguments.output]})
    print(f"{written} records written")
    print(arguments.output)
    return 0


def _import(arguments: argparse.Namespace) -> int:
    added = embed.index_import(arguments.index, arguments.input)
    answered(arguments, {"added": added})
    print(f"{added} records added")
    return 0
