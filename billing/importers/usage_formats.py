"""The usage formats, and which of them a file is."""

from pathlib import Path
from typing import Final

from billing.importers.anthropic_admin_usage import AnthropicAdminUsage
from billing.importers.anthropic_analytics_usage import AnthropicAnalyticsUsage
from billing.importers.base import BucketFormat, Head, RequestFormat, read_head
from billing.importers.claude_code_events import ClaudeCodeEvents
from billing.importers.console_usage_csv import ConsoleUsageCsv
from billing.importers.helicone_requests import HeliconeRequests
from billing.importers.identify import claiming_format, named_format, refuse_parquet
from billing.importers.langfuse_observations import LangfuseObservations
from billing.importers.litellm_daily import LiteLLMDaily
from billing.importers.litellm_payload import LiteLLMPayload
from billing.importers.litellm_spend_logs import LiteLLMSpendLogs
from billing.importers.messages_api_log import MessagesApiLog
from billing.importers.messages_api_objects import MessagesApiObjects
from billing.importers.messages_api_stream import MessagesApiStream
from billing.importers.messages_batch_results import MessagesBatchResults
from billing.importers.otel_genai_spans import OtelGenAiSpans
from billing.importers.records import RecordFormat

UsageFormat = RequestFormat | RecordFormat | BucketFormat
REQUEST_FORMATS: Final[tuple[RequestFormat, ...]] = (MessagesApiLog(), LiteLLMPayload())
RECORD_FORMATS: Final[tuple[RecordFormat, ...]] = (
    MessagesBatchResults(),
    MessagesApiObjects(),
    MessagesApiStream(),
    LiteLLMSpendLogs(),
    ClaudeCodeEvents(),
    OtelGenAiSpans(),
    LangfuseObservations(),
    HeliconeRequests(),
)
BUCKET_FORMATS: Final[tuple[BucketFormat, ...]] = (
    AnthropicAdminUsage(),
    AnthropicAnalyticsUsage(),
    ConsoleUsageCsv(),
    LiteLLMDaily(),
)
BILL_RANK: Final = 1  # also of a table of somebody's own
FORMATS: Final[tuple[UsageFormat, ...]] = (*REQUEST_FORMATS, *RECORD_FORMATS, *BUCKET_FORMATS)
FORMATS_WITH_OWN_KEYS: Final[tuple[str, ...]] = (
    *(item.name for item in REQUEST_FORMATS if not item.names_provider_keys),
    *(item.name for item in RECORD_FORMATS if not item.names_provider_keys),
)

FORMATS_WITH_KEY_NAMES: Final[tuple[str, ...]] = (ConsoleUsageCsv.name,)  # reports that name keys instead of their ids


def report_rank(format_name: str) -> int:
    """Of several reports of a day that of the highest rank counts (base.py, `BucketFormat`)."""
    return next((item.rank for item in BUCKET_FORMATS if item.name == format_name), BILL_RANK)


def format_names() -> tuple[str, ...]:
    return tuple(item.name for item in FORMATS)


def identify(path: Path, *, file_name: str, format_name: str = "") -> tuple[UsageFormat, Head]:
    """The one format that claims a file, or the one asked for. Raises ImportRefused when none or several do."""
    named = named_format(FORMATS, file_name=file_name, format_name=format_name)
    head = read_head(path, file_name)
    found = named or claiming_format(FORMATS, head, file_name=file_name)
    refuse_parquet(head, found.name, file_name=file_name)
    return found, head
