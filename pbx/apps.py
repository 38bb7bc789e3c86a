from django.apps import AppConfig


class PbxConfig(AppConfig):
    name = "pbx"
    verbose_name = "PBX"

    def ready(self):
        from pbx import checks  # noqa: F401  (registers the system checks)
