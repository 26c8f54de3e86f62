"""Whom a command acts for: the name that --user gives."""

from costgov.models import User


class UnknownUser(LookupError):
    """--user names nobody; the message says so."""


def acting_user(name: str) -> User | None:
    """The user of that name; None (the system) where none is given. Raises UnknownUser."""
    found = User.objects.filter(username=name).first() if name else None
    if name and found is None:
        raise UnknownUser(f"There is no user {name!r}: leave out --user, or give the name somebody logs in with.")
    return found
