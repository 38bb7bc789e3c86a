"""Extensions in the admin: the list, the form, and the doors to the other pages of an extension."""

from __future__ import annotations

from functools import partial

from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.contrib.admin.views.main import ORDER_VAR, ChangeList
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables

from extensions import admin_views, registration_admin, registration_views  # noqa: F401 (Registrations register)
from extensions.audit import changes_of
from extensions.cells import credential_cell, last_seen_cell, online_cell, password_button
from extensions.filters import CredentialFilter, OnlineFilter
from extensions.forms import ExtensionForm, NewExtensionForm
from extensions.models import CredentialState, Extension
from extensions.presence import add_presence, devices_of
from pbx.long_lists import LongListAdmin, WholeListPaginator

CALL_FIELDS = ("enabled", "max_devices", "ring_seconds", "media_from_anywhere", "language")
ACCOUNT_FIELDS = ("number", "display_name", *CALL_FIELDS)
PASSWORD_FIELDS = ("password_from", "password1", "password2")
hide_typed = sensitive_post_parameters("password1", "password2")  # from error reports


class ExtensionList(ChangeList):
    def get_results(self, request):
        super().get_results(request)
        self.result_list = add_presence(self.result_list)


class AllExtensionsPaginator(WholeListPaginator):
    index_order = ("number", "-pk")

    def count_now(self) -> int:
        return Extension.objects.count_all()


