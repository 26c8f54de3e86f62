"""Runs behind the evidence, work items about it, and the rules that map suites to classes."""

from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from costgov.api.base import ApiView, actor_of, endpoint
from costgov.pages import now
from costgov.queries.set_aside_preview import SetAsidePreview, set_aside_preview
from routing.operations.eval_moves import move_run
from routing.operations.eval_runs import count_again, set_aside
from routing.operations.suite_rules import remove_suite_rule, set_suite_rule
from routing.operations.work_items import close_work_item
from routing.queries.eval_runs import RunLine, SuiteRuleRow, run_lines, suite_rules
from routing.queries.work_items import VerdictChange, WorkItems, verdict_changes, work_items

TAG = "Evals"


class RunsQuery(serializers.Serializer[Any]):
    flagged = serializers.BooleanField(required=False, default=False, help_text="Only those that look broken.")
    set_aside = serializers.BooleanField(required=False, default=False, help_text="Only those set aside.")

    def get_fields(self) -> dict[str, Any]:
        slug = serializers.CharField(required=False, default="", help_text="Of one class only.")
        number = serializers.IntegerField(required=False, help_text="Of one file only.")
        return {"class": slug, "import": number, **super().get_fields()}


class ReasonInput(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=2_000, help_text="Why; kept with the run and the audit.")


class MoveInput(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=2_000, help_text="Why; kept with the run and the audit.")
    seen = serializers.CharField(
        required=False, default="", allow_blank=True, help_text="The class it is in as you know; another = refused."
    )

    def get_fields(self) -> dict[str, Any]:
        return {"class": serializers.CharField(help_text="The class it belongs to."), **super().get_fields()}


class ItemsQuery(serializers.Serializer[Any]):
    closed = serializers.BooleanField(required=False, default=False, help_text="Also those that are closed.")

    def get_fields(self) -> dict[str, Any]:
        slug = serializers.CharField(required=False, default="", help_text="Of one class only.")
        return {"class": slug, **super().get_fields()}


class NoteInput(serializers.Serializer[Any]):
    note = serializers.CharField(max_length=2_000, help_text="What came of it.")


class RuleInput(serializers.Serializer[Any]):
    pattern = serializers.CharField(max_length=255, help_text="Name of a suite; * and ? stand for any text.")
    position = serializers.IntegerField(
        required=False, min_value=0, max_value=1_000_000, help_text="The first rule that matches counts; default last."
    )
    is_live = serializers.BooleanField(
        required=False,
        help_text="Its cases are live samples: they feed the monitor and no verdict. Default: as it was; new: no.",
    )

    def get_fields(self) -> dict[str, Any]:
        slug = serializers.CharField(help_text="The class its cases belong to.")
        return {**super().get_fields(), "class": slug}


class EvalRunsApi(ApiView):
    @endpoint(summary="Eval runs", tag=TAG, query=RunsQuery, answers=tuple[RunLine, ...])
    def get(self, request: Request) -> Response:
        """Results of one suite for one class in one file, newest first, with what looks broken. At most 500."""
        asked = self.asked(RunsQuery)
        return Response(
            run_lines(
                slug=asked["class"],
                import_id=asked.get("import"),
                only_flagged=asked["flagged"],
                only_set_aside=asked["set_aside"],
            )
        )


class SetAsideApi(ApiView):
    @endpoint(summary="What setting a run aside would change", tag=TAG, answers=SetAsidePreview)
    def get(self, request: Request, run_id: int) -> Response:
        """Verdicts of its class and savings a month as they are and would be; of a run set aside, counting it again."""
        found = set_aside_preview(run_id=run_id, as_of=now())
        if found is None:
            raise NotFound(f"There is no eval run number {run_id} that is evidence: GET /api/v1/eval-runs lists them.")
        return Response(found)

    @endpoint(
        summary="Set a run aside",
        tag=TAG,
        scope="evals:write",
        body=ReasonInput,
        answers=tuple[RunLine, ...],
        refusals=(409,),
    )
    def post(self, request: Request, run_id: int) -> Response:
        """From now on it is no evidence; it stays visible, and can be counted again."""
        run = set_aside(actor=actor_of(request), run_id=run_id, reason=self.given(ReasonInput)["reason"], as_of=now())
        return Response(run_lines(import_id=run.eval_import_id))


