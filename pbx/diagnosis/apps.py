from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class DiagnosisConfig(AppConfig):
    name = "pbx.diagnosis"
    label = "diagnosis"
    verbose_name = _("Diagnosis")

    def ready(self):
        # They hear of new numbers and of repairs, and register the system check.
        from pbx.diagnosis import attempts_of_numbers, blocks, checks  # noqa: F401
