from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class DiagnosisConfig(AppConfig):
    name = "pbx.diagnosis"
    label = "diagnosis"
    verbose_name = _("Diagnosis")

    def ready(self):
        from pbx.diagnosis import checks  # noqa: F401  (registers the system check)
