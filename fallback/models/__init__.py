"""The rows of the fallback: split by subject, imported from here."""

from fallback.models.config import Destination, FallbackConfig, Mode, Pause, PurgeMode
from fallback.models.connection import Connection, ConnectionState
from fallback.models.move import Move, MoveState, MoveStep, Relocation, StepEvent
from fallback.models.sweep import Sweep

__all__ = [
    "Connection",
    "ConnectionState",
    "Destination",
    "FallbackConfig",
    "Mode",
    "Move",
    "MoveState",
    "MoveStep",
    "Pause",
    "PurgeMode",
    "Relocation",
    "StepEvent",
    "Sweep",
]
