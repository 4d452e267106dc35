"""The language of the panel: Slicer's own, where Resources/Translations holds it.

Slicer loads the translations of its own folder when it starts (those of the language packs); an extension's are loaded by asking it to, as
here, with the same rules: every .qm file of the folder whose name ends with the application's language, while internationalization is on.
A text is looked up as `slicer.i18n` computes its place, "folder.file"; a form's texts by the form's class; what is raised below the panels
in "MedImageParseLib" (see sentences.py).
"""

from __future__ import annotations

import slicer

_LOADED = "MedImageParseTranslations"  # a property of the application, which outlives the Reload button


def loadTranslations(folder: str) -> None:
    """Have Slicer load this module's translation into its language, once in its life.

    Args:
        folder: Resources/Translations.
    """
    load = getattr(slicer.app, "loadTranslations", None)  # Slicer 5.0 and before have none
    if load is not None and not slicer.app.property(_LOADED):
        load(folder)
        slicer.app.setProperty(_LOADED, True)
