"""Settings, read from the environment. Every bad value is refused with its name, value and remedy (costgov.env)."""

import os
import secrets
from datetime import datetime

from costgov import env

BASE_DIR = env.PROJECT
COSTGOV_VAR = env.var_folder()
COSTGOV_REQUEST_STORE = env.request_store()
# Months of details to keep before this one; empty keeps all (docs/guide/retention.md).
COSTGOV_KEEP_REQUEST_MONTHS = env.optional_number("COSTGOV_KEEP_REQUEST_MONTHS", 1, 1200)
COSTGOV_KEEP_HOUR_MONTHS = env.optional_number("COSTGOV_KEEP_HOUR_MONTHS", 1, 1200)


def _secret_key() -> str:
    """COSTGOV_SECRET_KEY, else one made once and kept under COSTGOV_VAR, readable by us alone."""
    if given := os.environ.get("COSTGOV_SECRET_KEY", ""):
        return given
    path = COSTGOV_VAR / "secret_key"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    if not path.exists():
        partial.touch(mode=0o600)
        partial.write_text(secrets.token_urlsafe(48))
        try:
            os.link(partial, path)  # the first of several starting processes wins, whole
        except FileExistsError:
            pass
        finally:
            partial.unlink()
    return path.read_text().strip()


SECRET_KEY = _secret_key()
DEBUG = env.flag("COSTGOV_DEBUG", default=False)
PORT = env.port()
ALLOWED_HOSTS = env.words("COSTGOV_HOSTS", ["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.origins("COSTGOV_ORIGINS", [])
HTTPS = env.flag("COSTGOV_HTTPS", default=False)
COSTGOV_AS_OF: datetime | None = env.instant("COSTGOV_AS_OF")

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "pgtrigger",
    "rest_framework",
    "drf_spectacular",
    "django_htmx",
    "template_partials",
    "audit",
    "billing",
    "routing",
    "costgov",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "costgov.csp.ContentSecurityPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "costgov.refusals.RefusalMiddleware",
]
ROOT_URLCONF = "costgov.urls"
WSGI_APPLICATION = "costgov.wsgi.application"
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
                "costgov.context_processors.shared",
            ]
        },
    }
]

# Django 6.0's setting name, sent by costgov.csp until we are on it.
SECURE_CSP = {
    "default-src": ["'none'"],
    "script-src": ["'self'"],
    "style-src": ["'self'"],
    "img-src": ["'self'", "data:"],
    "font-src": ["'self'"],
    "connect-src": ["'self'"],
    "base-uri": ["'none'"],
    "frame-ancestors": ["'none'"],
    "form-action": ["'self'"],
}
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
X_FRAME_OPTIONS = "DENY"
# Two instances on one host share cookies (they ignore the port): each has names of its own.
SESSION_COOKIE_NAME = f"costgov_session_{PORT}"
CSRF_COOKIE_NAME = f"costgov_csrf_{PORT}"

_cache_url, _broker_url, _results_url = env.redis_addresses(
    os.environ.get("REDIS_URL") or f"unix://{COSTGOV_VAR}/not-started.sock"
)
DATABASES = {"default": env.database(os.environ.get("DATABASE_URL") or "postgresql://costgov@/costgov")}
if env.flag("COSTGOV_DB_POOL", default=False):  # the web server: many short requests
    DATABASES["default"]["OPTIONS"]["pool"] = {"min_size": 1, "max_size": 8}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": _cache_url}}
SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATA_UPLOAD_MAX_MEMORY_SIZE = 5_000_000
# Uploads may hold prompts: even half ones lie in our own folder, not in the system's.
(COSTGOV_VAR / "tmp").mkdir(parents=True, exist_ok=True, mode=0o700)
FILE_UPLOAD_TEMP_DIR = str(COSTGOV_VAR / "tmp")
FILE_UPLOAD_HANDLERS = [
    "django.core.files.uploadhandler.MemoryFileUploadHandler",
    "costgov.uploads.DiskUploadHandler",
]

CELERY_BROKER_URL = _broker_url
CELERY_RESULT_BACKEND = _results_url
CELERY_TASK_ACKS_LATE = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_RESULT_EXPIRES = 24 * 3600
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 12 * 3600}  # above the longest task
CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS = CELERY_BROKER_TRANSPORT_OPTIONS
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE = {
    "requeue-unfinished-imports": {"task": "costgov.requeue_unfinished_imports", "schedule": 60.0},
    "sweep-leftovers": {"task": "costgov.sweep_leftovers", "schedule": 3600.0},
    "tidy-request-store": {"task": "costgov.tidy_request_store", "schedule": 24 * 3600.0},
    "record-verdicts": {"task": "costgov.record_verdicts", "schedule": 24 * 3600.0},
}

AUTH_USER_MODEL = "costgov.User"
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "login"

LANGUAGE_CODE = "en"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = COSTGOV_VAR / "static"
# `up` collects the files before the web server starts; without that (tests) they are served as they lie.
_collected = (STATIC_ROOT / "staticfiles.json").exists()
WHITENOISE_USE_FINDERS = not _collected
WHITENOISE_AUTOREFRESH = not _collected
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if _collected or os.environ.get("COSTGOV_COLLECTING")
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "costgov.tokens.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["costgov.tokens.HasScope"],
    "DEFAULT_RENDERER_CLASSES": ["costgov.api.rendering.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser", "rest_framework.parsers.MultiPartParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "costgov.api.errors.answer",
    "UNAUTHENTICATED_USER": None,
    "URL_FORMAT_OVERRIDE": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "costgov",
    "DESCRIPTION": "What Claude costs, how good the answers are, and the policy that governs both. Money is decimal "
    "strings in USD, shares are numbers in 0..1, times are UTC, periods are half-open.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "POSTPROCESSING_HOOKS": ["costgov.api.shapes.add_components"],
    "ENABLE_LIST_MECHANICS_ON_NON_2XX": False,
}

LOGGING_CONFIG = "costgov.logs.configure"
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "plain": {
            "()": "costgov.logs.PlainFormatter",
            "format": "%(asctime)s %(levelname)s %(name)s %(message)s",
        }
    },
    "handlers": {"stderr": {"class": "costgov.logs.StderrHandler", "formatter": "plain"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {name: {"level": "INFO"} for name in ("billing", "celery", "costgov", "routing")},
}
