"""The joint surface: the only package that sees engineering (routing) and procurement (billing)."""

from costgov.celery import app as celery_app

__all__ = ["celery_app"]
