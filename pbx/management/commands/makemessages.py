"""``manage.py makemessages``: one catalogue for all rooms, in both languages; afterwards ``compilemessages``."""

from __future__ import annotations

from django.core.management.commands import makemessages


class Command(makemessages.Command):
    # A guess by likeness would stand in the catalogue as if it were a translation.
    msgmerge_options = [*makemessages.Command.msgmerge_options, "--no-fuzzy-matching"]

    def add_arguments(self, parser):
        super().add_arguments(parser)
        # Files without line numbers: a change of the code alone leaves the catalogue as it is.
        parser.set_defaults(
            locale=["uz", "ru"], ignore_patterns=["tests"], no_wrap=True, add_location="file", no_obsolete=True
        )
