"""The people of the demo organisation. Their passwords are printed at the start: they protect nothing but a demo."""

from dataclasses import dataclass
from typing import Final

from audit.roles import Role


@dataclass(frozen=True, slots=True)
class Person:
    """One log-in of the demo."""

    username: str
    password: str
    role: Role


ERIN: Final = Person("erin", "demo-erin-engineer", Role.ENGINEER)
EMIL: Final = Person("emil", "demo-emil-engineer", Role.ENGINEER)
PAULA: Final = Person("paula", "demo-paula-procurement", Role.PROCUREMENT)
VICTOR: Final = Person("victor", "demo-victor-viewer", Role.VIEWER)
ADA: Final = Person("ada", "demo-ada-administrator", Role.ADMIN)
PEOPLE: Final = (ERIN, EMIL, PAULA, VICTOR, ADA)
