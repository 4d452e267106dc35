"""The dialog in which known targets are browsed by site and modality, and ticked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ..prompts import completion
from ..prompts.catalogue import lookup
from .widgets import Choice, dispose, plain, setPlain

_SIZE = (300, 480)  # pixels
_MODALITIES = ("CT", "MR", "US", "PT", "DX", "GM", "SM", "ES", "DMS", "OP", "OPT")


class BrowseDialog:
    """Known targets in groups, with check boxes. It does not wait: `onDone` is called when the person presses OK.

    Args:
        onDone: onDone(added, removed): names of targets that were ticked and that were cleared.

    Attributes:
        dialog: the window. tree: the targets. filterEdit: what narrows them. modality: the choice of modality.
    """

    def __init__(self, onDone: Callable[[list[str], list[str]], object]):
        self._onDone = onDone
        self._model = ""
        self._before: set[str] = set()  # ticked when it was opened
        self._ticked: set[str] = set()
        self.dialog = dialog = qt.QDialog(slicer.util.mainWindow())
        dialog.setObjectName("browseDialog")
        dialog.setWindowTitle(_("Known targets"))
        layout = qt.QVBoxLayout(dialog)
        self.filterEdit = qt.QLineEdit()
        self.filterEdit.setObjectName("browseFilterEdit")
        self.filterEdit.setPlaceholderText(_("Filter"))
        self.filterEdit.setAccessibleName(_("Filter"))
        self.filterEdit.setClearButtonEnabled(True)
        self.filterEdit.connect("textChanged(QString)", lambda _text: self._fill())
        modalities = qt.QComboBox()
        modalities.setObjectName("browseModalityComboBox")
        modalities.setAccessibleName(_("Modality"))
        modalities.setToolTip(_("Show only targets that the model cards recommend for this modality."))
        self.modality = Choice(modalities, _modalityOptions(), lambda _key: self._fill())
        self.tree = qt.QTreeWidget()
        self.tree.setObjectName("browseTree")
        self.tree.setAccessibleName(_("Known targets"))
        self.tree.setHeaderHidden(True)
        self.tree.connect("itemChanged(QTreeWidgetItem*,int)", self._changed)
        self.note = qt.QLabel()
        self.note.setWordWrap(True)
        buttons = qt.QDialogButtonBox(qt.QDialogButtonBox.Ok | qt.QDialogButtonBox.Cancel)
        buttons.setObjectName("browseButtons")
        buttons.connect("accepted()", self._accept)
        buttons.connect("rejected()", dialog.hide)
        for widget in (self.filterEdit, modalities, self.tree, self.note, buttons):
            layout.addWidget(widget)
        dialog.resize(*_SIZE)

    def open(self, prompts: Sequence[str], model: str, modality: str) -> None:
        """Show the targets.

        Args:
            prompts: what is in the field: known targets in it are ticked.
            model: a key of models.MODELS.
            modality: of the image, as DICOM spells it; "" where it is not known.
        """
        self._model = model
        self._before = {target.name for target in map(lookup, prompts) if target is not None}
        self._ticked = set(self._before)
        self.modality.set(modality if modality in _MODALITIES else "")
        self.filterEdit.clear()
        self._fill()
        self.dialog.show()
        self.dialog.raise_()
        self.dialog.activateWindow()
        self.filterEdit.setFocus()

    def close(self) -> None:
        """The panel is closed."""
        dispose(self.dialog)

    def _fill(self) -> None:
        typed = self.filterEdit.text.strip()
        wasBlocked = self.tree.blockSignals(True)
        self.tree.clear()
        for group, found in completion.browse(self._model, self.modality.key, typed).items():
            parent = qt.QTreeWidgetItem()
            parent.setText(0, _("{group} ({count})").format(group=_groupTitle(group), count=len(found)))
            self.tree.addTopLevelItem(parent)
            for each in found:
                item = qt.QTreeWidgetItem()
                item.setText(0, plain(each.name))
                item.setToolTip(0, plain(each.meaning))
                item.setData(0, qt.Qt.UserRole, each.name)
                item.setCheckState(0, qt.Qt.Checked if each.name in self._ticked else qt.Qt.Unchecked)
                parent.addChild(item)
            parent.setExpanded(bool(typed) or any(each.name in self._ticked for each in found))
        self.tree.blockSignals(wasBlocked)
        self._count()

    def _changed(self, item: Any, _column: int) -> None:
        name = item.data(0, qt.Qt.UserRole)
        if not name:
            return
        if item.checkState(0) == qt.Qt.Checked:
            self._ticked.add(name)
        else:
            self._ticked.discard(name)
        self._count()

    def _count(self) -> None:
        text = _("{count} selected. You can type other targets.").format(count=len(self._ticked))
        setPlain(self.note, text if self.tree.topLevelItemCount else _("No known target matches. You can type other targets."))

    def _accept(self) -> None:
        self.dialog.hide()
        listed = [
            each.name for found in completion.browse().values() for each in found
        ]  # in the catalogue's order, not in that of the clicks
        added, removed = self._ticked - self._before, self._before - self._ticked
        self._onDone([name for name in listed if name in added], [name for name in listed if name in removed])


def _modalityOptions() -> list[tuple[str, str]]:
    names = {
        "US": _("Ultrasound"), "PT": _("PET"), "DX": _("X-ray"), "GM": _("Microscopy"), "SM": _("Pathology"), "ES": _("Endoscopy"),
        "DMS": _("Dermoscopy"), "OP": _("Fundus photography"), "OPT": _("OCT"), "MR": _("MRI"),
    }  # fmt: skip
    return [("", _("All modalities")), *((code, names.get(code, code)) for code in _MODALITIES)]


def _groupTitle(group: str) -> str:
    return {
        completion.ABDOMEN: _("Abdomen"),
        completion.PELVIS: _("Pelvis"),
        completion.CHEST: _("Chest, heart and vessels"),
        completion.HEAD: _("Head and neck"),
        completion.BONES: _("Bones, spine and muscles"),
        completion.FINDINGS: _("Tumors and other findings"),
        completion.CELLS: _("Cells"),
        completion.OTHER: _("Other"),
    }[group]
