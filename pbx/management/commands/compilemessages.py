"""``manage.py compilemessages``: our own catalogues, not those of the packages in ``.venv``."""

from __future__ import annotations

from django.core.management.commands import compilemessages


class Command(compilemessages.Command):
    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.set_defaults(ignore_patterns=[".venv"])
