from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ExtensionsConfig(AppConfig):
    name = "extensions"
    verbose_name = _("Extensions")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from extensions import signals  # noqa: F401  (connects the receivers)
