"""Forms of the extension pages. A password is typed twice or generated; it is never shown in a form again."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables

from extensions.models import Extension
from extensions.passwords import generate_password, validate_password

GENERATE, TYPE, NONE = "generate", "type", "none"


class PasswordFields(forms.Form):
    """"Generate a strong one" or "type one twice". After ``is_valid()``, ``raw_password`` is the new password, or
    None where none is to be set."""

    password_from = forms.ChoiceField(
        label=_("Password"), initial=GENERATE, widget=forms.RadioSelect,
        choices=[(GENERATE, _("Generate a strong password (recommended)")), (TYPE, _("Type one yourself"))],
    )
    password1 = forms.CharField(
        label=_("New password"), required=False, strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text=_("At least 8 characters. Only needed when you type it yourself."),
    )
    password2 = forms.CharField(
        label=_("New password again"), required=False, strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    raw_password: str | None = None

    def number_for_password(self) -> str:
        """The extension that the password is for, because it must not be its number."""
        return ""

    def wants_password(self) -> bool:
        return True

    @sensitive_variables()
    def clean(self):
        data = super().clean()
        choice = data.get("password_from")
        if not self.wants_password():
            return data
        if choice == GENERATE:
            self.raw_password = generate_password()
        elif choice == TYPE:
            self._clean_typed(data)
        return data

    @sensitive_variables()
    def _clean_typed(self, data) -> None:
        first, second = data.get("password1"), data.get("password2")
        if not first:
            self.add_error("password1", _("Type the new password, or choose “Generate”."))
            return
        if first != second:
            self.add_error("password2", _("The two passwords are not the same. Type both again."))
            return
        try:
            validate_password(first, self.number_for_password())
        except forms.ValidationError as error:
            self.add_error("password1", error)
        else:
            self.raw_password = first


class PasswordForm(PasswordFields):
    """The page behind the Password button. ``once`` is the mark of this one form: a page that is loaded again
    must not set another password."""

    once = forms.CharField(widget=forms.HiddenInput, max_length=64)

    def __init__(self, extension: Extension, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.extension = extension

    def number_for_password(self) -> str:
        return self.extension.number


class NewExtensionForm(PasswordFields, forms.ModelForm):
    """Number, name and password in one step."""

    class Meta:
        model = Extension
        fields = ["number", "display_name", "enabled", "max_devices", "language"]

    def number_for_password(self) -> str:
        return self.cleaned_data.get("number", "")


class ExtensionForm(PasswordFields, forms.ModelForm):
    """An existing extension. Renaming it, or disabling it while phones are registered, is first explained: the form
    is not valid (``asks`` names what it asks) until ``confirmed`` comes with it."""

    confirmed = forms.BooleanField(required=False, widget=forms.HiddenInput)

    class Meta:
        model = Extension
        fields = ["number", "display_name", "enabled", "max_devices", "language"]

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.old_number = self.instance.number
        self.was_enabled = self.instance.enabled
        self.asks: set[str] = set()
        choice = self.fields["password_from"]
        choice.required = False
        choice.initial = None
        choice.choices = [*choice.choices, (NONE, _("None for now: no phone can sign in until you give one"))]
        if "number" in self.fields:  # not there for someone who may only look
            self.fields["number"].help_text = _(
                "Changing the number ends its registrations, and it needs a new password. You are asked first."
            )

    def number_for_password(self) -> str:
        return self.cleaned_data.get("number", "")

    @property
    def renames(self) -> bool:
        return self.cleaned_data.get("number", self.old_number) != self.old_number

    @property
    def disables(self) -> bool:
        return self.was_enabled and self.cleaned_data.get("enabled") is False

    def wants_password(self) -> bool:
        # Without a rename the Password button is the place for that.
        return self.renames and self.cleaned_data.get("confirmed", False)

    def clean(self):
        data = super().clean()
        if self.wants_password() and not data.get("password_from") and "password_from" not in self.errors:
            self.add_error("password_from", _("Choose what the password is to be."))
        return data

    def _post_clean(self):
        super()._post_clean()  # here the number is found to be taken, which is said before anything is asked
        only_password_errors = set(self.errors) <= {"password_from", "password1", "password2"}
        if only_password_errors and (self.errors or not self.cleaned_data.get("confirmed")):
            if self.renames:
                self.asks.add("rename")
            if self.disables and self.instance.bindings.online().exists():
                self.asks.add("disable")
        if self.asks and not self.errors:
            self.add_error(None, _("Please confirm."))
