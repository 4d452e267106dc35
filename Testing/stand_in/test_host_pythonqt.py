"""The headless host shows Qt as PythonQt does. The rules are those of PythonQt's instance wrapper and signal receiver."""

from __future__ import annotations

import pytest

from host import Host


@pytest.fixture(scope="module")
def host():
    with Host() as running:
        yield running


@pytest.fixture()
def qt(host):
    host.slot_errors.clear()
    return host.qt


def test_properties_are_attributes_and_not_calls(qt):
    edit = qt.QLineEdit()
    edit.text = "liver"
    assert edit.text == "liver" and edit.enabled is True
    with pytest.raises(TypeError, match="not callable"):
        edit.text()
    edit.setText("spleen")
    assert edit.text == "spleen"


def test_getters_that_are_no_properties_stay_calls(qt):
    box = qt.QCheckBox("x")
    box.checked = True
    assert box.checked is True and box.isChecked() is True and box.sizePolicy.horizontalPolicy() is not None


def test_objects_that_qt_made_have_the_same_manners(qt):
    table = qt.QTableWidget(1, 1)
    table.horizontalHeader().visible = False
    assert table.horizontalHeader().visible is False
    assert isinstance(table.horizontalHeader(), qt.QHeaderView)


def test_cpp_classes_know_nothing_of_their_base_classes(qt):
    class Mine(qt.QPushButton):
        pass

    assert isinstance(qt.QPushButton(), qt.QPushButton) and isinstance(Mine(), qt.QPushButton)
    assert not isinstance(qt.QPushButton(), qt.QWidget) and not isinstance(Mine(), qt.QAbstractButton)
    assert not issubclass(qt.QPushButton, qt.QWidget) and qt.QPushButton().isWidgetType()


def test_what_qt_lists_comes_as_a_tuple(qt):
    parent = qt.QWidget()
    child = qt.QLabel(parent)
    assert parent.children() == (child,) and qt.QListWidget().selectedItems() == () and qt.QMenu().actions() == ()


def test_calls_of_qt_take_no_keyword_arguments(qt):
    with pytest.raises(ValueError, match="kwargs"):
        qt.QLabel(text="liver")
    with pytest.raises(ValueError, match="kwargs"):
        qt.QPushButton("Run", parent=None)


def test_an_icon_is_made_of_a_pixmap_by_hand(qt):
    pixmap = qt.QPixmap(3, 3)
    for taker in (qt.QPushButton(), qt.QTableWidgetItem("liver"), qt.QListWidgetItem("liver")):
        with pytest.raises(ValueError, match="wrong arguments"):
            taker.setIcon(pixmap)
        taker.setIcon(qt.QIcon(pixmap))


def test_properties_and_calls_of_a_destroyed_object_are_refused(host, qt):
    class Mine(qt.QWidget):
        pass

    label, mine = qt.QLabel("liver"), Mine()
    for each in (label, mine):
        each.deleteLater()
    host.process()
    with pytest.raises(ValueError, match="destroyed"):
        label.text
    with pytest.raises(AttributeError, match="destroyed"):
        label.text = "spleen"
    with pytest.raises(ValueError, match="Trying to call"):
        label.setText("spleen")
    mine.note = "a Python attribute"
    assert mine.note == "a Python attribute"


def test_screens_that_the_application_lists_have_the_same_manners(host):
    import slicer

    assert slicer.app.screens()[0].availableGeometry.size().width() > 0


def test_attributes_that_do_not_exist_are_refused_on_cpp_objects(qt):
    button = qt.QPushButton("Run")
    with pytest.raises(AttributeError, match="no attribute named 'colour'"):
        button.colour
    with pytest.raises(AttributeError, match="not allowed"):
        button.colour = 3
    with pytest.raises(AttributeError, match="can not be overwritten"):
        button.click = print
    with pytest.raises(AttributeError, match="not writable"):
        button.width = 3


def test_classes_derived_in_python_take_new_attributes(qt):
    class Mine(qt.QWidget):
        def __init__(self, parent=None):
            super().__init__(parent)
            self.colour = 3

    mine = Mine()
    assert mine.colour == 3 and isinstance(mine, qt.QWidget) and not isinstance(qt.QWidget(), Mine)


def test_doubles_of_cpp_widgets_refuse_new_attributes_too(host, qt):
    import ctk

    with pytest.raises(AttributeError, match="not allowed"):
        ctk.ctkCollapsibleButton().colour = 3


@pytest.mark.parametrize("value", ["seven", None])
def test_a_property_does_not_accept_another_type(qt, value):
    with pytest.raises(AttributeError, match="does not accept"):
        qt.QSpinBox().value = value


def test_a_boolean_property_takes_any_object_by_its_truth(qt):
    button = qt.QPushButton()
    button.enabled = None
    assert button.enabled is False
    button.enabled = ["something"]
    assert button.enabled is True


def test_signals_connect_by_signature_and_by_name(qt):
    button, heard = qt.QPushButton(), []
    assert button.connect("clicked(bool)", lambda checked: heard.append(("flag", checked)))
    assert button.connect("clicked()", lambda: heard.append("plain"))
    button.clicked.connect(lambda: heard.append("name"))
    button.click()
    assert sorted(map(str, heard)) == ["('flag', False)", "name", "plain"]


