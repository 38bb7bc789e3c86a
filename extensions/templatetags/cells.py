"""The cells of the list, for the pages of one extension: ``{% load cells %}{% online_cell extension %}``."""

from __future__ import annotations

from django import template

from extensions import cells

register = template.Library()
for cell in (cells.online_cell, cells.last_seen_cell, cells.credential_cell):
    register.simple_tag(cell)
