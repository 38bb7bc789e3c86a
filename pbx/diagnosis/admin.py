"""Failed attempts in the admin: a list to search, leading to the page that explains each number. The engine writes
it."""

from __future__ import annotations

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from pbx.calls.admin import ReadOnlyAdmin
from pbx.diagnosis import admin_blocks  # noqa: F401  (registers its list)
from pbx.diagnosis.models import Attempt
from pbx.diagnosis.reasons import REASONS, reason_of
from pbx.diagnosis.visible import visible


class ReasonFilter(admin.SimpleListFilter):
    title = _("reason")
    parameter_name = "reason"

    def lookups(self, request, model_admin):
        return list(REASONS.items())

    def queryset(self, request, queryset):
        return queryset.filter(cause=self.value()) if self.value() in REASONS else queryset


class WhoseFilter(admin.SimpleListFilter):
    title = _("number")
    parameter_name = "whose"

    def lookups(self, request, model_admin):
        return [("known", _("extensions")), ("unknown", _("numbers that are no extensions"))]

    def queryset(self, request, queryset):
        if self.value() in ("known", "unknown"):
            return queryset.filter(extension__isnull=self.value() == "unknown")
        return queryset


@admin.register(Attempt)
class AttemptAdmin(ReadOnlyAdmin):
    list_display = ("last_column", "number_column", "reason_column", "source_column", "phone_column", "count")
    list_display_links = None
    sortable_by = ("last_column", "count")
    list_filter = (ReasonFilter, WhoseFilter)
    list_per_page = 50
    list_max_show_all = 0
    ordering = ("-last_at", "-pk")
    search_fields = ("number", "source", "user_agent")
    search_help_text = _("Part of a number, of an address or of a phone's name")
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    change_list_template = "admin/diagnosis/attempt/change_list.html"

    def get_queryset(self, request):
        return super().get_queryset(request).only(
            "number", "source", "port", "transport", "cause", "count", "first_at", "last_at", "user_agent", "extension",
        )

    def lookup_allowed(self, lookup, value, request=None):
        """Not inside the JSON: that would read every row."""
        wide = lookup.startswith(("asked", "messages", "sources"))
        return not wide and super().lookup_allowed(lookup, value, request)

    def changelist_view(self, request, extra_context=None):
        return super().changelist_view(request, {"title": _("Failed attempts"), **(extra_context or {})})

    def change_view(self, request, object_id, form_url="", extra_context=None):
        """The page of its number; one whose number could not be read has the messages themselves."""
        attempt = self.get_object(request, object_id)
        if not self.has_view_permission(request, attempt):
            raise PermissionDenied
        if attempt is None:
            raise Http404
        if attempt.number:
            return redirect(_page_of(attempt))
        return TemplateResponse(request, "admin/diagnosis/attempt/detail.html", {
            **self.admin_site.each_context(request), "opts": self.opts, "attempt": attempt,
            "reason": reason_of(attempt.cause), "ladder": ladder_of_attempt(attempt),
            "title": gettext("Failed attempt from %(address)s") % {"address": attempt.source},
        })

    @admin.display(description=_("last"), ordering="last_at")
    def last_column(self, attempt):
        local = timezone.localtime(attempt.last_at)
        shape = "%H:%M:%S" if local.date() == timezone.localdate() else "%Y-%m-%d %H:%M"
        return format_html(
            '<a class="pbx-nowrap" href="{}"><time datetime="{}">{}</time></a>', _page_of(attempt), local.isoformat(),
            local.strftime(shape),
        )

    @admin.display(description=_("number"))
    def number_column(self, attempt):
        if not attempt.number:
            return gettext("could not be read")
        return format_html('<a href="{}"><b><bdi>{}</bdi></b></a>', _page_of(attempt), visible(attempt.number))

    @admin.display(description=_("reason"))
    def reason_column(self, attempt):
        return reason_of(attempt.cause)

    @admin.display(description=_("address"))
    def source_column(self, attempt):
        return format_html('<span class="pbx-wrap">{} <small>{}</small></span>', attempt.source, attempt.transport)

    @admin.display(description=_("phone"))
    def phone_column(self, attempt):
        return format_html('<span class="pbx-wrap"><bdi>{}</bdi></span>', visible(attempt.user_agent) or "–")


def _page_of(attempt: Attempt) -> str:
    if attempt.extension_id:
        return reverse("admin:extensions_extension_change", args=[attempt.extension_id])
    if attempt.number:
        return reverse("admin:diagnosis_number", args=[attempt.number])
    return reverse("admin:diagnosis_attempt_change", args=[attempt.pk])


def ladder_of_attempt(attempt: Attempt):
    """Its messages as an arrow diagram; None when none are kept."""
    from pbx.diagnosis.ladder import ladder_of
    from pbx.diagnosis.sip_text import messages_from_json

    messages = messages_from_json(attempt.messages)
    return ladder_of(messages) if messages else None
