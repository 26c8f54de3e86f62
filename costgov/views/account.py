"""Log-in, first set-up, settings: organisation, people, API tokens."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import LoginView
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_POST

from audit.roles import Right, Role, roles_of
from billing.models import Organisation
from costgov.forms import FirstAdministratorForm, OrganisationForm, TokenForm, UserForm
from costgov.models import ApiToken, User
from costgov.operations.setup import (
    AlreadySetUp,
    create_first_administrator,
    create_user,
    is_set_up,
    save_organisation,
)
from costgov.pages import now, page, right_required
from costgov.tokens import create_token, revoke_token


@method_decorator(login_not_required, name="dispatch")
class LogIn(LoginView):
    """Log-in; on an empty installation the way leads to creating the first administrator."""

    redirect_authenticated_user = True

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not is_set_up():
            return redirect("setup")
        return super().dispatch(request, *args, **kwargs)  # type: ignore[return-value]


@dataclass(frozen=True)
class SetupPage:
    form: FirstAdministratorForm


@login_not_required
def setup(request: HttpRequest) -> HttpResponse:
    """Create the first administrator; afterwards this page only points to the log-in."""
    if is_set_up():
        return redirect("login")
    form = FirstAdministratorForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        values = {name: form.cleaned_data[name] for name in ("username", "password", "email", "organisation_name")}
        try:
            user = create_first_administrator(**values, as_of=now())
        except AlreadySetUp as error:
            messages.error(request, str(error))
            return redirect("login")
        login(request, user, backend="django.contrib.auth.backends.ModelBackend")
        messages.success(request, "You are the administrator. Next: import your first usage file.")
        return redirect("imports")
    return page(request, "registration/setup.html", SetupPage(form), nav="", status=400 if form.errors else 200)


@dataclass(frozen=True)
class Person:
    username: str
    roles: tuple[str, ...]
    last_login: Any


@dataclass(frozen=True)
class SettingsPage:
    organisation_form: OrganisationForm
    user_form: UserForm
    token_form: TokenForm
    people: tuple[Person, ...]
    tokens: tuple[ApiToken, ...]
    new_secret: str = ""
    may_edit: bool = False
    as_of: Any = None
    forms_with_errors: tuple[str, ...] = field(default=())


def _settings_page(request: HttpRequest, **changed: Any) -> HttpResponse:
    organisation = Organisation.objects.filter(pk=1).first()
    initial = {"name": organisation.name, "baseline_model": organisation.baseline_model} if organisation else {}
    may_edit = Role.ADMIN in roles_of(request.user)  # type: ignore[arg-type]
    users = User.objects.prefetch_related("groups").order_by("username") if may_edit else []
    people = tuple(Person(u.username, tuple(g.name for g in u.groups.all()), u.last_login) for u in users)
    values: dict[str, Any] = {
        "organisation_form": OrganisationForm(initial=initial),
        "user_form": UserForm(),
        "token_form": TokenForm(),
        "people": people,
        "tokens": tuple(ApiToken.objects.filter(user=request.user.pk)),
        "may_edit": may_edit,
        "as_of": now(),
        **changed,
    }
    failed = any(getattr(form, "errors", None) for form in values.values())
    return page(request, "costgov/settings.html", SettingsPage(**values), nav="settings", status=400 if failed else 200)


def settings_page(request: HttpRequest) -> HttpResponse:
    return _settings_page(request)


@require_POST
@right_required(Right.EDIT_ORGANISATION)
def organisation_save(request: HttpRequest) -> HttpResponse:
    form = OrganisationForm(request.POST)
    if not form.is_valid():
        return _settings_page(request, organisation_form=form)
    save_organisation(actor=request.user, as_of=now(), **form.cleaned_data)  # type: ignore[arg-type]
    messages.success(request, "Organisation saved.")
    return redirect("settings")


@require_POST
@right_required(Right.EDIT_ORGANISATION)
def user_create(request: HttpRequest) -> HttpResponse:
    form = UserForm(request.POST)
    if not form.is_valid():
        return _settings_page(request, user_form=form)
    values = form.cleaned_data
    create_user(
        actor=request.user,  # type: ignore[arg-type]
        username=values["username"],
        password=values["password"],
        role=Role(values["role"]),
        as_of=now(),
    )
    messages.success(request, f"{values['username']} can log in now, as {values['role']}.")
    return redirect("settings")


@require_POST
def token_create(request: HttpRequest) -> HttpResponse:
    """The secret is shown in this one answer and never again."""
    if not request.user.is_authenticated:
        raise PermissionDenied
    form = TokenForm(request.POST)
    if not form.is_valid():
        return _settings_page(request, token_form=form)
    values = form.cleaned_data
    _, secret = create_token(
        actor=request.user,
        name=values["name"],
        scopes=values["scopes"],
        environments=values["environments"],
        as_of=now(),
        expires_at=now() + timedelta(days=values["days"]),
    )
    return _settings_page(request, new_secret=secret)


@require_POST
def token_revoke(request: HttpRequest, token_id: int) -> HttpResponse:
    try:
        token = revoke_token(actor=request.user, token_id=token_id, as_of=now())  # type: ignore[arg-type]
    except ApiToken.DoesNotExist as error:
        raise Http404(f"You have no token number {token_id}.") from error
    messages.success(request, f"Token {token.name} is revoked: it opens nothing any more.")
    return redirect("settings")


urlpatterns = [
    path("login/", LogIn.as_view(), name="login"),
    path("setup/", setup, name="setup"),
    path("settings/", settings_page, name="settings"),
    path("settings/organisation/", organisation_save, name="organisation-save"),
    path("settings/people/", user_create, name="user-create"),
    path("settings/tokens/", token_create, name="token-create"),
    path("settings/tokens/<int:token_id>/revoke/", token_revoke, name="token-revoke"),
]
