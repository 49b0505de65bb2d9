"""How figures, durations and times are written, the same on every page."""

import re
from datetime import UTC, datetime, timedelta

from django.utils import timezone

NARROW = "\N{NO-BREAK SPACE}"  # between a number and its unit
MINUTE, HOUR, DAY = 60, 3600, 86_400
LONG_AGO = timedelta(days=30)
UNITS = re.compile(r"(?<=\d) (?=(?:ms|s|min|h|d|km|GiB|GPU|cores|%)\b)")


def number(value: int) -> str:
    """'1,318'."""
    return f"{value:,}"


def count(value: int, one: str, many: str = "") -> str:
    """'1 config', '1,318 configs'."""
    return f"{number(value)}{NARROW}{one if value == 1 else many or f'{one}s'}"


def units(text: str) -> str:
    """A sentence with no-break spaces before its units: '42 of 60 min'."""
    return UNITS.sub(NARROW, text)


def duration(span: timedelta | float) -> str:
    """Two units at most: '412 ms', '4.2 s', '42 s', '1 min 16 s', '1 h 13 min', '3 d 4 h'."""
    seconds = max(0.0, span.total_seconds() if isinstance(span, timedelta) else float(span))
    if seconds < 1:
        return f"{round(seconds * 1000)}{NARROW}ms"
    if seconds < 10 and seconds % 1 >= 0.05:
        return f"{seconds:.1f}{NARROW}s"
    whole = int(seconds)
    if whole < MINUTE:
        return f"{whole}{NARROW}s"
    if whole < 10 * MINUTE:
        return _two(whole, MINUTE, "min", 1, "s")
    if whole < HOUR:
        return f"{whole // MINUTE}{NARROW}min"
    if whole < DAY:
        return _two(whole, HOUR, "h", MINUTE, "min")
    return _two(whole, DAY, "d", HOUR, "h")


def plain_duration(span: timedelta | float) -> str:
    """The same with plain spaces, for messages that are stored, told by the API and logged."""
    return duration(span).replace(NARROW, " ")


def _two(whole: int, large: int, large_unit: str, small: int, small_unit: str) -> str:
    first, rest = divmod(whole, large)
    second = rest // small
    told = f"{first}{NARROW}{large_unit}"
    return f"{told}{NARROW}{second}{NARROW}{small_unit}" if second else told


def relative(moment: datetime, now: datetime | None = None) -> str:
    """'just now', '42 s ago', 'in 9 min', '2 h ago', '3 d ago', then the day."""
    ahead = moment - (now or timezone.now())
    span = abs(ahead)
    if span >= LONG_AGO:
        return day(moment)
    if span < timedelta(seconds=5):
        return "just now"
    told = _one_unit(int(span.total_seconds()))
    return f"in{NARROW}{told}" if ahead > timedelta(0) else f"{told}{NARROW}ago"


def _one_unit(seconds: int) -> str:
    for size, unit in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if seconds >= size:
            return f"{seconds // size}{NARROW}{unit}"
    return f"{seconds}{NARROW}s"


def day(moment: datetime) -> str:
    """'23 Oct 2026', in the reader's zone."""
    return f"{timezone.localtime(moment):%-d %b %Y}"


def clock(moment: datetime) -> str:
    """'14:05:02', in the reader's zone."""
    return f"{timezone.localtime(moment):%H:%M:%S}"


def short_clock(moment: datetime, now: datetime | None = None) -> str:
    """'14:05' today, '22 Oct, 14:05' on other days."""
    local = timezone.localtime(moment)
    today = timezone.localtime(now or timezone.now()).date()
    return f"{local:%H:%M}" if local.date() == today else f"{local:%-d %b, %H:%M}"


def absolute(moment: datetime) -> str:
    """'23 Oct 2026, 14:05:02 CEST (12:05:02 UTC)': local and UTC, to the second."""
    local, utc = timezone.localtime(moment), moment.astimezone(UTC)
    if local.utcoffset() == timedelta(0):
        return f"{utc:%-d %b %Y, %H:%M:%S} UTC"
    there = f"{utc:%H:%M:%S}" if utc.date() == local.date() else f"{utc:%-d %b, %H:%M:%S}"
    return f"{local:%-d %b %Y, %H:%M:%S %Z} ({there} UTC)"
