"""The joint app: registers the system checks."""

from django.apps import AppConfig


class CostgovConfig(AppConfig):
    name = "costgov"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from costgov import checks  # noqa: F401 - registers them
