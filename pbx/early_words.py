"""The words of what runs before Django can: the set-up and the reading of the settings. They are in the same catalogue
as all others, read with the standard library.

``manage.py`` says with it that a Python is too old: nothing here that an old Python cannot read."""

import gettext
import os
import sys

LANGUAGES = ("uz", "ru", "en")
LOCALE_DIR = os.path.join(os.path.dirname(os.path.abspath(__file__)), "locale")


def terminal_language():
    """The language of LC_ALL, LC_MESSAGES or LANG, whichever is set first; English when it is none of ours, or when the
    terminal cannot show its letters."""
    encoding = getattr(sys.stderr, "encoding", None)
    if encoding and encoding.lower().replace("-", "") != "utf8":
        return "en"
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        locale = os.environ.get(name, "")
        if locale:
            language = locale[:2].lower()
            return language if language in LANGUAGES and not locale[2:3].isalpha() else "en"
    return "en"


def _(text):
    """``text`` in the language of LANGUAGE_CODE, else of the terminal."""
    language = os.environ.get("LANGUAGE_CODE", "")
    if language not in LANGUAGES:
        language = terminal_language()
    return gettext.translation("django", LOCALE_DIR, [language], fallback=True).gettext(text)
