"""The headless Slicer: loads a scripted module by its path, drives it, and shows what a person would see."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import sys
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6 import QtCore, QtWidgets

from . import driving, idle, module_files, qt_module, scripted_module, segment_editor, signals, slicer_module


@functools.cache
def _real(path: str) -> str:
    """A file's path without links. Thousands of modules are asked for at each opening, and none of them moves."""
    return os.path.realpath(path)


class Host:
    """One run of the application, from start to quit.

    Args:
        language: what the person has chosen in Slicer's settings, such as "it_IT"; "" for English.

    Example:
        >>> with Host() as host:
        ...     module = host.load_module("MedImageParse", path)
        ...     host.type("promptEdit", "liver")
        ...     host.click("runButton")
        ...     host.wait_until(lambda: not host.find("runButton").enabled, 5)
        ...     assert host.slot_errors == []
    """

    def __init__(self, language: str = "") -> None:
        self.application = QtWidgets.QApplication.instance() or QtWidgets.QApplication(["Slicer"])
        driving.prepare(self.application)
        idle.keep_none_alive()
        self.folder = Path(tempfile.mkdtemp(prefix="host-"))
        QtCore.QCoreApplication.setOrganizationName("NA-MIC")
        QtCore.QCoreApplication.setApplicationName("Slicer")
        QtCore.QSettings.setDefaultFormat(QtCore.QSettings.Format.IniFormat)
        for scope in (QtCore.QSettings.Scope.UserScope, QtCore.QSettings.Scope.SystemScope):
            QtCore.QSettings.setPath(QtCore.QSettings.Format.IniFormat, scope, str(self.folder / "settings"))
        signals.slotErrors.clear()
        self._hooks = (sys.excepthook, sys.unraisablehook)
        sys.excepthook = signals.recordError
        sys.unraisablehook = lambda told: signals.recordError(told.exc_type, told.exc_value, told.exc_traceback)
        self.installation = slicer_module.Installation(self.folder)
        self.installation.put_utilities({"selectModule": self.select_module})
        if language:
            self.installation.app.settings().setValue("language", language)
        self.qt = qt_module.module()
        self.panel = driving.Panel()
        self._imported = dict(sys.modules)
        self._modules: dict[str, Any] = {}
        self._paths: list[str] = []
        self._current: Any = None
        self._editor: Any = None
        self._running = True

    def __enter__(self) -> Host:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.quit()

    # -- the application -----------------------------------------------------------------------------------------

    @property
    def slot_errors(self) -> list[str]:
        """Exceptions that Slicer would only have printed, and connections that it would silently not have made."""
        return signals.slotErrors

    @property
    def messages(self) -> Any:
        """Message boxes and confirmations shown (`shown`, `texts()`), and the answers to give (`answers`, `otherwise`)."""
        return self.installation.messages

    @property
    def installs(self) -> list[str]:
        """Packages that somebody asked to install; each was refused."""
        return self.installation.installs.asked

    @property
    def scene(self) -> Any:
        """The application's MRML scene."""
        return self.installation.scene.scene

    def start_up(self) -> None:
        """Tell everybody that the application has started."""
        self.installation.app.startupCompleted.emit()

    def close_scene(self) -> None:
        """What File > Close Scene does."""
        self.scene.Clear(0)
        self.process()

    def quit(self) -> None:
        """Close the application as a person does: everybody is told, widgets are cleaned up and deleted."""
        if not self._running:
            return
        self._running = False
        try:
            self.installation.app.aboutToQuit.emit()
            for name in reversed(list(self._modules)):
                self.installation.app.moduleManager().moduleAboutToBeUnloaded.emit(name)
            self.process()
            if self._editor is not None:
                self._editor.close()
            self.panel.close(self._modules.values())
            self.process()
        finally:
            for name in self._modules:
                sys.modules.pop(name, None)
            self._forget_reloaded_packages()
            for each in self._paths:
                sys.path.remove(each)
            self.installation.app.forgetTranslations()
            self.installation.remove()
            sys.excepthook, sys.unraisablehook = self._hooks
            shutil.rmtree(self.folder, ignore_errors=True)

    def _forget_reloaded_packages(self) -> None:
        """Put back packages that a module's Reload imported anew, or later tests would meet every class in two copies."""
        anew = {name for name, module in self._imported.items() if "." not in name and sys.modules.get(name) is not module}
        for name in [name for name in sys.modules if name.split(".")[0] in anew]:
            del sys.modules[name]
        sys.modules.update({name: module for name, module in self._imported.items() if name.split(".")[0] in anew})

    # -- modules -------------------------------------------------------------------------------------------------

    def load_module(self, name: str, path: Path | str, *, listed_only: bool = True, open_it: bool = True) -> Any:
        """Load a scripted module as Slicer does at start-up, and open it.

        Args:
            name: the module's name, which its classes begin with.
            path: its .py file.
            listed_only: refuse files that the CMakeLists.txt beside it does not list (Slicer would not install them).
            open_it: show its panel, as choosing it in the module menu does.

        Returns:
            the imported Python module.

        Raises:
            ModuleFilesError: an imported file is not listed, or a listed one is absent.
        """
        import slicer

        path = Path(path).resolve()
        listed = module_files.listed(path.parent) if listed_only else None
        if str(path.parent) not in sys.path:
            sys.path.insert(0, str(path.parent))
            self._paths.append(str(path.parent))
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        carrier = scripted_module.qSlicerScriptedLoadableModule(name, path, listed)
        carrier.python = getattr(module, name)(carrier)
        setattr(slicer.modules, name.lower(), carrier)
        setattr(slicer.modules, name + "Instance", carrier.python)
        self.installation.app.moduleManager().modules[name] = carrier
        self._modules[name] = carrier
        if open_it:
            self.open_module(name)
        self.check_listed(name)
        return module

    def open_module(self, name: str) -> None:
        """Show a loaded module's panel; the one shown before is left."""
        if self._current is not None and self._current.widgetRepresentation().isEntered:
            self._current.widgetRepresentation().exit()
        self._current = self._modules[name]
        self.panel.show(self._current)
        self._current.widgetRepresentation().enter()
        self.process()

    def open_segment_editor(self) -> Any:
        """Open Slicer's Segment Editor. Effects must be registered before, as they are when Slicer has started.

        Returns:
            the qMRMLSegmentEditorWidget.
        """
        import slicer

        if self._editor is None:
            self._editor = segment_editor.SegmentEditorModule()
            slicer.modules.segmenteditor = self._editor
            slicer.modules.SegmentEditorWidget = types.SimpleNamespace(editor=self._editor.editor)
        if self._current is not None and self._current.widgetRepresentation().isEntered:
            self._current.widgetRepresentation().exit()
        self.panel.show(self._editor)
        self.process()
        return self._editor.editor

    def select_module(self, name: str) -> None:
        """What slicer.util.selectModule() does."""
        self.open_segment_editor() if name == "SegmentEditor" else self.open_module(name)

    def close_segment_editor(self) -> None:
        """Delete the Segment Editor's widget, as reloading its module does; open_segment_editor() makes another."""
        import slicer

        editor, self._editor = self._editor, None
        self.panel.scroll.takeWidget()
        editor.close()
        del slicer.modules.segmenteditor, slicer.modules.SegmentEditorWidget
        self.process()

    def leave_module(self) -> None:
        """Go to another module; open_module() comes back."""
        self._current.widgetRepresentation().exit()

    def reload_module(self) -> Any:
        """What the Reload button of the developer section does."""
        self.widget.onReload()
        self.process()
        return sys.modules[self._current.name]

    def check_listed(self, name: str) -> None:
        """Fail if a file that was imported from the module's folder is not listed in its CMakeLists.txt."""
        carrier = self._modules[name]
        if carrier.listed is None:
            return
        folder = Path(carrier.path).parent
        imported = (getattr(each, "__file__", None) for each in list(sys.modules.values()))
        inside = {_real(each) for each in imported if each and _real(each).startswith(f"{folder}{os.sep}")}
        strangers = {Path(each) for each in inside} - carrier.listed
        if strangers:
            names = ", ".join(sorted(str(each.relative_to(folder)) for each in strangers))
            raise module_files.ModuleFilesError(f"Imported but not listed in {folder.name}/CMakeLists.txt: {names}")

    @property
    def widget(self) -> Any:
        """The open module's Python widget."""
        return self._current.widgetRepresentation().self()

    # -- time ----------------------------------------------------------------------------------------------------

    def process(self) -> None:
        """Handle what waits, deletions too."""
        for _ in range(3):
            idle.process_events()
        QtCore.QCoreApplication.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete.value)

    def run_idle(self, seconds: float) -> None:
        """Let the window idle with the GIL held, as Slicer's does. Skips the test where that cannot be done."""
        if idle.why_not():
            import pytest

            pytest.skip(idle.why_not())
        idle.run(seconds)

    def wait_until(self, predicate: Callable[[], Any], timeout: float = 60.0, every: float = 0.05) -> Any:
        """Let the window idle until something holds, and return it.

        Args:
            predicate: looked at on the main thread.
            timeout: seconds.
            every: seconds between looks. Each look lets worker threads run for some milliseconds, so seldom is more honest.

        Raises:
            TimeoutError: it does not hold in time.
        """
        deadline = time.monotonic() + timeout
        found: list[Any] = []

        def look() -> None:
            try:
                found[:] = [predicate()]
            except Exception as error:
                found[:] = [error]
            if found[0] or time.monotonic() > deadline:
                QtCore.QCoreApplication.exit(0)

        timer = QtCore.QTimer()
        timer.timeout.connect(look)
        timer.start(max(1, int(every * 1000)))
        QtCore.QTimer.singleShot(0, look)
        idle.enter()
        timer.stop()
        if isinstance(found[0], Exception):
            raise found[0]
        if not found[0]:
            raise TimeoutError(f"It did not come true within {timeout} s.")
        return found[0]

    # -- the person ----------------------------------------------------------------------------------------------

    def find(self, name: str | Any) -> Any:
        """The widget with this object name in the open panel, or an action or shortcut; an object is returned as it is."""
        return driving.find(self.panel.window, name)

    def click(self, name: str | Any) -> None:
        """Click with the left mouse button; refused where a person could not: hidden, disabled or covered."""
        driving.click(self.find(name))
        self.process()

    def type(self, name: str | Any, text: str, *, clear: bool = True) -> None:
        """Type into a field, key by key; what was there is replaced unless `clear` is False."""
        driving.type_text(self.find(name), text, clear)
        self.process()

    def key(self, name: str | Any, keys: str) -> None:
        """Press a key or combination ("Ctrl+Return", "Esc") while a widget has the focus; shortcuts work."""
        driving.press(self.find(name), keys)
        self.process()

    def choose(self, name: str | Any, text: str) -> None:
        """Choose an entry of a combo box, or a node by its name in a node selector."""
        driving.choose(self.find(name), text)
        self.process()

    def screenshot(
        self, path: Path | str | None = None, width: int = 420, height: int = 800, font_scale: float = 1.0, theme: str = "light"
    ) -> Any:
        """A picture of the module panel, as wide and high as asked for (pixels), unless Slicer would make it wider.

        Args:
            path: where to write a PNG; None only returns the picture.
            font_scale: 1.5 for large fonts.
            theme: "light" or "dark".

        Returns:
            a QImage.
        """
        with self.panel.dressed(width, height, font_scale, theme):
            self.process()
            image = self.panel.picture()
        self.process()
        if path is not None:
            image.save(str(path))
        return image

    def layout_faults(self, width: int = 420, height: int = 800, font_scale: float = 1.0) -> list[str]:
        """Sentences about texts that are cut off and widgets that overlap, at this size and font."""
        with self.panel.dressed(width, height, font_scale, "light"):
            for _pass in range(5):  # what is as high as its contents takes a moment to come to rest
                self.process()
            return driving.layout_faults(self.panel)
