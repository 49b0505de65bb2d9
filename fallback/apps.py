from django.apps import AppConfig


class FallbackAppConfig(AppConfig):
    name = "fallback"
    verbose_name = "Fallback"

    def ready(self) -> None:
        from accounts.belonging import HOLDINGS, Holding  # models are loaded by now
        from fallback import holding

        HOLDINGS[self.name] = Holding(holding.running, holding.purge)
