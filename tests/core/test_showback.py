"""Who carries a cost: the rule that says most wins, on its days; and the slow way agrees."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.core.showback import FIELDS, Rule, Rules, same_place
from billing.importers.cost_centre_files import CostCentreFileError, read_cost_centres

DAYS = [date(2026, 1, 1), date(2026, 2, 1), date(2026, 3, 1)]
VALUE = st.sampled_from(["", "a", "b"])
RULE = st.builds(
    Rule, st.sampled_from(["c1", "c2", "c3"]), VALUE, VALUE, VALUE, VALUE,
    st.none() | st.sampled_from(DAYS[:2]), st.none() | st.just(DAYS[2]),
)  # fmt: skip


def slowly(rules, values, day):
    """Look at every rule."""
    held = [
        rule for rule in rules
        if rule.holds_on(day)
        and all(getattr(rule, name) in ("", value) for name, value in zip(FIELDS, values, strict=True))
    ]  # fmt: skip
    return max(held, key=lambda rule: rule.rank).cost_centre if held else ""


@given(st.lists(RULE, max_size=8), st.tuples(VALUE, VALUE, VALUE, VALUE))
def test_the_winner_is_that_of_looking_at_every_rule(rules, values):
    unique = list({(*(getattr(rule, name) for name in FIELDS), rule.rank): rule for rule in rules}.values())
    found = Rules(unique)
    for day in (date(2025, 6, 1), *DAYS, date(2026, 6, 1)):
        assert found.cost_centre(values, day) == slowly(unique, values, day)
    over_time = found.over_time(values)
    assert len(over_time) == len(found.change_days) + 1
    for day, centre in zip(found.change_days, over_time[1:], strict=True):
        assert centre == slowly(unique, values, day)


def test_more_named_wins_then_the_narrower():
    rules = Rules([
        Rule("all"), Rule("space", workspace="w"), Rule("key", api_key="k"), Rule("class", request_class="c"),
        Rule("both", workspace="w", request_class="c"), Rule("channel", channel="bedrock"),
    ])  # fmt: skip
    day = DAYS[0]
    assert rules.cost_centre(("anthropic", "", "", ""), day) == "all"
    assert rules.cost_centre(("bedrock", "w", "", ""), day) == "space"
    assert rules.cost_centre(("anthropic", "w", "", "c"), day) == "both"
    assert rules.cost_centre(("anthropic", "", "k", "c"), day) == "key"
    assert rules.cost_centre(("anthropic", "w", "k", ""), day) == "key"


def test_days_are_half_open():
    rules = Rules([Rule("old", workspace="w", valid_to=DAYS[1]), Rule("new", workspace="w", valid_from=DAYS[1])])
    assert [rules.cost_centre(("", "w", "", ""), day) for day in DAYS] == ["old", "new", "new"]


def test_no_rule_is_unallocated():
    assert Rules([]).cost_centre(("a", "b", "c", "d"), DAYS[0]) == ""
    assert Rules([Rule("c", workspace="x")]).over_time(("a", "b", "c", "d")) == [""]


def test_two_cost_centres_for_the_same_usage_are_found():
    first = Rule("a", workspace="w", valid_to=DAYS[1])
    assert same_place([first, Rule("b", workspace="w", valid_from=DAYS[1])]) == []
    other = Rule("b", workspace="w", valid_from=DAYS[0])
    assert same_place([first, other]) == [(first, other)]
    assert same_place([first, Rule("a", workspace="w")]) == []  # the same cost centre twice is no contradiction


CSV = b"code,name,team,owner,channel,workspace,api_key,class,from,to\r\n"


def test_a_csv_is_read():
    found = read_cost_centres(
        CSV + b'4711,"R, D",T,O,,w1,,,2026-01-01,2026-02-01\r\n4712,,,,,*,,,,\r\n4713,X,,,,,,,,\r\n'
    )
    assert [(one.code, one.workspace, one.maps) for one in found] == [
        ("4711", "w1", True),
        ("4712", "", True),
        ("4713", "", False),
    ]
    assert (found[0].name, found[0].valid_from, found[0].valid_to) == ("R, D", DAYS[0], DAYS[1])


def test_the_tags_of_workspaces_are_read():
    data = b'{"data": [{"id": "w1", "tags": {"Cost-Center": "4711"}}, {"id": "w2", "tags": {}}, {"id": "w3"}]}'
    assert [(one.code, one.workspace) for one in read_cost_centres(data)] == [("4711", "w1")]
    with pytest.raises(CostCentreFileError, match="none of 3 workspaces has a tag 'kst'"):
        read_cost_centres(data, tag="kst")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"code,colour\nx,y\n", "line 1: column 'colour' is not known; use code, name"),
        (b"name\nx\n", "there is no column code"),
        (CSV + b",x,,,,,,,,\n", "line 2: code is empty"),
        (CSV + b"a,,,,,w,,,01/02/2026,\n", "line 2: from '01/02/2026' is not a day"),
        (CSV + b"a,,,,,w,,,2026-02-01,2026-02-01\n", "line 2: it ends on 2026-02-01, but starts on 2026-02-01"),
        (CSV + b"a,,,,,w,,,,\nb,,,,,w,,,,\n", "line 3: b and, in line 2, a carry the same usage"),
        (CSV + b"a,,,,,w,,,,,,extra\n", "more fields than the header"),
        (b"\xff\xfe", "not UTF-8"),
        (b"{", "no JSON"),
        (b'{"a": 1}', "no list named data"),
        (b'[{"name": "x"}]', "workspace 1: it has no id"),
        (b"[" * 100_000, "no JSON"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_refused_with_its_place(data, said):
    with pytest.raises(CostCentreFileError, match=said.replace("(", r"\(")):
        read_cost_centres(data)
