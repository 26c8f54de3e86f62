"""The usage formats as a list to show: what each is called, what it tells, what it may ask."""

from dataclasses import dataclass

from billing.importers.usage_formats import BUCKET_FORMATS, RECORD_FORMATS, REQUEST_FORMATS


@dataclass(frozen=True, slots=True)
class ListedFormat:
    """A format. `questions`: what an import of it may have to be told."""

    name: str
    title: str
    is_request_level: bool
    questions: tuple[str, ...] = ()


def usage_format_list() -> tuple[ListedFormat, ...]:
    """Formats in the order in which they are asked whose a file is."""
    return (
        *(ListedFormat(item.name, item.title, True) for item in REQUEST_FORMATS),
        *(
            ListedFormat(
                item.name,
                item.title,
                True,
                tuple(
                    f"{switch.flag} {'|'.join(switch.choices) or 'TIME'}: {switch.question}" for switch in item.switches
                ),
            )
            for item in RECORD_FORMATS
        ),
        *(ListedFormat(item.name, item.title, False) for item in BUCKET_FORMATS),
    )
