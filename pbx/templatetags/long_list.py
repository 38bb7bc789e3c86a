"""The rows of a list that has fifty of them, as Django writes them: ``{% load long_list %}{% long_list cl %}``.

Django looks up each column, each address and what stays of the filters in it anew for each cell, which is half a
millisecond a row whatever stands in it. Here what is the same for all rows is done once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import Any

from django import template
from django.contrib.admin.templatetags.admin_list import ResultList, paginator_number, result_headers, result_list
from django.contrib.admin.templatetags.admin_urls import add_preserved_filters
from django.contrib.admin.utils import display_for_value
from django.contrib.admin.views.main import ChangeList
from django.db.models import Model
from django.utils.encoding import iri_to_uri
from django.utils.html import escape, format_html, format_html_join

register = template.Library()


@register.inclusion_tag("admin/change_list_results.html")
def long_list(cl: ChangeList) -> dict[str, Any]:
    """What ``{% result_list cl %}`` shows, to the letter, of a :class:`~pbx.long_lists.LongListAdmin`: its columns are
    methods of the admin that give text, or fields of text."""
    if cl.is_popup or cl.formset or not cl.result_list:
        return result_list(cl)
    headers = list(result_headers(cl))
    return {
        "cl": cl, "result_headers": headers, "results": long_list_rows(cl),
        "num_sorted_fields": sum(header["sortable"] and header["sorted"] for header in headers),
    }


@register.simple_tag
def page_numbers(cl: ChangeList, numbers: Iterable[int | str]) -> str:
    """What ``{% paginator_number cl number %}`` shows of each."""
    return format_html_join("", "{} ", ((paginator_number(cl, number),) for number in numbers))


@register.simple_tag
def filter_choices(choices: Iterable[dict[str, Any]]) -> str:
    """The ways to filter, each a point of a list."""
    chosen, other = '<li class="selected"><a href="{}">{}</a></li>', '<li><a href="{}">{}</a></li>'
    return format_html_join("\n", "{}", (
        (format_html(chosen if choice["selected"] else other, iri_to_uri(choice["query_string"]), choice["display"]),)
        for choice in choices
    ))


def long_list_rows(cl: ChangeList) -> list[ResultList]:
    """One for all: what stands in Django's template between the first ``<tr>`` and the last ``</tr>``."""
    columns = [getattr(cl.model_admin, name, None) or attrgetter(name) for name in cl.list_display]
    links = [name in (cl.list_display_links or ()) for name in cl.list_display]
    empty = cl.model_admin.get_empty_value_display()

    def values_of(row: Model) -> Iterator[object]:
        for column, is_link in zip(columns, links, strict=True):
            if is_link:
                yield row.pk
            value = column(row)
            if not isinstance(value, str):
                value = display_for_value(value, empty)
            yield value if value.strip() else empty

    first, *others = cl.result_list
    shape = _shape_of_row(cl, links)
    return [ResultList(None, [format_html(shape, *values_of(first)), format_html_join(
        "", f"</tr>\n<tr>{shape}", (values_of(row) for row in others)
    )])]


def _shape_of_row(cl: ChangeList, links: list[bool]) -> str:
    """For ``format_html``; the first link is the heading of its row."""
    cells, element = [], "th"
    for name, is_link in zip(cl.list_display, links, strict=True):
        css = "action-checkbox" if name == "action_checkbox" else f"field-{name}"
        if is_link:
            cells.append(f'<{element} class="{css}"><a href="{_shape_of_address(cl)}">{{}}</a></{element}>')
            element = "td"
        else:
            cells.append(f'<td class="{css}">{{}}</td>')
    return "".join(cells)


def _shape_of_address(cl: ChangeList) -> str:
    """Of the page of a row, with a place for its key."""
    address = add_preserved_filters(
        {"preserved_filters": cl.preserved_filters, "opts": cl.opts}, cl.url_for_result(cl.model(pk=0))
    )
    before, _key, after = (escape(part).replace("{", "{{").replace("}", "}}") for part in address.rpartition("/0/"))
    return f"{before}/{{}}/{after}"
