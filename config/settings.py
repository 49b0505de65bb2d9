"""All settings, from the environment. `.env.example` explains each variable."""

import logging
from email.utils import getaddresses
from pathlib import Path

import environ
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured

from config.base import addresses, logs
from config.environment import (
    Environment,
    derived_key,
    embedded_socket,
    made_once,
    plain,
    refuse_weak_keys,
    refuse_weak_secret,
    user_name,
)

BASE_DIR = Path(__file__).resolve().parent.parent
env = Environment(BASE_DIR / ".env")

NODE_ENV = env.choice(
    "NODE_ENV", "development", {"development", "production", "test", "staging", ""}
)
PRODUCTION = env.flag("PRODUCTION", default=NODE_ENV == "production")
DEBUG = env.flag("DEBUG")
DATA_DIR = Path(env.text("DATA_DIR", str(BASE_DIR / "var"))).resolve()
HOST = env.text("HOST", "127.0.0.1")
PORT = env.number("PORT", 3000, 0, 65535)

if PRODUCTION:
    SECRET_KEY = env.required("SECRET_KEY", "it signs sessions. Use 50 random characters.")
    refuse_weak_secret(SECRET_KEY)
    ENCRYPTION_KEYS = env.list("ENCRYPTION_KEYS")
    env.required(
        "ENCRYPTION_KEYS",
        "they encrypt tokens. `PRODUCTION=false manage.py encryption_key` makes one.",
    )
    refuse_weak_keys(ENCRYPTION_KEYS, SECRET_KEY)
    if DEBUG:
        raise ImproperlyConfigured("DEBUG must be off in production.")
else:
    SECRET_KEY = env.text("SECRET_KEY") or made_once(DATA_DIR / "secret_key")
    ENCRYPTION_KEYS = env.list("ENCRYPTION_KEYS") or [derived_key(SECRET_KEY, "encryption")]
for position, key in enumerate(ENCRYPTION_KEYS, start=1):
    try:
        Fernet(key)
    except ValueError:
        raise ImproperlyConfigured(
            f"ENCRYPTION_KEYS: key {position} is not a Fernet key (32 bytes, URL-safe base64)."
        ) from None

ALLOWED_HOSTS = env.list("ALLOWED_HOSTS") or ([] if PRODUCTION else ["*"])
if PRODUCTION:
    env.required("ALLOWED_HOSTS", "the names that this site answers to.")
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS")
TRUSTED_PROXIES = env.parsed("TRUSTED_PROXIES", addresses.networks, "10.0.0.0/8, 192.0.2.7, ::1")

INSTALLED_APPS = [
    "daphne",
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_celery_beat",
    "django_structlog",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_htmx",
    "config",
    "accounts",
    "fallback",
]
MIDDLEWARE = [
    "config.request_ids.RequestIdMiddleware",
    "config.pages.PageMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "config.guard.GuardMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_structlog.middlewares.RequestMiddleware",
    "accounts.middleware.ActorMiddleware",
    "accounts.scope.ScopeMiddleware",
    "accounts.idempotency.OnceMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "config.pages.frame",
            ]
        },
    }
]

DATABASES = {
    "default": environ.Env.db_url_config(env.database_url(DATA_DIR))
    | {"CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True}
}
if DATABASES["default"]["ENGINE"].endswith("postgresql"):
    # A process that stands still inside a transaction must not keep its locks for ever.
    DATABASES["default"].setdefault("OPTIONS", {}).setdefault(
        "options", "-c idle_in_transaction_session_timeout=60000"
    )
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATA_DIR.mkdir(parents=True, exist_ok=True)
    # DEFERRED transactions upgrade too late and fail at once under contention.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        # Read through the system's cache (mapped, so shared by all connections): searching a large
        # table takes a fifth less time.
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; "
        "PRAGMA mmap_size=268435456;",
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = env.redis_url(embedded_socket(DATA_DIR))
REDIS_EMBEDDED = f"unix://{embedded_socket(DATA_DIR)}" == REDIS_URL

CACHES = {
    "default": {
        "BACKEND": "config.base.cache.FailOpen",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "switchyard",
        "OPTIONS": {"socket_timeout": 0.5, "socket_connect_timeout": 0.5, "retry": None},
    }
}

AUTH_USER_MODEL = "accounts.User"
SIGNUP = env.choice("SIGNUP", "invite" if PRODUCTION else "open", {"open", "invite", "closed"})
ORGANIZATION_CREATE = env.choice(
    "ORGANIZATION_CREATE", "superuser" if PRODUCTION else "anyone", {"anyone", "superuser"}
)
SILENCED_SYSTEM_CHECKS = [
    "auth.W004",  # user names are unique without case: a constraint
    "security.W021",  # whether browsers preload HSTS is for the owner of the whole domain
]
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = LOGOUT_REDIRECT_URL = "overview"
SESSION_ENGINE = "accounts.sessions"
PASSWORD_RESET_TIMEOUT = 60 * 60  # seconds that the link in a mail works
AUTHENTICATION_BACKENDS = ["accounts.backends.EmailOrUsernameBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if PRODUCTION
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}
WHITENOISE_USE_FINDERS = not PRODUCTION

# The broker may be away: half a second, then the rows and the ticks carry on without it.
BROKER_TIMEOUT = 0.5
# It may be there and not answer: that looks like one that has much to do, for a while.
BROKER_PATIENCE = 2
CELERY_BROKER_URL = REDIS_URL.replace("unix://", "redis+socket://", 1)
CELERY_BROKER_CONNECTION_TIMEOUT = BROKER_TIMEOUT
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "socket_connect_timeout": BROKER_TIMEOUT,
    "socket_timeout": BROKER_PATIENCE,
    # kombu looks for lost messages about every 100 s unless told otherwise.
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
    "visibility_timeout": 300,
}
CELERY_TASK_PUBLISH_RETRY = False
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_SOFT_TIME_LIMIT = 55
CELERY_TASK_TIME_LIMIT = 60
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
CELERY_BEAT_MAX_LOOP_INTERVAL = 5
CELERY_TIMEZONE = "UTC"
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        # redis-py 8 gives up after 5 s of silence, and the layer blocks for just that long.
        "CONFIG": {"hosts": [{"address": REDIS_URL, "socket_timeout": 30}]},
    }
}

