"""What can go wrong by design, for every entry point: pages, API, admin and commands."""


class Conflict(Exception):
    """The state of things does not allow this (409). `code` is stable, for programs."""

    def __init__(self, message: str, code: str = "Conflict") -> None:
        super().__init__(message)
        self.code = code
