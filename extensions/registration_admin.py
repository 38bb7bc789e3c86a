"""Registrations in the admin: every phone that is registered now, whatever its extension.

Who may see and forget them is who may see and change extensions; forgetting is the page that the extension has."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import Http404
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from extensions.cells import local_time, page_address
from extensions.models import Binding
from extensions.presence import add_password_age, host_and_port
from pbx.badges import badge
from pbx.long_lists import LongListAdmin, WholeListPaginator


class AnsweringFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "answers"

    def lookups(self, request, model_admin):
        return [("yes", _("answers")), ("no", _("does not answer"))]

    def queryset(self, request, queryset):
        if self.value() in ("yes", "no"):
            return queryset.filter(unreachable_since__isnull=self.value() == "yes")
        return queryset


class TransportFilter(admin.SimpleListFilter):
    """Of those that there can be: to look which there are would be to look at every registration."""

    title = _("transport")
    parameter_name = "transport"

    def lookups(self, request, model_admin):
        return [(name, name) for name in ("UDP", "TCP")]

    def queryset(self, request, queryset):
        return queryset.filter(transport=self.value()) if self.value() else queryset


class RegistrationList(ChangeList):
    def get_results(self, request):
        super().get_results(request)
        self.result_list = add_password_age(self.result_list)


class AllRegistrationsPaginator(WholeListPaginator):
    def keys(self) -> QuerySet:
        is_by_number = self.order == ["extension__number", "-pk"]
        return Binding.objects.shown_keys_by_number() if is_by_number else super().keys()


@admin.register(Binding)
class RegistrationAdmin(LongListAdmin, admin.ModelAdmin):
    actions = None
    list_display_links = None
    list_filter = (AnsweringFilter, TransportFilter)
    list_per_page = 50
    paginator_of_all = AllRegistrationsPaginator
    list_max_show_all = 0
    list_select_related = ("extension",)
    ordering = ("extension__number",)
    search_fields = ("extension__number", "extension__display_name", "user_agent", "remote_host")
    search_help_text = _("Part of a number, of a name, of a phone's name or of an address")
    show_facets = admin.ShowFacets.NEVER
    change_list_template = "admin/extensions/binding/change_list.html"

    def has_module_permission(self, request):
        return self.has_view_permission(request)

    def has_view_permission(self, request, obj=None):
        return request.user.has_perm("extensions.view_extension") or self.may_forget(request)

    def has_add_permission(self, request):
        return False

    def has_change_permission(self, request, obj=None):
        return False

    def has_delete_permission(self, request, obj=None):
        return False

    def may_forget(self, request) -> bool:
        return request.user.has_perm("extensions.change_extension")

    def get_queryset(self, request):
        return super().get_queryset(request).shown().online().only(
            "extension__number", "extension__display_name", "user_agent", "transport", "remote_host", "remote_port",
            "registered_at", "refreshed_at", "expires_at", "unreachable_since",
        )

    def get_changelist(self, request, **kwargs):
        return RegistrationList

    def get_list_display(self, request):
        forget = ("forget_column",) if self.may_forget(request) else ()
        return ("number_column", "state_column", "phone_column", "address_column", "since_column", "expires_column",
                *forget)

    def changelist_view(self, request, extra_context=None):
        response = super().changelist_view(request, {"title": _("Registrations"), **(extra_context or {})})
        if request.headers.get("X-Requested-With") == "fetch" and hasattr(response, "template_name"):
            response.template_name = "admin/extensions/binding/_list.html"  # the page's own script renews it
        return response

    def change_view(self, request, object_id, form_url="", extra_context=None):
        """There is nothing to see of one registration that its extension does not show."""
        found = self.get_object(request, object_id)
        if found is None or not self.has_view_permission(request):
            raise Http404
        return redirect("admin:extensions_extension_change", found.extension_id)

    @admin.display(description=_("number"), ordering="extension__number")
    def number_column(self, binding):
        return format_html(
            '<a href="{}"><b>{}</b></a> <small>{}</small>',
            page_address(binding.extension_id), binding.extension.number, binding.extension.display_name,
        )

    @admin.display(description=_("state"))
    def state_column(self, binding):
        if binding.unreachable_since:
            silent = _("does not answer"), _("It registered, but does not answer the server any more.")
            since = _("since %(time)s") % {"time": f"{timezone.localtime(binding.unreachable_since):%H:%M}"}
            state = format_html("{} <small>{}</small>", badge("warn", *silent), since)
        else:
            state = _shapes(get_language())["online"]
        if not binding.has_old_password:
            return state
        fails = _("old password, will fail at %(time)s") % {
            "time": f"{timezone.localtime(binding.expires_at):%H:%M}"
        }
        return format_html("{} {}", state, badge("bad", fails))

    @admin.display(description=_("phone"), ordering="user_agent")
    def phone_column(self, binding):
        return format_html('<span class="pbx-wrap"><bdi>{}</bdi></span>', binding.user_agent or _("unnamed phone"))

    @admin.display(description=_("address"), ordering="remote_host")
    def address_column(self, binding):
        address = host_and_port(binding.remote_host, binding.remote_port)
        return format_html('<span class="pbx-wrap">{} <small>{}</small></span>', address, binding.transport)

    @admin.display(description=_("since"), ordering="registered_at")
    def since_column(self, binding):
        return _time_cell("since", binding.registered_at)

    @admin.display(description=_("expires"), ordering="expires_at")
    def expires_column(self, binding):
        return _time_cell("expires", binding.expires_at)

    @admin.display(description="")
    def forget_column(self, binding):
        address = page_address(binding.extension_id, f"forget/{binding.pk}")
        return format_html(_shapes(get_language())["forget"], address)


@lru_cache(maxsize=8)
def _shapes(_language: str | None) -> dict[str, str]:
    """Of cells, for ``format_html``: with their words, which are looked up once for each language."""
    time = '<span class="pbx-seen-label">{} </span><time class="pbx-nowrap" datetime="{{}}">{{}}</time>'
    return {
        "online": badge("good", _("online")),
        "since": format_html(time, _("since")),
        "expires": format_html(time, _("expires")),
        "forget": format_html('<a class="pbx-button pbx-quiet" href="{{}}">{}</a>', _("Forget this device")),
    }


def _time_cell(shape: str, moment: datetime) -> str:
    """The time of today, else the day as well."""
    local, is_today = local_time(moment)
    exact = local.isoformat()
    time = exact[11:16] if is_today else f"{exact[:10]} {exact[11:16]}"
    return format_html(_shapes(get_language())[shape], exact, time)
