from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class DiagnosisConfig(AppConfig):
    name = "pbx.diagnosis"
    label = "diagnosis"
    verbose_name = _("Diagnosis")

    def ready(self):
        from pbx.diagnosis import blocks, checks  # noqa: F401  (they hear of repairs, and register the system check)
