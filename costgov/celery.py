"""The Celery application: `celery -A costgov worker`, `celery -A costgov beat`."""

import os
from typing import Any

from celery import Celery
from celery.signals import setup_logging, worker_ready
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "costgov.settings")
app = Celery("costgov")
app.set_default()  # for every thread of the web server, not only the one that imports us
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def _our_logging(**_: Any) -> None:
    """Celery would format tracebacks and exceptions itself, with whatever values they name."""
    from costgov import logs

    logs.configure(settings.LOGGING)


@worker_ready.connect
def _requeue_unfinished_imports(sender: Any, **_: Any) -> None:
    """A killed worker's tasks come back only after the visibility timeout: do not wait for it."""
    sender.app.send_task("costgov.requeue_unfinished_imports", kwargs={"at_start": True})
