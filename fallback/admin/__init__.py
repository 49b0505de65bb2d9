"""The admin of the fallback."""

from fallback.admin import configs, connections, moves, sweeps

__all__ = ["configs", "connections", "moves", "sweeps"]
