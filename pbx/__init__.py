"""The Django project of the PBX and one package per feature."""

__version__ = "0.1.0"
