"""Rules that say which class the results of a suite belong to, and what a rule would take before it is saved."""

from dataclasses import dataclass

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path
from django.views.decorators.http import require_http_methods, require_POST

from audit.roles import Right, require
from costgov.pages import now, page, right_required
from costgov.queries.suite_rules import RulePreview, SuiteRulesView, rule_preview, suite_rules_view
from costgov.timespan import only
from routing.models import RequestClass
from routing.operations.suite_rules import RuleRefused, remove_suite_rule, set_suite_rule


@dataclass(frozen=True, slots=True)
class RulesPage:
    """`problem`: why a rule was refused; `pattern`, `slug`, `position`, `is_live`: what was typed."""

    view: SuiteRulesView
    preview: RulePreview | None
    classes: tuple[tuple[str, str], ...]
    problem: str
    pattern: str
    slug: str
    position: str
    is_live: bool


@require_http_methods(["GET", "HEAD", "POST"])
def rules(request: HttpRequest) -> HttpResponse:
    """?pattern= shows what a rule would take, and so does a post with `preview`; any other post saves the rule."""
    only(request, ("pattern", "class", "position", "live"))
    said = request.POST if request.method == "POST" else request.GET
    pattern, slug, position = (said.get(name, "")[:300].strip() for name in ("pattern", "class", "position"))
    is_live = said.get("live", "") == "1"
    problem = ""
    if request.method == "POST" and "preview" not in request.POST:
        require(request.user, Right.EDIT_CLASSES)  # type: ignore[arg-type]
        try:
            set_suite_rule(
                actor=request.user,  # type: ignore[arg-type]
                pattern=pattern,
                slug=slug,
                position=_position(position),
                is_live=is_live,
                as_of=now(),
            )
        except RuleRefused as error:
            problem = str(error)
        else:
            what = "hold live samples of" if is_live else "belong to"
            messages.success(request, f"Suites that match {pattern} {what} {slug} from the next import on.")
            return redirect("suite-rules")
    preview = rule_preview(pattern=pattern, position=_lenient(position)) if pattern else None
    classes = tuple(RequestClass.objects.order_by("title").values_list("slug", "title"))
    value = RulesPage(suite_rules_view(), preview, classes, problem, pattern, slug, position, is_live)
    return page(request, "routing/suite_rules.html", value, nav="evals", status=400 if problem else 200)


def _position(said: str) -> int | None:
    """The place of a rule as typed; '' = last. Raises RuleRefused."""
    if not said:
        return None
    if not (said.isdecimal() and said.isascii() and len(said) < 7):
        raise RuleRefused(f"The position is {said[:40]!r}: give a whole number, 0 for the first, or leave it empty.")
    return int(said)


def _lenient(said: str) -> int | None:
    """For a preview: what cannot be read is said when it is saved."""
    try:
        return _position(said)
    except RuleRefused:
        return None


@require_POST
@right_required(Right.EDIT_CLASSES)
def remove(request: HttpRequest, rule_id: int) -> HttpResponse:
    try:
        remove_suite_rule(actor=request.user, rule_id=rule_id, as_of=now())  # type: ignore[arg-type]
    except RuleRefused as error:
        messages.error(request, str(error))
    else:
        messages.success(request, "The rule is removed; what was imported stays where it is.")
    return redirect("suite-rules")


urlpatterns = [
    path("evals/rules/", rules, name="suite-rules"),
    path("evals/rules/<int:rule_id>/remove/", remove, name="suite-rule-remove"),
]
