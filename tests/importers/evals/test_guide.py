"""What docs/guide/evals.md says of the formats is so."""

import json
import re
from pathlib import Path

from routing.core.eval_columns import FIELDS, contradictions, parse_eval_columns
from routing.importers import IMPORTERS
from routing.importers.plain_csv import COLUMNS
from tests.importers.evals.test_mapped_csv import BRAINTRUST

GUIDE = (Path(__file__).parents[3] / "docs" / "guide" / "evals.md").read_text(encoding="utf-8")


def test_the_guide_lists_every_format_in_order():
    rows = [line.split("|")[1].strip(" `") for line in GUIDE.splitlines() if line.startswith("| `")]
    assert rows == [importer.name for importer in IMPORTERS]


def test_the_guide_names_every_column_of_the_plain_csv():
    (row,) = [line for line in GUIDE.splitlines() if line.startswith("| `csv`")]
    assert set(re.findall(r"`(\w+)`", row)) - {"csv"} == set(COLUMNS)


def test_the_mapping_of_the_guide_reads_a_braintrust_export():
    (example,) = re.findall(r"```json\n(.*?)```", GUIDE, re.DOTALL)
    columns = parse_eval_columns(json.loads(example))
    assert contradictions(columns, list(BRAINTRUST)) == ()
    assert set(columns.columns.values()) <= set(FIELDS)
