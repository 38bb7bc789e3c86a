"""Lists of very many rows in the admin: a page must not cost more for standing at their end, nor a row for being one
of a hundred thousand."""

from __future__ import annotations

from django.contrib.admin import helpers
from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from django.utils.html import format_html
from django.utils.translation import gettext as _


class LongListPaginator(Paginator):
    """First asks which rows stand on the page, and then, of these alone, for all that is shown of them: what a query
    computes for a row it computes for those as well that it skips. The second half of the list is read from its end."""

    is_exact = True
    """Whether ``count`` is that of all rows: else the end cannot be counted back from."""

    def page(self, number) -> Page:
        number = self.validate_number(number)
        first = (number - 1) * self.per_page
        behind = min(first + self.per_page, self.count)
        rows: QuerySet = self.object_list
        if self.is_exact and first > self.count // 2:
            keys = list(rows.reverse().values_list("pk", flat=True)[self.count - behind : self.count - first])[::-1]
        else:
            keys = list(rows.values_list("pk", flat=True)[first:behind])
        found = {row.pk: row for row in rows.filter(pk__in=keys).order_by()}
        return self._get_page([found[key] for key in keys if key in found], number, self)


class LongListAdmin:
    """For a ``ModelAdmin`` whose table may be long."""

    paginator = LongListPaginator
    show_full_result_count = False

    def action_checkbox(self, obj) -> str:
        """As Django's, without a template for each row."""
        label = _("Select this object for an action - {}").format(obj)
        return format_html(
            '<input type="checkbox" name="{}" value="{}" class="action-select" aria-label="{}">',
            helpers.ACTION_CHECKBOX_NAME, obj.pk, label,
        )
