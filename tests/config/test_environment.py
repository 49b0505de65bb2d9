"""The environment: complete in .env.example, each variable used, each mistake named."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import global_settings
from environ import Env

from config.environment import Environment

ROOT = Path(__file__).parents[2]
READERS = {"text", "list", "flag", "number", "choice", "url", "parsed", "required"}
# Read by libraries, which Django's own list of settings does not know.
LIBRARIES = (
    "ASGI_APPLICATION",
    "CELERY_",
    "CHANNEL_LAYERS",
    "DJANGO_STRUCTLOG_",
    "JSON_CAMEL_CASE",
    "REST_FRAMEWORK",
    "ROOT_URLCONF",
    "SPECTACULAR_SETTINGS",
    "UNFOLD",
    "WHITENOISE_",
)
KEY = "q0Jx0Gm3k9bS7v1yWcTzE5uHnR2dLfPa8oViXe4tYgA="


def variables_read() -> set[str]:
    """Every name that settings.py and environment.py ask the environment for."""
    found = set()
    for path in ("config/settings.py", "config/environment.py"):
        for node in ast.walk(ast.parse((ROOT / path).read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in READERS | {"get"}
                and node.args
                and isinstance(node.args[0], ast.Constant)
                and isinstance(node.args[0].value, str)
            ):
                found.add(node.args[0].value)
    return found


def variables_explained() -> set[str]:
    text = (ROOT / ".env.example").read_text()
    return set(re.findall(r"^#?([A-Z][A-Z0-9_]*)=", text, re.M))


def test_the_example_lists_what_is_read_and_nothing_else():
    assert variables_explained() == variables_read()


def test_each_variable_of_the_example_has_a_comment_above():
    above = ""
    for line in (ROOT / ".env.example").read_text().splitlines():
        if re.match(r"#?[A-Z][A-Z0-9_]*=", line):
            assert above.startswith("#"), f"nothing explains {line}"
        else:
            above = line


def test_a_default_in_the_example_is_the_default(monkeypatch):
    """A copy of the example as it is changes nothing."""
    lines = (ROOT / ".env.example").read_text().splitlines()
    given = dict(line.split("=", 1) for line in lines if re.match(r"[A-Z][A-Z0-9_]*=", line))
    show = (
        "import json, config.settings as s; print(json.dumps({n: str(v) for n, v in"
        " vars(s).items() if n.isupper() and n not in ('SECRET_KEY', 'ENCRYPTION_KEYS')}))"
    )
    plain = subprocess.run([sys.executable, "-c", show], env=child(), capture_output=True)
    example = subprocess.run([sys.executable, "-c", show], env=child(given), capture_output=True)
    assert plain.returncode == 0
    assert plain.stdout == example.stdout


def test_each_setting_is_used():
    tree = ast.parse((ROOT / "config/settings.py").read_text())
    names = {
        target.id
        for node in tree.body
        for target in ast.walk(node)
        if isinstance(target, ast.Name) and isinstance(target.ctx, ast.Store)
    }
    names = {name for name in names if name.isupper()}
    read_here = {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    source = "".join(
        path.read_text()
        for folder in ("config", "accounts", "fallback")
        for path in (ROOT / folder).rglob("*.py")
        if path != ROOT / "config/settings.py"
    )
    read_elsewhere = set(re.findall(r"\bsettings\.([A-Z][A-Z0-9_]*)", source))
    unused = {
        name
        for name in names - read_here - read_elsewhere
        if not hasattr(global_settings, name) and not name.startswith(LIBRARIES)
    }
    assert not unused


@pytest.mark.parametrize(
    ("given", "url"),
    [
        (
            {"DB_HOST": "db", "DB_NAME": "a", "DB_USER": "b", "DB_PASSWORD": "p@ss/w:rd?"},
            "postgres://b:p%40ss%2Fw%3Ard%3F@db:5432/a",
        ),
        (
            {"DB_HOST": "db", "DB_PORT": "6432", "DB_DATABASE": "a b", "DB_USERNAME": "b"},
            "postgres://b:@db:6432/a%20b",
        ),
        ({"DATABASE_URL": "postgres://x/y", "DB_HOST": "db"}, "postgres://x/y"),
        ({"DB_NAME": "a"}, "sqlite:////data/switchyard.sqlite3"),
    ],
)
def test_the_older_names_of_a_database_are_understood(monkeypatch, given, url):
    monkeypatch.delenv("DATABASE_URL", raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert Environment(Path("none")).database_url(Path("/data")) == url
    settings = Env.db_url_config(url)
    assert settings["PASSWORD"] == given.get("DB_PASSWORD", "")
    assert settings["NAME"] in {*given.values(), "y", "/data/switchyard.sqlite3"}


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({"REDIS_HOST": "valkey"}, "redis://valkey:6379/0"),
        ({"REDIS_HOST": "v", "REDIS_PORT": "7000", "REDIS_DB": "3"}, "redis://v:7000/3"),
        ({"REDIS_URL": "rediss://x", "REDIS_HOST": "valkey"}, "rediss://x"),
        ({"REDIS_PORT": "7000"}, "unix:///run/v.sock"),
    ],
)
def test_the_older_names_of_a_broker_are_understood(monkeypatch, given, url):
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert Environment(Path("none")).redis_url(Path("/run/v.sock")) == url


def child(extra: dict[str, str] | None = None) -> dict[str, str]:
    """The environment of a process that is to read `extra` and nothing of the caller's."""
    kept = {name: os.environ[name] for name in ("PATH", "DATA_DIR", "ENV_FILE")}
    return kept | {"PYTHONPATH": str(ROOT)} | (extra or {})


