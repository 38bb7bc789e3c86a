from django.apps import AppConfig


class PbxConfig(AppConfig):
    name = "pbx"
    verbose_name = "PBX"

    def ready(self):
        from pbx import checks, refused_log_ins  # noqa: F401  (register the system checks, a signal)