ADMINS = getaddresses([env.text("ADMINS")]) if env.text("ADMINS") else []
if any("@" not in address for _, address in ADMINS):
    raise ImproperlyConfigured("ADMINS must look like: Ada <ada@example.org>, ops@example.org.")
globals().update(
    env.parsed(
        "EMAIL_URL",
        lambda url: environ.Env.email_url_config(url or "consolemail://"),
        "smtp+tls://USER:PASSWORD@HOST:587 or consolemail://",
    )
)
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.text("EMAIL_FROM", "switchyard@localhost")

LOG_LEVEL = env.choice("LOG_LEVEL", "INFO", {"DEBUG", "INFO", "WARNING", "ERROR"})
LOG_FORMAT = env.choice("LOG_FORMAT", "json" if PRODUCTION else "console", {"json", "console"})
LOGGING_CONFIG = None
# Tasks carry the request id of their sender; that each ran is worth a line to no one.
DJANGO_STRUCTLOG_CELERY_ENABLED = True
DJANGO_STRUCTLOG_TRUST_UPSTREAM_REQUEST_ID = True  # our own middleware has looked at it
DJANGO_STRUCTLOG_CELERY_DEFAULT_LOG_LEVEL = logging.DEBUG
DJANGO_STRUCTLOG_IP_LOGGING_ENABLED = False  # it believes any X-Forwarded-For; ours is better
logs.configure(LOG_LEVEL, LOG_FORMAT)

SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = PRODUCTION
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if PRODUCTION else None
SECURE_SSL_REDIRECT = env.flag("HTTPS_REDIRECT", default=PRODUCTION)
# Probes come from within, without a proxy.
SECURE_REDIRECT_EXEMPT = [r"^api/(v1/)?health(/(ready|live))?/?$", r"^metrics$"]
SECURE_HSTS_SECONDS = env.number("HSTS_SECONDS", 31_536_000 if PRODUCTION else 0, 0, 63_072_000)
SECURE_HSTS_INCLUDE_SUBDOMAINS = env.flag("HSTS_SUBDOMAINS", default=PRODUCTION)

