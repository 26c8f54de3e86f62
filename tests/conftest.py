"""What every test shares."""

import pytest
from django.conf import settings


@pytest.fixture(autouse=True, scope="session")
def quick_passwords() -> None:
    """People are made by the dozen: a real password hash takes a tenth of a second each, on purpose."""
    quick = "django.contrib.auth.hashers.MD5PasswordHasher"
    settings.PASSWORD_HASHERS = [quick, *settings.PASSWORD_HASHERS]