@admin.register(Extension)
class ExtensionAdmin(LongListAdmin, admin.ModelAdmin):
    form = ExtensionForm
    list_filter = (OnlineFilter, CredentialFilter, "enabled", "language")
    list_per_page = 50
    paginator_of_all = AllExtensionsPaginator
    search_fields = ("number", "display_name")
    search_help_text = _("Part of a number or of a name")
    actions = ("enable", "disable", "forget_devices")
    ordering = ("number",)
    change_form_template = "admin/extensions/extension/change_form.html"
    change_list_template = "admin/extensions/extension/change_list.html"

    # the list

    def lookup_allowed(self, lookup, value, request=None):
        # ?password__startswith= would tell the hash, a character a question.
        return lookup.partition("__")[0] != "password" and super().lookup_allowed(lookup, value, request)

    def get_queryset(self, request):
        extensions = super().get_queryset(request).defer("password")
        return extensions.with_presence() if ORDER_VAR in request.GET else extensions  # to sort by its columns

    def get_changelist(self, request, **kwargs):
        return ExtensionList

    def get_object(self, request, object_id, from_field=None):
        found = super().get_object(request, object_id, from_field)
        return add_presence([found])[0] if found else None

    def get_list_display(self, request):
        button = ("password_button",) if self.has_change_permission(request) else ()
        return ("number", "name_column", "online_column", "credential_column", *button, "last_seen_column")

    def changelist_view(self, request, extra_context=None):
        return super().changelist_view(request, {"title": _("Extensions"), **(extra_context or {})})

    @admin.display(description=_("name"), ordering="display_name")
    def name_column(self, extension):
        return format_html('<span class="pbx-name">{}</span>', extension.display_name or "–")

    @admin.display(description=_("online"), ordering="devices_online")
    def online_column(self, extension):
        return online_cell(extension)

    @admin.display(description=_("password"), ordering="stored_credential_state")
    def credential_column(self, extension):
        return credential_cell(extension.credential_state)

    @admin.display(description=_("last seen"), ordering="last_seen")
    def last_seen_column(self, extension):
        return last_seen_cell(extension)

    @admin.display(description="")
    def password_button(self, extension):
        return password_button(extension)

    # the form

    @method_decorator(hide_typed)
    def changeform_view(self, request, object_id=None, form_url="", extra_context=None):
        return super().changeform_view(request, object_id, form_url, extra_context)

    def get_form(self, request, obj=None, change=False, **kwargs):
        if obj is None:
            kwargs["form"] = NewExtensionForm
        # Only the model's own fields go through the factory: the password fields stand on the form class already.
        return super().get_form(request, obj, change=change, **{**kwargs, "fields": ACCOUNT_FIELDS})

    def get_fieldsets(self, request, obj=None):
        if obj is None:
            return ((None, {"fields": ("number", "display_name")}),
                    (_("Password"), {"fields": PASSWORD_FIELDS, "classes": ("pbx-password",)}),
                    (_("More settings"), {"fields": CALL_FIELDS}))
        return ((None, {"fields": ACCOUNT_FIELDS}),)

    def render_change_form(self, request, context, add=False, change=False, form_url="", obj=None):
        form = context["adminform"].form
        if getattr(form, "asks", None):
            return self._ask_first(request, form, obj)
        if obj is None:
            context |= {"show_save_and_add_another": False, "show_save_and_continue": False}
        else:
            context |= {
                "title": _("Extension %(number)s") % {"number": form.initial.get("number", obj.number)},
                "subtitle": None,
                "devices": devices_of(obj), "extension": obj, "state": obj.credential_state,
                "states": CredentialState, "changes": changes_of(obj),
                "can_change": self.has_change_permission(request, obj),
                "out_of_reach": admin_views.out_of_phones_reach(request),
            }
        return super().render_change_form(request, context, add=add, change=change, form_url=form_url, obj=obj)

    def _ask_first(self, request, form, obj):
        """What the change will end, before it is made, with the new password in the same step."""
        asked_before = request.POST.get("password_from")
        if not asked_before:
            form.data = form.data.copy()
            form.data["password_from"] = "generate"
        return TemplateResponse(request, "admin/extensions/extension/confirm_change.html", {
            **self.admin_site.each_context(request), "opts": self.opts, "form": form, "extension": obj,
            "old_number": form.old_number, "new_number": form.cleaned_data["number"],
            "renames": "rename" in form.asks, "disables": "disable" in form.asks,
            "devices": [device for device in devices_of(obj) if device.online],
            "carried": [form[name] for name in ACCOUNT_FIELDS], "title": _("Please confirm"),
        })

    @sensitive_variables("raw")
    def save_model(self, request, obj, form, change):
        raw = getattr(form, "raw_password", None)
        if raw is not None:
            obj.set_password(raw)
        super().save_model(request, obj, form, change)
        request.new_extension_password = raw

    def construct_change_message(self, request, form, formsets, add=False):
        message = super().construct_change_message(request, form, formsets, add)
        if not add and getattr(form, "renames", False):
            return [{"changed": {"fields": [
                str(_("number: %(old)s became %(new)s")) % {"old": form.old_number, "new": form.instance.number}
            ]}}, *([{"changed": {"fields": ["password"]}}] if form.raw_password else [])]
        return message

    def response_add(self, request, obj, post_url_continue=None):
        # The page after the POST itself: the raw password is stored nowhere, not even in the session.
        return admin_views.render_card(self, request, obj, request.new_extension_password, is_new=True)

    @sensitive_variables("raw")
    def response_change(self, request, obj):
        raw = getattr(request, "new_extension_password", None)
        return admin_views.render_card(self, request, obj, raw) if raw else super().response_change(request, obj)

    def get_deleted_objects(self, objs, request):
        """Say it in words, not in the names of the tables. Whoever may delete an extension may end its registrations,
        which go with it: the tables behind it ask for no permission of their own."""
        _objects, _counts, _lacking, protected = super().get_deleted_objects(objs, request)
        allowed = all(self.has_delete_permission(request, extension) for extension in objs)
        lacking = set() if allowed else {self.opts.verbose_name}
        lines, registered = [], 0
        for extension in objs:
            online = extension.bindings.online().count()
            registered += online
            lines.append(f"{extension.number} {extension.display_name}".strip())
        counts = {self.opts.verbose_name_plural: len(lines), _("phones online, whose registration ends"): registered}
        return lines, counts, lacking, protected

    def delete_queryset(self, request, queryset):
        for extension in queryset:  # one by one, so that each is locked and sends its signals
            extension.delete()

    # actions on several

    @admin.action(description=_("Enable the selected extensions"), permissions=["change"])
    def enable(self, request, queryset):
        self._set_enabled(request, queryset, True)

    @admin.action(description=_("Disable the selected extensions"), permissions=["change"])
    def disable(self, request, queryset):
        if not request.POST.get("confirmed"):
            return self._ask_before_action(request, queryset, "disable")
        self._set_enabled(request, queryset, False)

    def _set_enabled(self, request, queryset, enabled: bool) -> None:
        changed = 0
        for extension in queryset.exclude(enabled=enabled):
            extension.enabled = enabled
            extension.save(update_fields=["enabled"])
            self.log_change(request, extension, [{"changed": {"fields": ["enabled"]}}])
            changed += 1
        text = (ngettext("%(count)d extension is enabled now.", "%(count)d extensions are enabled now.", changed)
                if enabled else
                ngettext("%(count)d extension is disabled now.", "%(count)d extensions are disabled now.", changed))
        messages.success(request, text % {"count": changed})

    @admin.action(description=_("Forget the devices of the selected extensions"), permissions=["change"])
    def forget_devices(self, request, queryset):
        if not request.POST.get("confirmed"):
            return self._ask_before_action(request, queryset, "forget_devices")
        forgotten = sum(registration_views.forget(self, request, extension) for extension in queryset)
        messages.success(request, registration_views.forgotten_text(forgotten))

    def _ask_before_action(self, request, queryset, action: str):
        chosen = add_presence(queryset)
        return TemplateResponse(request, "admin/extensions/extension/confirm_action.html", {
            **self.admin_site.each_context(request), "opts": self.opts, "title": _("Please confirm"),
            "chosen": chosen, "phones": sum(extension.devices_online for extension in chosen), "action": action,
            "checkbox_name": helpers.ACTION_CHECKBOX_NAME,
        })

    # the other pages

    def get_urls(self):
        def page(route: str, view, name: str):
            wrapped = hide_typed(self.admin_site.admin_view(partial(view, self)))
            return path(route, wrapped, name=f"extensions_extension_{name}")

        return [
            page("live/", registration_views.live, "live"),
            page("<int:pk>/password/", admin_views.password, "password"),
            page("<int:pk>/card/", admin_views.card, "card"),
            page("<int:pk>/phone-link/", admin_views.phone_link, "phone_link"),
            page("<int:pk>/phone-link/<int:link>/", admin_views.phone_link_state, "phone_link_state"),
            page("<int:pk>/devices/", registration_views.devices, "devices"),
            page("<int:pk>/forget/", registration_views.forget_all, "forget_all"),
            page("<int:pk>/forget/<int:binding>/", registration_views.forget_one, "forget_one"),
            *super().get_urls(),
        ]
