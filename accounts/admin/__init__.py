"""The admin of people and of what they did."""

from accounts.admin import people, records

__all__ = ["people", "records"]
