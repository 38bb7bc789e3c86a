"""What the templates of other rooms show of the diagnosis: they load it, their Python knows nothing of it."""

from __future__ import annotations

from django import template

from extensions.models import Extension
from pbx.diagnosis.pages import panel_context
from pbx.diagnosis.panel import panel_of
from pbx.diagnosis.visible import visible as visible_text

register = template.Library()
register.filter("visible", visible_text)


@register.filter
def message(text: str) -> str:
    """A whole message, without the empty line at its end."""
    return visible_text(text).rstrip()


@register.inclusion_tag("admin/diagnosis/_live_panel.html", takes_context=True)
def diagnosis_of(context, extension: Extension):
    """The panel of an extension, which renews itself."""
    request = context["request"]
    panel = panel_of(extension.number, extension, request.user)
    return {**panel_context(request, panel), "request": request, "csrf_token": context.get("csrf_token")}
