"""Constraints that are no shares are refused in words, wherever they come from."""

from decimal import Decimal

import pytest
from django.core.management import call_command

from routing.core.coupling import Limits
from routing.operations.constraints import ConstraintsRefused, checked_limits

pytestmark = pytest.mark.django_db
NAN, INFINITE = Decimal("NaN"), Decimal("Infinity")


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Limits(NAN, None, {}), "NaN is no share: give a number from 0 to 1, e.g. 0.3."),
        (Limits(None, Decimal("sNaN"), {}), "sNaN is no share: give a number from 0 to 1, e.g. 0.3."),
        (
            Limits(None, None, {"claude-haiku-4-5": INFINITE}),
            "Infinity is no share: give a number from 0 to 1, e.g. 0.3.",
        ),
    ],
)
def test_what_is_no_number_is_no_share(limits: Limits, said: str) -> None:
    with pytest.raises(ConstraintsRefused) as refused:
        checked_limits(limits)
    assert str(refused.value) == said


def test_the_command_says_so_and_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--floor", "nan"], ["--move", "inf"], ["--cap", "claude-haiku-4-5=nan"]):
        with pytest.raises(SystemExit) as ended:
            call_command("constraints", "--try", *words)
        assert ended.value.code == 2
        assert "is no share: give a number from 0 to 1" in capsys.readouterr().err
