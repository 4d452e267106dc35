"""An adapter's figures as nodes of the scene: ROC curves and reliability as charts, the confusion matrix as a table."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from ..scene import tables
from ..search.measures import Figures

_MOST_CURVES = 8


def rocChart(figures: Figures) -> Any:
    """A chart node with a curve for each label, the first eight of them."""
    columns, curves = [], []
    for label in list(figures.curves)[:_MOST_CURVES]:
        alarms, hits = figures.curves[label]
        x = _("{label}, false positive rate").format(label=label)
        columns += [(x, alarms.tolist()), (label, hits.tolist())]
        curves.append((x, label))
    table = _tableOf(_("ROC curves"), columns)
    return tables.chartOfCurves(table, curves, _("False positive rate (1 - specificity)"), _("Sensitivity"))


def reliabilityChart(figures: Figures) -> Any:
    """A chart node: what was claimed, and how often it came true."""
    claims, x, y = figures.claims, _("Predicted probability"), _("Observed frequency")
    columns = [(x, claims.claimed.tolist()), (y, claims.true.tolist()), (_("Images"), claims.items.tolist())]
    return tables.chartOfCurves(_tableOf(_("Reliability"), columns), [(x, y)], x, y, markers=True)


def confusionTable(figures: Figures) -> Any:
    """A table node: a row is what is true; of findings that may stand beside one another a row each with what was told."""
    counts, names = figures.confusion, figures.labels
    columns: list[tables.Column] = [(_("True label"), names)]
    if counts.ndim == 2:
        columns += [(_("predicted {label}").format(label=label), counts[:, place].tolist()) for place, label in enumerate(names)]
    else:
        kinds = ((_("true positive"), 1, 1), (_("false negative"), 1, 0), (_("false positive"), 0, 1), (_("true negative"), 0, 0))
        columns += [(title, counts[:, true, told].tolist()) for title, true, told in kinds]
    return tables.tableFromColumns(_("Confusion matrix"), columns)


def _tableOf(name: str, columns: list[tables.Column]) -> Any:
    """A table whose columns are all of one length, as VTK wants it: the last value of a curve is repeated."""
    columns = [*columns, (tables.DIAGONAL, [0.0, 1.0])]
    rows = max(len(values) for _title, values in columns)
    return tables.tableFromColumns(name, [(title, [*values, *[values[-1]] * (rows - len(values))]) for title, values in columns])
