from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class SystemConfig(AppConfig):
    name = "pbx.system"
    label = "system"
    verbose_name = _("System")

    def ready(self):
        from pbx.system.identity import make_identity

        post_migrate.connect(make_identity, sender=self, dispatch_uid="pbx.system.identity")
