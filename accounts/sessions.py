"""Sessions as rows that know whose they are, so that people can see and end theirs."""

from typing import Any

from django.contrib.sessions.backends.db import SessionStore as DatabaseStore

from accounts.models import Session


class SessionStore(DatabaseStore):
    @classmethod
    def get_model_class(cls) -> Any:
        return Session

    def create_model_instance(self, data: dict[str, Any]) -> Session:
        found: Session = super().create_model_instance(data)  # type: ignore[assignment]
        found.user_id = data.get("_auth_user_id")
        return found
