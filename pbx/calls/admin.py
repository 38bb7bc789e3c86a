"""Active Calls and Call Detail Records in the admin. Nothing here can be edited: the engine writes the rows."""

from __future__ import annotations

from functools import lru_cache

from django.contrib import admin, messages
from django.contrib.admin.views.main import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import get_language, gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from pbx.badges import badge
from pbx.calls.durations import clock
from pbx.calls.exporting import csv_lines
from pbx.calls.filters import PeriodFilter
from pbx.calls.live import active_calls, extension_pages
from pbx.calls.models import ActiveCall, CallRecord, ask_to_hang_up
from pbx.calls.timeline import directions_of, steps_of
from pbx.calls.totals import CountedPaginator, UnaskedPaginator
from pbx.calls.words import short_reason
from pbx.long_lists import LongListAdmin

HANG_UP = "calls.hangup_activecall"


def asks_for_a_piece(request: HttpRequest) -> bool:
    """The page's own script renews a piece of it."""
    return request.headers.get("X-Requested-With") == "fetch"


class ReadOnlyAdmin(admin.ModelAdmin):
    actions = None

    def has_add_permission(self, request):
        return False

    def has_change_permission(self, request, obj=None):
        return False

    def has_delete_permission(self, request, obj=None):
        return False


@admin.register(CallRecord)
class CallRecordAdmin(LongListAdmin, ReadOnlyAdmin):
    list_display = ("start_column", "src_column", "dst", "result_column", "talk_column", "reason_column")
    list_display_links = ("start_column",)
    sortable_by = ("start_column", "talk_column")
    list_filter = (PeriodFilter, "disposition")
    list_per_page = 50
    paginator = CountedPaginator
    paginator_of_all = UnaskedPaginator
    list_max_show_all = 0
    show_facets = admin.ShowFacets.NEVER
    search_fields = ("src", "dst", "clid")
    search_help_text = _("A number, or part of a number or of a caller's name")
    change_list_template = "admin/calls/callrecord/change_list.html"

    # the list

    def get_queryset(self, request):
        return super().get_queryset(request).without_details()

    def lookup_allowed(self, lookup, value, request=None):
        """Not inside the JSON: that would read every row, and SQLite does not know all of its lookups."""
        return not lookup.startswith(("legs", "media")) and super().lookup_allowed(lookup, value, request)

    def get_search_results(self, request, queryset, search_term):
        """Whole numbers by their index; parts of them only when no call has exactly that number."""
        term = search_term.strip()
        if term:
            exact = Q(src=term) | Q(dst=term) | Q(uniqueid=term)
            part = Q(src__icontains=term) | Q(dst__icontains=term) | Q(clid__icontains=term)
            queryset = queryset.filter(exact if CallRecord.objects.filter(exact).exists() else part)
        return queryset, False

    def changelist_view(self, request, extra_context=None):
        query = request.GET.urlencode()
        address = reverse("admin:calls_callrecord_export")
        return super().changelist_view(request, {
            "title": _("Call Detail Records"), "export_url": f"{address}?{query}" if query else address,
            **(extra_context or {}),
        })

    @admin.display(description=_("start"), ordering="start")
    def start_column(self, call):
        return format_html('<span class="pbx-nowrap">{}</span>', f"{timezone.localtime(call.start):%Y-%m-%d %H:%M:%S}")

    @admin.display(description=_("from"))
    def src_column(self, call):
        name = call.caller_name
        return format_html("{} <small><bdi>{}</bdi></small>", call.src, name) if name else call.src

    @admin.display(description=_("result"))
    def result_column(self, call):
        return _result_badge(call)

    @admin.display(description=_("talk time"), ordering="billsec")
    def talk_column(self, call):
        return clock(call.billsec) if call.answer and call.end else "–"

    @admin.display(description=_("reason"))
    def reason_column(self, call):
        return short_reason(call.cause) or "–"

    def export(self, request):
        """The rows of the list as it is filtered now, all of them, as CSV."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            chosen = self.get_changelist_instance(request).queryset
        except IncorrectLookupParameters:
            return redirect("admin:calls_callrecord_changelist")
        response = StreamingHttpResponse(csv_lines(chosen), content_type="text/csv; charset=utf-8")
        name = f"calls-{timezone.localdate():%Y-%m-%d}.csv"
        response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return response

    # one call

    def change_view(self, request, object_id, form_url="", extra_context=None):
        call = CallRecord.objects.filter(pk=object_id).first() if _is_id(object_id) else None
        if not self.has_view_permission(request, call):
            raise PermissionDenied
        if call is None:
            raise Http404
        template = "_detail.html" if asks_for_a_piece(request) else "detail.html"
        return TemplateResponse(request, f"admin/calls/callrecord/{template}", {
            **self.admin_site.each_context(request), **detail_of(call), "opts": self.opts,
            "pages": extension_pages(request, [call.src, call.dst]),
            "title": gettext("Call from %(src)s to %(dst)s") % {"src": call.src, "dst": call.dst},
            "can_hang_up": call.lives and request.user.has_perm(HANG_UP), "server_now": timezone.now(),
        })

    def get_urls(self):
        return [
            path("export/", self.admin_site.admin_view(self.export), name="calls_callrecord_export"),
            *super().get_urls(),
        ]


def _result_badge(call: CallRecord) -> str:
    return _badge_of(None if call.lives else call.disposition, get_language())


@lru_cache(maxsize=50)
def _badge_of(disposition: str | None, _language: str | None) -> str:
    """None: the call is going on. Made once for each language, and not for each row."""
    if disposition is None:
        return badge("off", gettext("in progress"))
    kind = {"ANSWERED": "good", "FAILED": "bad", "CONGESTION": "bad"}.get(disposition, "")
    return badge(kind, CallRecord(disposition=disposition).get_disposition_display())


def detail_of(call: CallRecord) -> dict[str, object]:
    """What the page of one call shows of it."""
    return {
        "call": call, "result": _result_badge(call), "steps": steps_of(call), "directions": directions_of(call),
        "legs": call.leg_rows,
        "talk_time": clock(call.billsec), "duration": clock(call.duration),
    }


@admin.register(ActiveCall)
class ActiveCallAdmin(ReadOnlyAdmin):
    def changelist_view(self, request, extra_context=None):
        if not self.has_view_permission(request):
            raise PermissionDenied
        now = timezone.now()
        context = {
            **self.admin_site.each_context(request), "opts": self.opts, "title": _("Active Calls"),
            "active": active_calls(now), "server_now": now, "can_hang_up": request.user.has_perm(HANG_UP),
            "can_open": request.user.has_perm("calls.view_callrecord"),
        }
        template = "_calls.html" if asks_for_a_piece(request) else "change_list.html"
        return TemplateResponse(request, f"admin/calls/activecall/{template}", context)

    def change_view(self, request, object_id, form_url="", extra_context=None):
        return redirect("admin:calls_callrecord_change", object_id)

    def hang_up(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request) or not request.user.has_perm(HANG_UP):
            raise PermissionDenied
        call = CallRecord.objects.filter(uniqueid=request.POST.get("call", "")[:64].replace("\0", "")).first()
        if call is None:
            messages.warning(request, _("There is no such call any more."))
        elif not call.lives:
            messages.info(request, _("The call from %(src)s to %(dst)s has ended already.") % {
                "src": call.src, "dst": call.dst,
            })
        else:
            ask_to_hang_up(call, by=request.user.get_username())
            self.log_change(request, call, gettext("Hung up"))
            messages.success(request, _("The call from %(src)s to %(dst)s is being hung up.") % {
                "src": call.src, "dst": call.dst,
            })
        if call is not None and request.POST.get("back") == "record":
            return redirect("admin:calls_callrecord_change", call.pk)
        return redirect("admin:calls_activecall_changelist")

    def get_urls(self):
        return [
            path("hangup/", self.admin_site.admin_view(require_POST(self.hang_up)), name="calls_activecall_hangup"),
            *super().get_urls(),
        ]


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19
