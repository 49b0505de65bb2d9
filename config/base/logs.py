"""Structured logs: one format for Django, Celery and our own code, with secrets kept out."""

import logging
import logging.config
from typing import Any

import structlog

from config.base.redaction import redact, without_codes


def redact_event(_logger: Any, _method: str, event: Any) -> Any:
    """A structlog processor: what looks like a secret never reaches a log line."""
    found = {key: value if key == "event" else redact(value, key) for key, value in event.items()}
    if isinstance(found.get("event"), str):  # a sentence, which may name an address
        found["event"] = without_codes(found["event"])
    return found


def without_trace(record: logging.LogRecord) -> bool:
    """A filter. To Django a refusal is an exception, too, and it would log where it was raised."""
    if record.levelno < logging.ERROR:
        record.exc_info = None
    return True


def configure(level: str, form: str) -> None:
    """Send everything to standard error as `form` ('json' or 'console') from `level` on."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.PositionalArgumentsFormatter(),
        redact_event,
    ]
    renderer: Any = structlog.dev.ConsoleRenderer(colors=False)
    if form == "json":
        renderer = structlog.processors.JSONRenderer()
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "ours": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "processors": [
                        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                        # Tracebacks without local variables: those hold tokens and inputs.
                        structlog.processors.format_exc_info,
                        renderer,
                    ],
                    "foreign_pre_chain": shared,
                }
            },
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "ours"}},
            "root": {"handlers": ["stderr"], "level": level},
            "loggers": {
                "django.request": {"filters": [without_trace]},
                "django.server": {"level": "WARNING"},
                "daphne.http_protocol": {"level": "WARNING"},
                "urllib3": {"level": "ERROR"},
                "celery.app.trace": {"level": "WARNING"},
                "celery.worker.strategy": {"level": "WARNING"},
                "celery.beat": {"level": "CRITICAL"},
                "django_celery_beat": {"level": "WARNING"},
            },
        }
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
