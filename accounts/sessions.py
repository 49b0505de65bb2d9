"""Sessions as rows that know whose they are, so that people can see and end theirs."""

from contextlib import suppress
from datetime import timedelta
from typing import Any

from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.db import DatabaseError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from accounts import activity, agents, live
from accounts.models import Session, User
from config.base.actor import Actor
from config.base.problems import Conflict

SEEN_EVERY = timedelta(minutes=1)  # how exactly it is known when a session was last used


class SessionStore(DatabaseStore):
    """`address` and `agent` are set for the time of a request, by the middleware."""

    address = agent = ""
    row: Session | None = None  # as it was loaded

    @classmethod
    def get_model_class(cls) -> Any:
        return Session

    def create_model_instance(self, data: dict[str, Any]) -> Session:
        found: Session = super().create_model_instance(data)  # type: ignore[assignment]
        found.user_id = data.get("_auth_user_id")
        found.address = self.address
        found.agent = self.agent.replace("\0", "")[:300]
        return found

    def _validate_session_key(self, key: Any) -> bool:
        """What a cookie brings may be anything, NUL included, which no database looks for."""
        known: Any = super()._validate_session_key(key)  # type: ignore[misc]
        return bool(known) and key.isascii() and key.isalnum()

    def _get_session_from_db(self) -> Any:
        self.row = super()._get_session_from_db()  # type: ignore[misc]
        return self.row

    def note_use(self) -> None:
        """Remember that it was used, and from where; once a minute, however much it is used."""
        row, now = self.row, timezone.now()
        if row and row.user_id and row.last_seen_at <= now - SEEN_EVERY:
            unseen = Session.objects.filter(pk=row.pk, last_seen_at__lte=now - SEEN_EVERY)
            with suppress(DatabaseError):  # the page is there, and the next use is noted again
                unseen.update(last_seen_at=now, address=self.address)


def of(user: User) -> QuerySet[Session]:
    """Those that still work, last used first."""
    found = Session.objects.filter(user=user, expire_date__gt=timezone.now())
    return found.order_by("-last_seen_at", "id")


def end(session: Session, actor: Actor) -> None:
    """Whoever uses it is signed out at once. Raises Conflict where it has ended."""
    with transaction.atomic():
        if not _delete(Session.objects.filter(pk=session.pk)):
            raise Conflict("This session has ended already.", "Ended")
        change = {"browser": agents.told(session.agent), "address": session.address}
        told = activity.build(actor, "session.ended", session, None, change)
        told.object_id = str(session.id)  # the primary key is the secret
        told.save(force_insert=True)
        if session.user_id:
            live.rights_changed(session.user_id)


def end_others(user: User, actor: Actor, kept: str | None, reason: str = "") -> int:
    """End all sessions of `user` but the one with the key `kept`. How many there were."""
    with transaction.atomic():
        count = end_all(user, kept)
        if count:
            activity.record(actor, "session.others_ended", user, None, {"count": count}, reason)
    return count


def end_all(user: User, kept: str | None = None) -> int:
    """The same, as a part of something else that is written down."""
    found = Session.objects.filter(user=user)
    count = _delete(found.exclude(pk=kept) if kept else found)
    live.rights_changed(user.pk)
    return count


def prune() -> int:
    """Delete those that nobody can use any more; answers how many."""
    return _delete(Session.objects.filter(expire_date__lte=timezone.now()))


def _delete(found: QuerySet[Session]) -> int:
    return int(found.delete()[0])
