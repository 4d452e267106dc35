"""The panel in another language: every sentence can be translated, and the Italian translation is whole and is what a person sees."""

from __future__ import annotations

import re
import shutil

import pytest
from places import LIBRARY

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed: there is no MRML to test against")
QtWidgets = pytest.importorskip("PySide6.QtWidgets", reason="PySide6 is not installed: there is no Qt to test against")
import update_translations as translations
from PySide6 import QtCore, QtGui

ITALIAN = translations.translation_file("it")


def entries() -> dict[tuple[str, str], str]:
    return {
        (context, message.findtext("source", "")): message.findtext("translation", "")
        for context, message in translations.messages(ITALIAN)
    }


def test_no_sentence_that_a_person_may_read_in_slicer_is_plain():
    assert translations.plain_sentences() == []


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ('label.setText("Hello")', 1),
        ('label.setText(f"Hello {name}")', 1),
        ('label.setText(_("Hello {name}").format(name=name))', 0),
        ('label.setText(f"<b>{name}</b>")', 0),
        ('text = "two words"', 1),
        ('_log.debug("two words")', 0),
    ],
)
def test_a_plain_text_in_a_panel_is_found(monkeypatch, tmp_path, code, count):
    monkeypatch.setattr(translations, "EXTENSION", tmp_path)
    file = tmp_path / "panel.py"
    file.write_text(code)
    assert len(set(translations._plain_in_a_face(file))) == count


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ('raise UsageError(f"{name} is gone.")', 1),
        ('raise UsageError("{name} is gone: {why}.", name=name, why=why or "no reason given")', 1),
        ('raise UsageError("{name} is gone: {why}.", name=name, why=Sentence("no reason given"))', 0),
        ('warnings.append(f"The volume {name} is gone.")', 1),
    ],
)
def test_a_plain_sentence_below_the_panels_is_found(monkeypatch, tmp_path, code, count):
    monkeypatch.setattr(translations, "EXTENSION", tmp_path)
    monkeypatch.setattr(translations, "LIBRARY", tmp_path)
    file = tmp_path / "task.py"
    file.write_text(code)
    assert len(list(translations._plain_below(file))) == count


def test_the_translation_file_holds_the_texts_of_the_source_as_it_is_now(tmp_path):
    again = tmp_path / ITALIAN.name
    shutil.copyfile(ITALIAN, again)
    translations.update(again)
    assert again.read_text(encoding="utf-8") == ITALIAN.read_text(encoding="utf-8"), "run scripts/update_translations.py"


def test_every_text_has_a_well_formed_italian_translation():
    assert translations.malformed(ITALIAN) == []
    assert len(entries()) > 1500


def test_what_slicer_loads_is_the_translation_file(tmp_path):
    translator = QtCore.QTranslator()
    assert translator.load(str(ITALIAN.with_suffix(".qm")))
    other = {key: made for key, text in entries().items() if text and (made := translator.translate(*key)) != text}
    assert other == {}, "run scripts/update_translations.py"


@pytest.mark.parametrize(
    ("source", "translation", "fault"),
    [
        ("No {name}.", "Manca {nome}.", "other parameters"),
        ("{size:.3g} mm", "{size} mm", "other parameters"),
        ("100 % done", "fatto", "other percent signs"),
        ("&Run", "Avvia", "other shortcuts"),
        ("A & B", "A e B", ""),
        ("<b>now</b>", "ora", "other tags"),
        (" later", "dopo", "other blanks at the beginning"),
        ("Run `a b`", "Esegui `a`", "other commands"),
        ("give --frame", "dare il frame", "other options"),
        ("Name:", "Nome", "ends with another sign"),
        ("Is it {a}, {b}?", "{b} o {a}?", ""),
    ],
)
def test_a_malformed_translation_is_found(source, translation, fault):
    assert translations.faults_of(source, translation) == ([fault] if fault else [])


def texts_of(widget) -> list[str]:
    """All that a widget shows or tells."""
    names = ("text", "toolTip", "title", "placeholderText", "windowTitle", "accessibleName", "suffix", "prefix", "specialValueText")
    found = [value for name in names if isinstance(value := QtCore.QObject.property(widget, name), str)]
    if isinstance(widget, QtWidgets.QComboBox):
        found += [QtWidgets.QComboBox.itemText(widget, row) for row in range(QtWidgets.QComboBox.count(widget))]
    if isinstance(widget, QtWidgets.QTabWidget):
        found += [QtWidgets.QTabWidget.tabText(widget, number) for number in range(QtWidgets.QTabWidget.count(widget))]
    for action in QtWidgets.QWidget.actions(widget):
        found += [QtGui.QAction.text(action), QtGui.QAction.toolTip(action)]
    return found


def test_english_stays_where_the_person_has_chosen_another_language():
    from host import Host

    with Host(language="fr_FR") as host:
        host.load_module("MedImageParse", LIBRARY / "MedImageParse.py")
        assert host.find("runButton").text == "Run"


@pytest.fixture(scope="module")
def italian():
    from host import Host

    application = QtWidgets.QApplication.instance()
    others = [] if application is None else application.topLevelWidgets()
    with Host(language="it_IT") as host:
        host.load_module("MedImageParse", LIBRARY / "MedImageParse.py")
        host.widgets_of_other_tests = others  # they may still wait for their end, in English
        yield host
        assert host.slot_errors == []


def shown_by(host) -> set[str]:
    from host.qt_classes import raw

    return {
        re.sub(r"</?qt>", "", text)
        for top in QtWidgets.QApplication.topLevelWidgets()
        if top not in host.widgets_of_other_tests
        for widget in [top, *QtWidgets.QWidget.findChildren(raw(top), QtWidgets.QWidget)]
        for text in texts_of(widget)
    }


def test_the_open_panel_and_its_settings_are_in_italian(italian):
    italian.widget.panel.settings.open()
    italian.process()
    shown = shown_by(italian)
    known = entries()
    english = {source for (_context, source), text in known.items() if text and text != source and re.search("[a-z]{2}", source)}
    also_italian = set(known.values())
    slicers_own = {"Show 3D", "Name", "Close"}  # Slicer and Qt bring their own translations
    a_profiles_name = {"Local demo"}  # by which files and scripts call it; its fields are read-only
    assert (shown & english) - also_italian - slicers_own - a_profiles_name == set()
    assert len(shown & also_italian) > 150


def test_an_error_from_below_is_told_in_italian_with_the_panels_own_remedies(italian):
    from MedImageParseLib.panels.sentences import worded
    from MedImageParseLib.transport.faults import too_slow

    known = entries()
    fault = too_slow("waiting", "ward.example", 30.0)
    template = "{place} gave no reply within {duration}: send a smaller volume or fewer prompts, or {raise_both_timeouts}."
    remedy = known["panels.sentences", "increase the response timeout in Settings and in the deployment"]
    told = known["MedImageParseLib", template].format(place="ward.example", duration="30 s", raise_both_timeouts=remedy)
    assert worded(fault.sentence) == told
    assert "{" not in told and told != str(fault.sentence)
