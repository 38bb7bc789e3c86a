"""Lists of very many rows in the admin: a page must not cost more for standing at their end, nor a row for being one
of a hundred thousand."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cached_property, lru_cache

from django.contrib.admin import helpers
from django.contrib.admin.views.main import ERROR_FLAG, ORDER_VAR, PAGE_VAR
from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from django.utils.html import escape, format_html
from django.utils.translation import get_language
from django.utils.translation import gettext as _


class LongListPaginator(Paginator):
    """First asks which rows stand on the page, and then, of these alone, for all that is shown of them: what a query
    computes for a row it computes for those as well that it skips. The second half of the list is read from its end."""

    is_exact = True
    """Whether ``count`` is that of all rows: else the end cannot be counted back from."""

    index_order: Sequence[str] = ()
    """An order in which an index has the rows: what is shown without skipping any is then read at once."""

    def page(self, number) -> Page:
        number = self.validate_number(number)
        first = (number - 1) * self.per_page
        behind = min(first + self.per_page, self.count)
        from_end = self.is_exact and first > self.count // 2
        place = slice(self.count - behind, self.count - first) if from_end else slice(first, behind)
        if not place.start and self.order == [*self.index_order]:
            return self._get_page(self.at(place, from_end, self.object_list), number, self)
        keys = self.at(place, from_end, self.keys())
        found = {row.pk: row for row in self.object_list.filter(pk__in=keys).order_by()}
        return self._get_page([found[key] for key in keys if key in found], number, self)

    @property
    def order(self) -> list[str]:
        return [*dict.fromkeys(self.object_list.query.order_by)]  # Django's list says the order of its admin twice

    def keys(self) -> QuerySet:
        """Of all rows of the list, in its order."""
        return self.object_list.values_list("pk", flat=True)

    def at(self, place: slice, from_end: bool, rows: QuerySet) -> list:
        """Of the rows, or keys, those that stand there."""
        return list(rows.reverse()[place])[::-1] if from_end else list(rows[place])


MANY, REMEMBERED = 10_000, 5.0
"""To count more rows than these takes as long as all else of a page: they are counted anew after so many seconds."""

_counts: dict[type, tuple[float, int]] = {}


class WholeListPaginator(LongListPaginator):
    """Of a list in which nothing is searched or filtered. Each list has a class of its own."""

    def count_now(self) -> int:
        return self.object_list.count()

    @cached_property
    def count(self) -> int:
        now = time.monotonic()
        until, count = _counts.get(type(self), (0.0, 0))
        if now >= until:
            count = self.count_now()
            _counts[type(self)] = now + (REMEMBERED if count > MANY else 0.0), count
        return count


@lru_cache(maxsize=8)
def _checkbox(_language: str | None) -> str:
    """For ``format_html``, of a key and a name."""
    label = escape(_("Select this object for an action - {}"))
    name = helpers.ACTION_CHECKBOX_NAME
    return f'<input type="checkbox" name="{name}" value="{{}}" class="action-select" aria-label="{label}">'


class LongListAdmin:
    """For a ``ModelAdmin`` whose table may be long."""

    paginator = LongListPaginator
    paginator_of_all = LongListPaginator
    """While nothing is searched or filtered: how many there are may be known in a shorter way."""

    show_full_result_count = False

    def get_paginator(self, request, queryset, *args, **kwargs) -> Paginator:
        if queryset.model is not self.model:
            return Paginator(queryset, *args, **kwargs)  # of the history page
        is_whole = request.GET.keys() <= {PAGE_VAR, ORDER_VAR, ERROR_FLAG}
        return (self.paginator_of_all if is_whole else self.paginator)(queryset, *args, **kwargs)

    def action_checkbox(self, obj) -> str:
        """As Django's, without a template for each row."""
        return format_html(_checkbox(get_language()), obj.pk, obj)
