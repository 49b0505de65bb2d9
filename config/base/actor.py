"""Who acts: built once per request, socket or command; everything below takes it."""

import uuid
from dataclasses import dataclass, field
from typing import Self


@dataclass(frozen=True)
class Actor:
    """A person, a token or the system, and the organizations that it may see.

    `roles` maps organization id to role; `sees_all` is for superusers and the system.
    """

    name: str
    user_id: uuid.UUID | None = None
    token_id: uuid.UUID | None = None
    roles: dict[uuid.UUID, str] = field(default_factory=dict)
    sees_all: bool = False
    read_only: bool = False
    request_id: str = ""
    address: str = ""

    @property
    def kind(self) -> str:
        """'token', 'user' or 'system'."""
        return "token" if self.token_id else "user" if self.user_id else "system"

    @property
    def organizations(self) -> frozenset[uuid.UUID]:
        return frozenset(self.roles)

    @classmethod
    def system(cls, name: str = "system") -> Self:
        """Ticks and maintenance: sees everything."""
        return cls(name=name, sees_all=True)

    @classmethod
    def nobody(cls) -> Self:
        return cls(name="anonymous", read_only=True)
