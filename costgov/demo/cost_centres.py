"""Cost centres of the demo: most of the spend is carried by somebody, the sandbox by nobody yet."""

from datetime import date, datetime, timedelta
from typing import Final

from billing.importers.cost_centre_files import CentreLine
from billing.operations.cost_centres import import_cost_centres
from costgov.demo.organisation import CLASSES
from costgov.models import User

# Customer care took the analysts' questions over from the data team some months before the end.
HANDED_OVER_DAYS: Final = 61


def lines(last: date) -> list[CentreLine]:
    """What finance's list says; `last`: the day after the demo's last day."""
    handed = (last - timedelta(days=HANDED_OVER_DAYS)).replace(day=1)
    named = [
        CentreLine(1, "4100", "Developer tools", "Platform", "Ines Rossi", workspace="wrkspc_engineering", maps=True),
        CentreLine(2, "4200", "Customer care", "Operations", "Jonas Weber", workspace="wrkspc_care", maps=True),
        CentreLine(3, "4300", "Data products", "Data", "Mei Tanaka", workspace="wrkspc_data", maps=True),
        CentreLine(4, "4310", "Record extraction", "Data", "Mei Tanaka", request_class="record-extraction", maps=True),
        CentreLine(
            5, "4400", "Knowledge base", "Operations", "Sara Lind", workspace="wrkspc_knowledge", valid_from=handed,
            maps=True,
        ),
        CentreLine(
            6, "4300", "Data products", "Data", "Mei Tanaka", workspace="wrkspc_knowledge", valid_to=handed, maps=True
        ),
    ]  # fmt: skip
    # The gateway's logs name keys of its own and no workspace.
    centre = {"wrkspc_care": "4200", "wrkspc_knowledge": "4400"}
    gateway = [row for row in CLASSES if row.via == "litellm" and row.workspace in centre]
    return named + [
        CentreLine(len(named) + n, centre[row.workspace], api_key=row.api_key, maps=True)
        for n, row in enumerate(gateway, 1)
    ]


def load_cost_centres(*, actor: User, last: date, as_of: datetime) -> None:
    """Import the list; a second call changes nothing."""
    import_cost_centres(actor=actor, lines=lines(last), as_of=as_of, is_demo=True)