# Bodies, files included. Forms have few fields, and no page takes a file.
DATA_UPLOAD_MAX_MEMORY_SIZE = env.number("MAX_BODY_BYTES", 2_621_440, 65_536, 104_857_600)
FILE_UPLOAD_MAX_MEMORY_SIZE = DATA_UPLOAD_MAX_MEMORY_SIZE
DATA_UPLOAD_MAX_NUMBER_FIELDS = 1000
DATA_UPLOAD_MAX_NUMBER_FILES = 10
UNFOLD = {
    "SITE_TITLE": "Switchyard",
    "SITE_HEADER": "Switchyard",
    "SITE_SUBHEADER": "Administration",
    "SITE_SYMBOL": "alt_route",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "config.admin.favicon"}],
    "STYLES": ["config.admin.stylesheet"],
    "SCRIPTS": ["config.admin.script"],
    "SHOW_VIEW_ON_SITE": False,
    "LOGIN": {"form": "accounts.forms.SignInForm"},
    "SIDEBAR": {"show_search": True, "navigation": "config.admin.navigation"},
    "COLORS": {
        "primary": {
            "50": "oklch(96.2% .018 272.3)",
            "100": "oklch(93% .034 272.8)",
            "200": "oklch(87% .065 274)",
            "300": "oklch(78.5% .115 274.7)",
            "400": "oklch(67.3% .182 276.9)",
            "500": "oklch(65% .17 277)",
            "600": "oklch(51.1% .19 277)",
            "700": "oklch(45.7% .18 277)",
            "800": "oklch(39.8% .16 277.4)",
            "900": "oklch(35.9% .13 278.7)",
            "950": "oklch(25.7% .09 281.3)",
        }
    },
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.authentication.TokenAuthentication",
        "accounts.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["accounts.permissions.RoleAllows"],
    "DEFAULT_PARSER_CLASSES": ["config.base.parsing.JSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["config.base.casing.Renderer"],
    "DEFAULT_PAGINATION_CLASS": "config.base.api.Pages",
    "DEFAULT_FILTER_BACKENDS": ["config.base.api.Listing"],
    "DEFAULT_SCHEMA_CLASS": "config.base.schema.Schema",
    "DEFAULT_METADATA_CLASS": None,
    "EXCEPTION_HANDLER": "config.base.problems.handle",
    "NON_FIELD_ERRORS_KEY": "body",
    "URL_FORMAT_OVERRIDE": None,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
# What is the user's own goes through key for key.
PASSED_THROUGH = (
    "config",
    "configSchema",
    "config_schema",
    "input",
    "output",
    "values",
    "labels",
    "annotations",
    "env",
    "manifest",
    "change",
    "data",
)
JSON_CAMEL_CASE = {
    "JSON_UNDERSCOREIZE": {
        "no_underscore_before_number": True,
        "ignore_fields": PASSED_THROUGH,
        "ignore_keys": (),
    }
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Switchyard",
    "DESCRIPTION": "Keeps work moving across clusters.\n\nA call shows who you are: "
    "`Authorization: Bearer TOKEN`. Create a token under [API tokens](/account/tokens/); the page "
    "that shows it has a first call for a terminal. To try calls here, choose Authorize and paste "
    "the token, or just be signed in.\n\nA field that is not known is refused, in queries and in "
    "bodies; a PUT or PATCH may hold what an answer held, and sets what can be set of it.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": "/api",
    "PREPROCESSING_HOOKS": ["config.base.schema.one_of_each"],
    "POSTPROCESSING_HOOKS": [
        "config.base.schema.without_marks",
        "drf_spectacular.contrib.djangorestframework_camel_case.camelize_serializer_fields",
        "config.base.schema.each_required_once",
    ],
    "GET_LIB_DOC_EXCLUDES": "config.base.api.written_for_developers",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
}

OUTBOUND_ALLOW_PRIVATE = env.flag("OUTBOUND_ALLOW_PRIVATE", default=not PRODUCTION)
TRUEFOUNDRY_ALLOWED_HOSTS = env.list("TRUEFOUNDRY_ALLOWED_HOSTS")
TRUEFOUNDRY_API_URL = env.url("TRUEFOUNDRY_API_URL", {"http", "https"})
TF_SERVICE_API_TOKEN = env.parsed("TF_SERVICE_API_TOKEN", plain, "a token: ASCII, no spaces")
TF_USER_API_TOKEN = env.parsed("TF_USER_API_TOKEN", plain, "a token: ASCII, no spaces")
TF_USER_API_TOKEN = "" if PRODUCTION else TF_USER_API_TOKEN
SFY_ASSUMED_USER = env.parsed("SFY_ASSUMED_USER", user_name, "truefoundry") or "truefoundry"
JOB_FALLBACK_ENABLED = env.flag("JOB_FALLBACK_ENABLED")
JOB_FALLBACK_STUCK_THRESHOLD_MINUTES = env.number(
    "JOB_FALLBACK_STUCK_THRESHOLD_MINUTES", 60, 1, 525_600
)
JOB_FALLBACK_TRIGGER_MAX_RETRIES = env.number("JOB_FALLBACK_TRIGGER_MAX_RETRIES", 3, 0, 100)
JOB_FALLBACK_TRIGGER_RETRY_DELAY_MS = env.number(
    "JOB_FALLBACK_TRIGGER_RETRY_DELAY_MS", 3000, 0, 300_000
)
JOB_FALLBACK_TRIGGER_DELAY_MS = env.number("JOB_FALLBACK_TRIGGER_DELAY_MS", 0, 0, 300_000)
FALLBACK_CONCURRENCY = env.number("FALLBACK_CONCURRENCY", 16, 1, 256)
FALLBACK_MAX_MOVES_PER_SWEEP = env.number("FALLBACK_MAX_MOVES_PER_SWEEP", 500, 0, 1_000_000)
ACTIVITY_KEPT_DAYS = env.number("ACTIVITY_KEPT_DAYS", 0, 0, 36_500)
METRICS_TOKEN = env.text("METRICS_TOKEN")
BOOTSTRAP_PASSWORD = env.text("BOOTSTRAP_PASSWORD")
