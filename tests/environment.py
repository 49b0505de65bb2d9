"""Sets the environment before Django reads its settings; pytest loads it first (`-p`)."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

OURS = ("DB_", "EMAIL_", "FALLBACK_", "JOB_", "OUTBOUND_", "REDIS_", "SFY_", "TF_", "TRUEFOUNDRY_")
NAMES = {
    "ACTIVITY_KEPT_DAYS",
    "ADMINS",
    "ALLOWED_HOSTS",
    "BOOTSTRAP_PASSWORD",
    "CSRF_TRUSTED_ORIGINS",
    "DEBUG",
    "ENCRYPTION_KEYS",
    "HOST",
    "HSTS_SECONDS",
    "HSTS_SUBDOMAINS",
    "HTTPS_REDIRECT",
    "LOG_FORMAT",
    "MAX_BODY_BYTES",
    "METRICS_TOKEN",
    "NODE_ENV",
    "PORT",
    "PRODUCTION",
    "ORGANIZATION_CREATE",
    "SECRET_KEY",
    "SIGNUP",
    "TRUSTED_PROXIES",
}


def prepare() -> None:
    """Nothing from the caller's environment but DATABASE_URL reaches a test."""
    for name in list(os.environ):
        bare = name.removesuffix("_FILE")
        if bare in NAMES or bare.startswith(OURS):
            del os.environ[name]
    # Short, and directly in the temporary directory: a Unix socket's path ends at 107 bytes.
    data_dir = Path(tempfile.mkdtemp(prefix="swy-"))
    (data_dir / "static").mkdir()
    atexit.register(shutil.rmtree, data_dir, ignore_errors=True)
    os.environ |= {
        "DATA_DIR": str(data_dir),
        "ENV_FILE": "none",
        "LOG_LEVEL": "WARNING",
        "OUTBOUND_ALLOW_PRIVATE": "true",
    }


prepare()
