"""``--language``: commands that answer a person do so in the language that is asked for."""

from __future__ import annotations

from django.conf import settings
from django.core.management.base import BaseCommand
from django.utils import translation
from django.utils.translation import gettext as _


class InLanguage(BaseCommand):
    """Stands before other bases: what they say of a database that is away is translated too."""

    def create_parser(self, *names, **options):
        parser = super().create_parser(*names, **options)
        parser.add_argument(
            "--language", choices=[code for code, _name in settings.LANGUAGES], default=settings.LANGUAGE_CODE,
            help=_("language of the answer: uz, ru or en"),
        )
        return parser

    def execute(self, *args, language, **options):
        # Django runs commands in the language of the settings, and gives a name for it that may be longer.
        with translation.override(language):
            return super().execute(*args, **options)
