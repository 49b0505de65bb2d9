from django.apps import AppConfig


class FallbackAppConfig(AppConfig):
    name = "fallback"
    verbose_name = "Fallback"
