"""Models as the joint pages change them: billing keeps the names, routing's mappings say which class usage has."""

from datetime import datetime

from django.contrib.auth.models import AbstractBaseUser

from billing.operations import models as billing_models
from billing.operations.models import AliasAdded
from costgov.operations.usage import classify_plan


def add_alias(*, actor: AbstractBaseUser | None, alias: str, model: str, as_of: datetime) -> AliasAdded:
    """Let a name mean a registered model, also for the usage already imported. Raises Forbidden, ModelRefused."""
    return billing_models.add_alias(
        actor=actor, alias=alias, model=model, as_of=as_of, class_of_key=classify_plan().class_of_key
    )
