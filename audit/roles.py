"""Who may do what. Roles are Django groups; operations ask here, so a page, a command and the API agree."""

from enum import StrEnum

from django.contrib.auth.models import AbstractBaseUser


class Role(StrEnum):
    ENGINEER = "engineer"
    PROCUREMENT = "procurement"
    VIEWER = "viewer"
    ADMIN = "admin"


class Right(StrEnum):
    """One thing somebody may be allowed to do; the value is the words used in a refusal."""

    IMPORT_USAGE = "import usage"
    IMPORT_EVALS = "import eval results"
    EDIT_CLASSES = "edit classes and quality bars"
    JUDGE_EVIDENCE = "set eval runs aside, move them or close work items"
    SET_CONSTRAINTS = "set the constraints of the estate"
    PROPOSE_POLICY = "propose a policy"
    APPROVE_POLICY = "approve a policy's quality evidence"
    ACTIVATE_POLICY = "activate a policy"
    EDIT_PRICES = "edit prices"
    EDIT_TERMS = "edit commitment terms"
    SIZE_COMMITMENT = "size a commitment"
    MAKE_FORECAST = "make a forecast"
    IMPORT_COSTS = "import cost reports and bills"
    EDIT_INVOICES = "enter invoices"
    EXPLAIN_RESIDUALS = "explain differences of a month"
    CLOSE_PERIODS = "close a month"
    COMMENT_PERIODS = "comment on a month"
    EDIT_COST_CENTRES = "edit cost centres"
    DELETE_DATA = "delete imported data"
    EDIT_ORGANISATION = "edit the organisation's settings"


_ENGINEERING = {
    Right.IMPORT_USAGE,
    Right.IMPORT_EVALS,
    Right.EDIT_CLASSES,
    Right.JUDGE_EVIDENCE,
    Right.SET_CONSTRAINTS,
    Right.PROPOSE_POLICY,
    Right.APPROVE_POLICY,
    Right.ACTIVATE_POLICY,
    Right.MAKE_FORECAST,
    Right.IMPORT_COSTS,
    Right.COMMENT_PERIODS,
}
_PROCUREMENT = {
    Right.IMPORT_USAGE,
    Right.EDIT_PRICES,
    Right.EDIT_TERMS,
    Right.SIZE_COMMITMENT,
    Right.MAKE_FORECAST,
    Right.IMPORT_COSTS,
    Right.EDIT_INVOICES,
    Right.EXPLAIN_RESIDUALS,
    Right.CLOSE_PERIODS,
    Right.COMMENT_PERIODS,
    Right.EDIT_COST_CENTRES,
}
RIGHTS: dict[Role, frozenset[Right]] = {
    Role.ENGINEER: frozenset(_ENGINEERING),
    Role.PROCUREMENT: frozenset(_PROCUREMENT),
    Role.VIEWER: frozenset(),
    Role.ADMIN: frozenset(Right),
}


class Forbidden(Exception):
    """The actor's roles do not allow the action; the message names the action and who may do it."""


def roles_of(actor: AbstractBaseUser) -> frozenset[Role]:
    """Roles of a user; a superuser is an admin."""
    names = set(actor.groups.values_list("name", flat=True)) if hasattr(actor, "groups") else set()
    if getattr(actor, "is_superuser", False):
        names.add(Role.ADMIN)
    return frozenset(Role(name) for name in names if name in set(Role))


def may(actor: AbstractBaseUser, right: Right) -> bool:
    return any(right in RIGHTS[role] for role in roles_of(actor))


def require(actor: AbstractBaseUser | None, right: Right) -> None:
    """Raise Forbidden unless the actor may do it. None = the system itself (a command, a demo load)."""
    if actor is not None and not may(actor, right):
        who = ", ".join(role for role in Role if right in RIGHTS[role])
        raise Forbidden(f"{actor.get_username()} may not {right}. Ask somebody with one of these roles: {who}.")
