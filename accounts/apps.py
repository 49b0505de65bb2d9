from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "accounts"
    verbose_name = "People"

    def ready(self) -> None:
        from accounts import middleware, signing  # models are loaded by now

        middleware.connect()
        signing.connect()
