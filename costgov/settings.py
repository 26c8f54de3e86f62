"""Settings, read from the environment."""

SECRET_KEY = "bootstrap"  # replaced by the real settings
INSTALLED_APPS: list[str] = []
USE_TZ = True
