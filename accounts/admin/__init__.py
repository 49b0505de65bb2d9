"""The admin of people and of what they did."""

from accounts.admin import invites, people, records, webhooks

__all__ = ["invites", "people", "records", "webhooks"]
