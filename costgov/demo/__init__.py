"""A demo organisation, loaded through the real importers and operations (costgov/demo/README.md)."""

from collections.abc import Callable
from datetime import datetime


def load(*, as_of: datetime, say: Callable[[str], None] = lambda line: None) -> None:
    """Load the demo organisation; its last day is the day before `as_of`. A second call changes nothing.

    `say` gets one progress line per step. Raises costgov.demo.loading.DemoRefused on a database that holds another
    organisation.
    """
    from costgov.demo.loading import load as load_demo  # needs Django; people.py and derive.py do not

    load_demo(as_of=as_of, say=say)


__all__ = ["load"]
