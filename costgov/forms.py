"""Forms of the joint pages: they read and explain input; operations decide."""

from typing import Any

from django import forms
from django.contrib.auth.password_validation import validate_password

from audit.roles import Role
from costgov.models import User
from costgov.tokens import SCOPES


class FirstAdministratorForm(forms.Form):
    organisation_name = forms.CharField(max_length=120, label="Organisation", help_text="Shown on every page.")
    username = forms.CharField(max_length=150, label="Username", validators=[User.username_validator])
    email = forms.EmailField(required=False, label="E-mail (optional)")
    password = forms.CharField(
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        label="Password",
        help_text="12 characters or more.",
    )
    password_again = forms.CharField(
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}), label="Password again"
    )

    def clean_password(self) -> str:
        password: str = self.cleaned_data["password"]
        validate_password(password)
        return password

    def clean_password_again(self) -> str:
        again: str = self.cleaned_data["password_again"]
        if "password" in self.cleaned_data and again != self.cleaned_data["password"]:
            raise forms.ValidationError("The two passwords differ: type the same one twice.")
        return again


class OrganisationForm(forms.Form):
    name = forms.CharField(max_length=120, label="Organisation")
    baseline_model = forms.CharField(
        max_length=128,
        required=False,
        label="Model savings are counted against",
        help_text="What every class would cost on this model, e.g. claude-opus-4-5.",
    )


class UserForm(forms.Form):
    username = forms.CharField(max_length=150, label="Username", validators=[User.username_validator])
    password = forms.CharField(
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}), label="First password"
    )
    role = forms.ChoiceField(choices=[(role.value, role.value.capitalize()) for role in Role], label="Role")

    def clean_username(self) -> str:
        username: str = self.cleaned_data["username"]
        if User.objects.filter(username=username).exists():
            raise forms.ValidationError(f"{username} exists already: choose another name.")
        return username

    def clean_password(self) -> str:
        password: str = self.cleaned_data["password"]
        validate_password(password)
        return password


class TokenForm(forms.Form):
    name = forms.CharField(max_length=120, label="What it is for", help_text="e.g. eu gateway, nightly evals")
    scopes = forms.MultipleChoiceField(
        choices=[(scope, f"{scope}: {words}") for scope, words in SCOPES.items()],
        widget=forms.CheckboxSelectMultiple,
        label="May",
    )
    environments = forms.CharField(
        required=False, label="Environments", help_text="Comma separated; empty = every environment."
    )
    days = forms.IntegerField(min_value=1, max_value=730, initial=365, label="Valid for (days)")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.auto_id = "token_%s"  # the settings page holds another field called "name"

    def clean_environments(self) -> list[str]:
        return [part.strip() for part in self.cleaned_data["environments"].split(",") if part.strip()]