def start(extra: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT,
        env=child(extra),
        capture_output=True,
        text=True,
        timeout=60,
    )


SECRET = "hunter2hunter2"
PRODUCTION = {
    "PRODUCTION": "true",
    "SECRET_KEY": SECRET * 5,
    "ENCRYPTION_KEYS": KEY,
    "ALLOWED_HOSTS": "switchyard.example.org",
}


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        ({"PORT": "three"}, "PORT"),
        ({"PORT": "70000"}, "PORT"),
        ({"DEBUG": "perhaps"}, "DEBUG"),
        ({"NODE_ENV": "prod"}, "NODE_ENV"),
        ({"LOG_LEVEL": "LOUD"}, "LOG_LEVEL"),
        ({"DATABASE_URL": f"mysql://app:{SECRET}@db/app"}, "DATABASE_URL"),
        ({"DATABASE_URL": f"postgres://app:{SECRET}@db:port/app"}, "DATABASE_URL"),
        ({"DB_HOST": "db", "DB_PASSWORD": SECRET}, "DB_NAME"),
        ({"REDIS_URL": f"http://:{SECRET}@redis"}, "REDIS_URL"),
        ({"EMAIL_URL": f"pigeon://me:{SECRET}@post"}, "EMAIL_URL"),
        ({"ADMINS": "nobody"}, "ADMINS"),
        ({"TRUSTED_PROXIES": "10.0.0.0/8, proxy"}, "TRUSTED_PROXIES"),
        ({"ENCRYPTION_KEYS": f"{KEY},{SECRET}"}, "ENCRYPTION_KEYS: key 2"),
        ({"TRUEFOUNDRY_API_URL": f"ftp://{SECRET}@host"}, "TRUEFOUNDRY_API_URL"),
        ({"TF_SERVICE_API_TOKEN": f"{SECRET} {SECRET}"}, "TF_SERVICE_API_TOKEN"),
        ({"TF_USER_API_TOKEN": f"{SECRET}\u00fc"}, "TF_USER_API_TOKEN"),
        ({"SFY_ASSUMED_USER": "a b"}, "SFY_ASSUMED_USER"),
        ({"JOB_FALLBACK_STUCK_THRESHOLD_MINUTES": "-1"}, "JOB_FALLBACK_STUCK_THRESHOLD_MINUTES"),
        ({"FALLBACK_CONCURRENCY": "0"}, "FALLBACK_CONCURRENCY"),
        (PRODUCTION | {"SECRET_KEY": ""}, "SECRET_KEY"),
        (PRODUCTION | {"ENCRYPTION_KEYS": ""}, "ENCRYPTION_KEYS"),
        (PRODUCTION | {"ALLOWED_HOSTS": ""}, "ALLOWED_HOSTS"),
        (PRODUCTION | {"DEBUG": "true"}, "DEBUG"),
        ({"NODE_ENV": "production"}, "SECRET_KEY"),
        ({"NODE_ENV": "production", "PRODUCTION": ""}, "SECRET_KEY"),
    ],
)
def test_a_mistake_stops_the_start_with_one_sentence(extra, named):
    result = start(extra)
    assert result.returncode == 1
    assert result.stdout == ""
    assert re.fullmatch(rf"Switchyard cannot start: .*{named}.*\.\n", result.stderr)
    assert SECRET not in result.stderr
    assert "Traceback" not in result.stderr


def test_production_starts_with_what_it_requires(tmp_path):
    key_file = tmp_path / "key"
    key_file.write_text(PRODUCTION["SECRET_KEY"])
    from_file = {name: value for name, value in PRODUCTION.items() if name != "SECRET_KEY"}
    result = start(from_file | {"SECRET_KEY_FILE": str(key_file)})
    assert (result.returncode, result.stderr) == (0, "")
