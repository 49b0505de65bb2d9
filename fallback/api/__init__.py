"""The API of the fallback: split by subject."""