def test_a_function_gets_as_many_arguments_as_it_declares_defaults_included(qt):
    button, heard = qt.QPushButton(), []
    button.connect("clicked(bool)", lambda: heard.append("none"))
    button.connect("clicked(bool)", lambda which="mine": heard.append(which))
    button.connect("clicked(bool)", lambda *everything: heard.append(everything))
    button.click()
    assert heard == ["none", False, (False,)]


def test_disconnect_undoes_one_connection_only(qt):
    spin, heard = qt.QSpinBox(), []

    def first(value):
        heard.append(("first", value))

    spin.connect("valueChanged(int)", first)
    spin.connect("valueChanged(int)", lambda value: heard.append(("second", value)))
    spin.disconnect("valueChanged(int)", first)
    spin.value = 4
    assert heard == [("second", 4)]


def test_a_signal_is_sent_by_calling_it(qt):
    button, heard = qt.QPushButton(), []
    button.connect("clicked(bool)", heard.append)
    button.clicked(True)
    assert heard == [True]


def test_a_signal_that_does_not_exist_is_told_to_the_test(host, qt):
    assert qt.QPushButton().connect("klicked()", print) is False
    assert "has no signal klicked()" in host.slot_errors[0]


def test_an_exception_in_a_slot_is_printed_and_recorded_and_the_next_slot_is_called(host, qt, capsys):
    button, heard = qt.QPushButton(), []
    button.connect("clicked()", lambda: 1 / 0)
    button.connect("clicked()", lambda: heard.append("second"))
    button.click()
    assert heard == ["second"]
    assert len(host.slot_errors) == 1 and "ZeroDivisionError" in host.slot_errors[0] and "ZeroDivisionError" in capsys.readouterr().err


def test_exceptions_in_timers_and_event_handlers_are_recorded(host, qt):
    class Mine(qt.QWidget):
        def resizeEvent(self, event):
            raise KeyError("resize")

    qt.QTimer.singleShot(0, lambda: [][1])
    mine = Mine()
    mine.show()
    host.run_idle(0.05)
    mine.hide()
    assert any("IndexError" in each for each in host.slot_errors) and any("KeyError" in each for each in host.slot_errors)


def test_signals_declared_in_python_are_refused(qt):
    from PySide6 import QtCore

    with pytest.raises(TypeError, match="crash"):
        qt.Signal(int)
    with pytest.raises(TypeError, match="crash"):
        type(qt.QObject)("Mine", (qt.QObject,), {"told": QtCore.Signal()})


def test_enumerations_are_integers_without_scope(qt):
    edit = qt.QLineEdit()
    edit.echoMode = qt.QLineEdit.Password
    assert edit.echoMode == qt.QLineEdit.Password == 2
    process = qt.QProcess()
    assert process.Running == qt.QProcess.Running == 2 and process.state() == process.NotRunning
    assert qt.Qt.Key_Escape == 0x01000000 and qt.QMessageBox.Ok == 0x400 and int(qt.Qt.AlignLeft | qt.Qt.AlignTop) == 0x21
    edit.setSizePolicy(qt.QSizePolicy.Expanding, qt.QSizePolicy.Fixed)
    assert edit.sizePolicy.horizontalPolicy() == qt.QSizePolicy.Expanding


def test_timers_have_their_property_and_their_function(host, qt):
    timer, heard = qt.QTimer(), []
    timer.interval = 5
    with pytest.raises(AttributeError, match="can not be overwritten"):
        timer.singleShot = True
    timer.setSingleShot(True)
    timer.connect("timeout()", lambda: heard.append("timer"))
    timer.start()
    qt.QTimer.singleShot(1, lambda: heard.append("once"))
    assert timer.active and timer.isSingleShot()
    host.wait_until(lambda: len(heard) == 2, 60)
    assert sorted(heard) == ["once", "timer"] and not timer.active


def test_settings_live_in_the_folder_of_the_host(host, qt):
    settings = qt.QSettings()
    settings.setValue("MedImageParse/Recent", "liver")
    assert qt.QSettings().value("MedImageParse/Recent") == "liver"
    assert str(host.folder) in settings.fileName()


def test_pictures_are_made_from_bytes(qt):
    image = qt.QImage(3, 2, qt.QImage.Format_RGB32)
    image.fill(qt.QColor(255, 0, 0))
    data = qt.QByteArray()
    buffer = qt.QBuffer(data)
    buffer.open(qt.QIODevice.WriteOnly)
    image.save(buffer, "PNG")
    pixmap = qt.QPixmap()
    assert pixmap.loadFromData(bytes(data.data())) and pixmap.width() == 3
    label = qt.QLabel()
    label.setPixmap(pixmap)
    assert label.pixmap.height() == 2


def test_a_child_is_an_attribute_by_its_object_name(qt):
    parent = qt.QWidget()
    child = qt.QLineEdit(parent)
    child.objectName = "prompt"
    assert parent.prompt is child and child.name == "prompt"


def test_dynamic_properties_are_attributes_once_they_are_set(qt):
    widget = qt.QWidget()
    widget.setProperty("SlicerParameterName", "threshold")
    assert widget.SlicerParameterName == "threshold"
    widget.SlicerParameterName = "other"
    assert widget.property("SlicerParameterName") == "other"