class CountAgainApi(ApiView):
    @endpoint(summary="Count a run again", tag=TAG, scope="evals:write", answers=tuple[RunLine, ...], refusals=(409,))
    def post(self, request: Request, run_id: int) -> Response:
        """As if it had never been set aside."""
        run = count_again(actor=actor_of(request), run_id=run_id, as_of=now())
        return Response(run_lines(import_id=run.eval_import_id))


class MoveRunApi(ApiView):
    @endpoint(
        summary="Move a run to another class",
        tag=TAG,
        scope="evals:write",
        body=MoveInput,
        answers=tuple[RunLine, ...],
        refusals=(409,),
    )
    def post(self, request: Request, run_id: int) -> Response:
        """It is evidence there as if its file had said so, and none where it was; moving it back undoes that."""
        given = self.given(MoveInput)
        run = move_run(
            actor=actor_of(request),
            run_id=run_id,
            slug=given["class"],
            reason=given["reason"],
            seen=given["seen"],
            as_of=now(),
        )
        return Response(run_lines(import_id=run.eval_import_id))


class WorkItemsApi(ApiView):
    @endpoint(summary="Work items", tag=TAG, query=ItemsQuery, answers=WorkItems)
    def get(self, request: Request) -> Response:
        """What somebody has to look at: verdicts that changed, alarms of live samples, stale evidence, runs that look
        broken. Open first."""
        asked = self.asked(ItemsQuery)
        return Response(work_items(slug=asked["class"], with_closed=asked["closed"]))


class CloseItemApi(ApiView):
    @endpoint(
        summary="Close a work item", tag=TAG, scope="evals:write", body=NoteInput, answers=WorkItems, refusals=(409,)
    )
    def post(self, request: Request, item_id: int) -> Response:
        """With a note on what came of it. Answers with the items of its class."""
        item = close_work_item(
            actor=actor_of(request), item_id=item_id, note=self.given(NoteInput)["note"], as_of=now()
        )
        return Response(work_items(slug=item.request_class.slug, with_closed=True))


class VerdictHistoryApi(ApiView):
    @endpoint(summary="Verdicts of a class over time", tag=TAG, answers=tuple[VerdictChange, ...])
    def get(self, request: Request, slug: str) -> Response:
        """Each time a verdict changed, newest first, with the evidence it rested on."""
        return Response(verdict_changes(slug=slug))


class SuiteRulesApi(ApiView):
    @endpoint(summary="Suite rules", tag=TAG, answers=tuple[SuiteRuleRow, ...])
    def get(self, request: Request) -> Response:
        """Which class the cases of a suite belong to where a file names none, in the order they are asked."""
        return Response(suite_rules())

    @endpoint(
        summary="Set a suite rule",
        tag=TAG,
        scope="evals:write",
        body=RuleInput,
        answers=tuple[SuiteRuleRow, ...],
        status=201,
    )
    def post(self, request: Request) -> Response:
        """The same pattern is replaced. What was imported before stays where it is."""
        given = self.given(RuleInput)
        set_suite_rule(
            actor=actor_of(request),
            pattern=given["pattern"],
            slug=given["class"],
            position=given.get("position"),
            is_live=given.get("is_live"),
            as_of=now(),
        )
        return Response(suite_rules(), status=201)


class RemoveRuleApi(ApiView):
    @endpoint(
        summary="Remove a suite rule",
        tag=TAG,
        scope="evals:write",
        answers=tuple[SuiteRuleRow, ...],
        refusals=(400,),
    )
    def post(self, request: Request, rule_id: int) -> Response:
        """Files imported later are no longer mapped by it."""
        remove_suite_rule(actor=actor_of(request), rule_id=rule_id, as_of=now())
        return Response(suite_rules())
