"""Blocked addresses in the admin: who is blocked, why, until when, and the button that ends it. The guard writes the
rows; ``manage.py bans --add`` makes one by hand."""

from __future__ import annotations

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.urls import path
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from pbx.calls.admin import ReadOnlyAdmin
from pbx.diagnosis.block_words import tries_since, why_blocked
from pbx.diagnosis.blocks import facts, lift
from pbx.diagnosis.models import Block
from pbx.diagnosis.visible import visible

UNBLOCK = "diagnosis.delete_block"
SPARED_SHOWN = 8


class StateFilter(admin.SimpleListFilter):
    """Those in force, unless the ended ones are asked for: they are remembered for a day."""

    title = _("state")
    parameter_name = "ended"

    def lookups(self, request, model_admin):
        return [("yes", _("ended"))]

    def choices(self, changelist):
        for value, title in ((None, _("in force")), ("yes", _("ended"))):
            yield {
                "selected": self.value() == value, "display": title,
                "query_string": changelist.get_query_string({"ended": value} if value else {}, ["ended"]),
            }

    def queryset(self, request, queryset):
        now = timezone.now()
        return queryset.filter(until__lte=now) if self.value() == "yes" else queryset.filter(until__gt=now)


@admin.register(Block)
class BlockAdmin(ReadOnlyAdmin):
    actions = ("unblock_chosen",)
    list_display_links = None
    sortable_by = ("until_column", "unblock_column")
    list_filter = (StateFilter, "reason")
    list_per_page = 50
    list_max_show_all = 0
    ordering = ("-since", "-pk")
    search_fields = ("source", "number")
    search_help_text = _("Part of an address or of a number")
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    change_list_template = "admin/diagnosis/block/change_list.html"

    def may_unblock(self, request) -> bool:
        return request.user.has_perm(UNBLOCK)

    def get_list_display(self, request):
        return ("place_column", "why_column", "unblock_column" if self.may_unblock(request) else "until_column")

    def get_actions(self, request):
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions if self.may_unblock(request) else {}

    def lookup_allowed(self, lookup, value, request=None):
        """Not inside the JSON: that would read every row."""
        return not lookup.startswith(("numbers", "spared")) and super().lookup_allowed(lookup, value, request)

    def changelist_view(self, request, extra_context=None):
        return super().changelist_view(request, {
            "title": _("Blocked addresses"), "may_unblock": self.may_unblock(request), **(extra_context or {}),
        })

    def change_view(self, request, object_id, form_url="", extra_context=None):
        """There is nothing to see of one block that the list does not say."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return redirect("admin:diagnosis_block_changelist")

    @admin.display(description=_("address"))
    def place_column(self, block):
        if block.number:
            text = gettext("number %(number)s only") % {"number": visible(block.number)}
        else:
            text = gettext("all numbers")
        return format_html("<b>{}</b> <small>{}</small>", block.source, text)

    @admin.display(description=_("reason"))
    def why_column(self, block):
        return render_to_string("admin/diagnosis/block/_why.html", {
            "why": why_blocked(facts(block)), "tries": tries_since(facts(block), timezone.now()),
            "spared": ", ".join(visible(number) for number in block.spared[:SPARED_SHOWN]),
            "count": len(block.spared), "more": len(block.spared) > SPARED_SHOWN,
        })

    @admin.display(description=_("until"), ordering="until")
    def until_column(self, block):
        local = timezone.localtime(block.until)
        shape = "%H:%M" if local.date() == timezone.localdate() else "%Y-%m-%d %H:%M"
        return format_html(
            '<span class="pbx-seen-label">{} </span><time class="pbx-nowrap" datetime="{}">{}</time>', _("until"),
            local.isoformat(), local.strftime(shape),
        )

    @admin.display(description=_("until"), ordering="until")
    def unblock_column(self, block):
        """The button stands here, not at the right end: on a narrow screen that would be out of sight."""
        if block.until <= timezone.now():
            return self.until_column(block)
        return format_html(
            '{} <button class="pbx-button pbx-quiet" type="submit" form="unblock" name="block" value="{}">{}</button>',
            self.until_column(block), block.pk, _("Unblock"),
        )

    @admin.action(description=_("Unblock the chosen addresses"))
    def unblock_chosen(self, request, queryset):
        if not self.may_unblock(request):
            raise PermissionDenied
        count = self._unblock(request, queryset)
        messages.success(request, ngettext(
            "%(count)d address is not blocked any more.", "%(count)d addresses are not blocked any more.", count
        ) % {"count": count})

    def unblock(self, request: HttpRequest) -> HttpResponse:
        if not self.may_unblock(request):
            raise PermissionDenied
        key = request.POST.get("block", "")
        rows = Block.objects.filter(pk=key if key.isascii() and key.isdigit() and len(key) < 19 else 0)
        names = [str(block) for block in rows]
        if self._unblock(request, rows):
            messages.success(request, gettext("%(address)s is not blocked any more.") % {"address": visible(names[0])})
        else:
            messages.info(request, gettext("This address is not blocked any more."))
        return redirect("admin:diagnosis_block_changelist")

    def _unblock(self, request, rows) -> int:
        found = list(rows)
        if found:
            self.log_deletions(request, found)
        for block in found:
            lift(block, by=request.user.get_username())
        return len(found)

    def get_urls(self):
        return [
            path(
                "unblock/", self.admin_site.admin_view(require_POST(self.unblock)), name="diagnosis_block_unblock"
            ),
            *super().get_urls(),
        ]
