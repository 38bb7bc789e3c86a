from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class CallsConfig(AppConfig):
    name = "pbx.calls"
    label = "calls"
    verbose_name = _("Calls")

    def ready(self):
        from pbx.calls import checks  # noqa: F401  (registers the system check)
