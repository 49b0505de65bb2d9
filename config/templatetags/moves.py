"""Pieces that know moves: `{% load moves %}`."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django import template

from config.base import showing, tones
from fallback import telling
from fallback.models import FallbackConfig, Move, MoveState, Pause, Sweep
from fallback.views.configs import state_of

register = template.Library()


@register.inclusion_tag("ui/track.html")
def track(move: Move) -> dict[str, Any]:
    """How far a move has come, where many stand side by side."""
    reached, way = telling.progress(move)
    points = ["done"] * reached + ["now"] + [""] * (len(way) - reached - 1)
    return {
        "points": points,
        "tone": tones.look_of("move", move.state).tone,
        "label": f"Step {reached + 1} of {len(way)}: {move.state}",
    }


@register.filter
def took(move: Move) -> str:
    """From its plan to its end."""
    return showing.duration(move.finished_at - move.created_at) if move.finished_at else ""


@register.simple_tag
def move_lede(move: Move, names: Mapping[str, str]) -> str:
    """What became of the run, in a sentence."""
    source = names.get(move.source_workspace_id) or move.source_workspace_id
    there = move.destination_workspace_fqn
    waited = showing.duration(move.created_at - move.source_created_at)
    why = f"its run was {move.source_status} for {waited}"
    if move.state == MoveState.SUCCEEDED:
        return f"Moved from {source} to {there} because {why}, limit {_limit(move)}."
    if move.finished_at or move.state == MoveState.NEEDS_ATTENTION:
        return showing.units(move.message) or f"It was to go from {source} to {there}."
    told = f"Goes from {source} to {there} because {why}, limit {_limit(move)}."
    return f"{told} {showing.units(move.message)}" if move.reason else told


def _limit(move: Move) -> str:
    return showing.duration(timedelta(minutes=move.stuck_threshold_minutes))


@register.filter
def sweep_state(sweep: Sweep) -> str:
    if sweep.finished_at is None:
        return "running" if sweep.lease else "waiting"
    if sweep.errors:
        return "errors"
    return "quiet" if sweep.quiet else "done"


@register.filter
def config_state(config: FallbackConfig, everything: Pause | None) -> str:
    return state_of(config, everything)


@register.filter
def minutes(value: int) -> str:
    """Minutes as people say them: '45 min', '1 h 30 min', '2 d'."""
    return showing.duration(timedelta(minutes=value))
