"""`PRODUCTION=true`: what it refuses to start with, and that Django's own checks find nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from config.environment import derived_key

ROOT = Path(__file__).parents[2]
SECRET_KEY = "tZ8_qW3nB-xK5vR7yL2mJ9cF4hG6dS1aP0eU_iO-bNrTkXwVzQ"
COMPLETE = {
    "PRODUCTION": "true",
    "SECRET_KEY": SECRET_KEY,
    "ENCRYPTION_KEYS": "q0Jx0Gm3k9bS7v1yWcTzE5uHnR2dLfPa8oViXe4tYgA=",
    "ALLOWED_HOSTS": "switchyard.example.org",
    "CSRF_TRUSTED_ORIGINS": "https://switchyard.example.org",
    "DATABASE_URL": "postgres://switchyard@db/switchyard",
    "REDIS_URL": "redis://valkey:6379/0",
}


def run(*arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "DATA_DIR", "ENV_FILE")}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=kept | COMPLETE | extra,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_deployment_checks_are_clean():
    done = run("manage.py", "check", "--deploy", "--fail-level", "DEBUG")
    assert (done.returncode, done.stderr) == (0, "")
    assert "no issues" in done.stdout


def test_the_deployment_checks_do_look():
    done = run("manage.py", "check", "--deploy", "--fail-level", "WARNING", HSTS_SECONDS="0")
    assert done.returncode == 1
    assert "security.W004" in done.stderr


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        ({"SECRET_KEY": SECRET_KEY[:49]}, "SECRET_KEY is shorter than 50 characters"),
        ({"SECRET_KEY": "abcd" * 20}, "SECRET_KEY repeats a few characters"),
        ({"SECRET_KEY": f"django-insecure-{SECRET_KEY}"}, "SECRET_KEY is a placeholder"),
        ({"SECRET_KEY": f"change-me-{SECRET_KEY}"}, "SECRET_KEY is a placeholder"),
        ({"SECRET_KEY": "your-secret-key-" * 4}, "SECRET_KEY is a placeholder"),
        (
            {"ENCRYPTION_KEYS": derived_key(SECRET_KEY, "encryption")},
            "ENCRYPTION_KEYS: key 1 is a default",
        ),
        (
            {"ENCRYPTION_KEYS": f"{COMPLETE['ENCRYPTION_KEYS']},{'A' * 43}="},
            "ENCRYPTION_KEYS: key 2 is a default",
        ),
        ({"DEBUG": "true"}, "DEBUG must be off"),
        ({"HSTS_SECONDS": "forever"}, "HSTS_SECONDS"),
        ({"MAX_BODY_BYTES": "1"}, "MAX_BODY_BYTES"),
    ],
)
def test_it_does_not_start_with(extra, told):
    done = run("manage.py", "check", **extra)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"Switchyard cannot start: {told}")
    assert done.stderr.count("\n") == 1
    for name, value in extra.items():
        if "KEY" in name:
            assert value not in done.stderr


def test_the_image_can_be_built_with_the_settings_of_its_file(tmp_path):
    """Its step that collects files: with `check` in place of that, which takes much longer."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    [line] = [line for line in text.splitlines() if "collectstatic" in line]
    line = line.removeprefix("RUN ").replace("collectstatic --noinput --verbosity 0", "check")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-euc", line],
        cwd=ROOT,
        env={"PATH": path, "PRODUCTION": "true", "ENV_FILE": "none", "DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_outside_production_any_key_will_do():
    done = run("manage.py", "check", PRODUCTION="false", SECRET_KEY="x", DEBUG="true")
    assert done.returncode == 0


ASK = """
import json, logging, django
django.setup()
from django.test import Client
logging.disable()
HOST = "switchyard.example.org"
found = {}
for path in ("/theme/", "/api/moves", "/api/health/live"):
    for secure in (False, True):
        client = Client(False, raise_request_exception=False, headers={"Host": HOST})
        answer = client.get(path, secure=secure)
        found[f"{path} {secure}"] = [answer.status_code, dict(answer.headers)]
print(json.dumps(found))
"""


def test_http_leads_to_https_which_stays():
    settings = {"DJANGO_SETTINGS_MODULE": "config.settings", "DATABASE_URL": ""}
    done = run("-c", ASK, **settings)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for path in ("/theme/", "/api/moves"):
        status, headers = found[f"{path} False"]
        assert (status, headers["Location"]) == (301, f"https://switchyard.example.org{path}")
        assert "Strict-Transport-Security" not in headers
        assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert found["/api/health/live False"][0] == 200, "a probe comes without TLS"
    for name, (_, headers) in found.items():
        if name.endswith("True"):
            told = headers["Strict-Transport-Security"]
            assert told == "max-age=31536000; includeSubDomains", name


def test_cookies_are_for_https_only_and_out_of_reach_of_scripts():
    ask = (
        "import django; django.setup(); from django.conf import settings as s; print("
        "s.SESSION_COOKIE_SECURE, s.CSRF_COOKIE_SECURE, s.SESSION_COOKIE_HTTPONLY,"
        "s.SESSION_COOKIE_SAMESITE)"
    )
    done = run("-c", ask, DJANGO_SETTINGS_MODULE="config.settings")
    assert done.stdout.split() == ["True", "True", "True", "Lax"]
