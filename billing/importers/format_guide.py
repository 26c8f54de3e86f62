"""What to know about each usage format before exporting one: for the page of formats and docs/guide/usage-formats.md.

One entry per format; a test compares the table of the guide with this one (manage.py usage_formats --markdown).
"""

from dataclasses import dataclass
from typing import Final, Literal

InputHolds = Literal["uncached only", "cached too", "asked"]


@dataclass(frozen=True, slots=True)
class FormatGuide:
    """`export`: command or menu. `input`: whether its number of input tokens contains cached ones."""

    name: str
    what: str
    export: str
    reads: str
    input: InputHolds
    traps: str


GUIDE: Final[tuple[FormatGuide, ...]] = (
    FormatGuide(
        "messages_api_log",
        "Your own request log around the Messages API",
        "Write one JSON object per request: timestamp, request_id, workspace_id, api_key_id, http_status, latency_ms, "
        "request.model, tags, response (the body with its usage object). Or the same columns as Parquet, nested or as "
        "JSON text",
        "all counts, tier, geo, speed, tags and facts, a gateway's decision",
        "uncached only",
        "iterations are priced instead of the top level; failures are no cheap successes; writes without a lifetime "
        "count as 5-minute writes and are said",
    ),
    FormatGuide(
        "messages_batch_results",
        "Results of a Message Batch",
        "curl …/v1/messages/batches/ID (one line) and …/batches/ID/results into one file; without the first line give "
        "--at",
        "all counts; everything is batch tier",
        "uncached only",
        "errored, expired and cancelled requests are failed ones; a custom id is unique within its batch only; the "
        "same answer in a log counts once",
    ),
    FormatGuide(
        "messages_api_objects",
        "Bare answers of the Messages API",
        "Write message.to_json() per line, with created_at (or timestamp) beside it, or give --at",
        "all counts, tier, geo, speed",
        "uncached only",
        "prompt and answer text is dropped; iterations are priced",
    ),
    FormatGuide(
        "messages_api_stream",
        "Recorded streams of the Messages API",
        "Save the body of streaming answers (event: and data: lines), one after another; give --at",
        "all counts, tier",
        "uncached only",
        "counts of a delta are cumulative, the last one stands; a stream that broke off is said",
    ),
    FormatGuide(
        "litellm_payload",
        "LiteLLM's StandardLoggingPayload",
        "litellm_settings: success_callback and failure_callback to S3, GCS or a custom callback",
        "all counts, tier, geo, speed, tags, team, key alias, a policy's decision, Anthropic's request id",
        "cached too",
        "answers of LiteLLM's own cache bring no tokens; each attempt is a row of its own; its cost is an estimate and "
        "is not read",
    ),
    FormatGuide(
        "litellm_spend_logs",
        "LiteLLM's spend log table",
        'psql -c "\\copy (select row_to_json(s) from \\"LiteLLM_SpendLogs\\" s where …) to spend.jsonl", or \\copy … '
        "csv header, or GET /spend/logs",
        "as the payload; the id of a /v1/messages call, none of Anthropic's for chat completions",
        "cached too",
        "metadata and tags may be JSON in text; rows without cached tokens are said; sums of whole batches are left "
        "out; times without a zone are UTC; models of others are left out",
    ),
    FormatGuide(
        "litellm_daily",
        "LiteLLM's daily tables",
        'psql -c "\\copy \\"LiteLLM_DailyUserSpend\\" to daily.csv csv header"',
        "counts by day, key and model",
        "cached too",
        "never added to logs or to the provider's report, which goes first; the tag table, where a request stands "
        "twice, is refused",
    ),
    FormatGuide(
        "claude_code_events",
        "Claude Code's telemetry events",
        "CLAUDE_CODE_ENABLE_TELEMETRY=1 OTEL_LOGS_EXPORTER=otlp, and a collector with the file exporter",
        "counts, request id, session, effort; failed requests",
        "uncached only",
        "metrics are sums, not requests: refused; cost is the client's estimate and is not read; writes have no "
        "lifetime",
    ),
    FormatGuide(
        "otel_genai_spans",
        "OpenTelemetry GenAI spans",
        "A collector with the file exporter (OTLP JSON)",
        "counts, message id where told, environment, agent",
        "asked",
        "old and new attribute names; of a call inside a call only the inner counts; traces are often a sample",
    ),
    FormatGuide(
        "langfuse_observations",
        "Langfuse observations",
        "GET /api/public/observations page by page, or the blob storage export (JSONL, JSON, CSV)",
        "counts, environment, tags, metadata, prompt name",
        "asked",
        "keys of usageDetails depend on the integration: unknown ones are said; only generations, of nested ones the "
        "inner; costs are not read",
    ),
    FormatGuide(
        "helicone_requests",
        "Helicone requests",
        "npx @helicone/export (json, jsonl or csv), or POST /v1/request/query-clickhouse",
        "counts, properties, path, status",
        "asked",
        "answers of Helicone's own cache bring no tokens; cost has two units and is not read; negative statuses are "
        "failures",
    ),
    FormatGuide(
        "anthropic_admin_usage",
        "Admin API usage report",
        "GET /v1/organizations/usage_report/messages, bucket_width=1h or 1d, grouped by model, workspace, API key, "
        "tier and context window; pages saved unchanged",
        "counts by hour or day, key, model, tier, prompt-length band, geo, speed",
        "uncached only",
        "a later report of the same source replaces its hours; null means not grouped or the default workspace",
    ),
    FormatGuide(
        "anthropic_analytics_usage",
        "Usage and Cost Analytics API, usage",
        "GET /v1/organizations/analytics/usage with the beta header, time_bucket_width=1d or 1h, limit=1000, grouped "
        "by workspace, key, model, tier, context window, geo and speed; all pages of the query one after another in "
        "one file",
        "counts and number of requests by hour or day and the dimensions asked for; products and people are added up",
        "uncached only",
        "a page that says has_more, a page twice and overlapping groups are refused, counters must sum to "
        "total_tokens; the Admin report describes the same usage: one of them counts",
    ),
    FormatGuide(
        "console_usage_csv",
        "Usage download of the Claude Console",
        "Console → Usage → Export, day view or hour view, the file unchanged",
        "counts by day or hour, key, workspace, model, tier, prompt length, geo and speed; every header since 2026-02",
        "uncached only",
        "names instead of ids, Default is the default workspace; a spreadsheet's semicolons, dates and separators are "
        "refused; the API's report of the same day goes first, a bill comes after",
    ),
)  # fmt: skip


def guide_table() -> str:
    """The table as Markdown."""
    head = "| format | what it is | how to export it | what is read | input tokens | traps handled |\n"
    head += "|---|---|---|---|---|---|\n"
    return head + "".join(
        f"| `{item.name}` | {item.what} | {_cell(item.export)} | {item.reads} | {item.input} | {item.traps} |\n"
        for item in GUIDE
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
