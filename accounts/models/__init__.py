from accounts.models.joining import Invite
from accounts.models.people import NAME, USERNAME, Membership, Organization, User
from accounts.models.records import Activity, Chain
from accounts.models.tokens import ApiToken, IdempotencyKey, Session
from accounts.models.webhooks import Delivery, Webhook

__all__ = [
    "NAME",
    "USERNAME",
    "Activity",
    "ApiToken",
    "Chain",
    "Delivery",
    "IdempotencyKey",
    "Invite",
    "Membership",
    "Organization",
    "Session",
    "User",
    "Webhook",
]
