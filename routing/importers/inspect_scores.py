"""What Inspect's scores say: letters, numbers, and values of several parts."""

from typing import Any

from routing.importers.base import About, EvalImportError, ReadOptions, number
from routing.importers.files import Json, part

# Correct, incorrect, partial, no answer: as Inspect itself turns them into numbers.
LETTERS = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0}
_WORDS = {"yes": 1.0, "true": 1.0, "correct": 1.0, "no": 0.0, "false": 0.0, "incorrect": 0.0}


class Judge:
    """Which of a sample's scores is the verdict. Chosen once for the whole file."""

    def __init__(self, options: ReadOptions, about: About, scorers: list[str]) -> None:
        self.options = options
        self.about = about
        self.scorers = scorers
        self.chosen = options.scorer

    @property
    def is_graded_by_model(self) -> bool:
        return any(name.rsplit("/", 1)[-1].startswith("model_graded") for name in self.scorers)

    def verdict(self, sample: Json) -> float | None:
        """0 … 1; None where the sample was not scored. Raises EvalImportError for a value that is no score."""
        scores = part(sample, "scores")
        if not scores:
            return None
        if self.options.scorer and self.options.scorer not in scores:
            remedy = f"It has: {', '.join(sorted(map(str, scores)))[:200]}"
            raise EvalImportError(
                "is no scorer of the sample", remedy=remedy, field="scorer", value=self.options.scorer
            )
        if not self.chosen:
            self.chosen = next((name for name in self.scorers if name in scores), next(iter(scores)))
        if len(scores) > 1 and not self.options.scorer:
            others = ", ".join(sorted(str(name) for name in scores if name != self.chosen))
            self.about.warn(
                f"Samples are judged by the scorer {self.chosen}; the log also has {others[:200]}. Name another with "
                "--scorer."
            )
        field = f"scores.{self.chosen}"
        return _as_share(self._single(part(scores, self.chosen).get("value"), field), field)

    def _single(self, value: Any, field: str) -> Any:
        """The one value that counts, of a dict or list of them."""
        wanted = self.options.metric
        if isinstance(value, dict):
            if wanted in value:
                return value[wanted]
            if len(value) == 1 and not wanted:
                return next(iter(value.values()))
            names = ", ".join(map(str, value))[:200]
            raise EvalImportError("holds several values", remedy=f"Name one of them (--metric): {names}", field=field)
        if isinstance(value, list):
            if len(value) == 1:
                return value[0]
            if wanted == "mean" and value:
                shares = [_as_share(item, field) for item in value]
                known = [share for share in shares if share is not None]
                return sum(known) / len(known) if len(known) == len(shares) else None
            if wanted.isdecimal() and int(wanted) < len(value):
                return value[int(wanted)]
            remedy = f"Say which counts (--metric): 0 to {len(value) - 1}, or mean" if value else "Score it again"
            raise EvalImportError(f"holds a list of {len(value):,} values", remedy=remedy, field=field)
        return value


def _as_share(value: Any, field: str) -> float | None:
    if value is None or value != value:  # NaN marks a sample that was not scored
        return None
    if isinstance(value, bool):
        return 1.0 if value else 0.0
    if isinstance(value, str):
        found = LETTERS.get(value)
        found = _WORDS.get(value.strip().lower()) if found is None else found
        if found is not None:
            return found
    share = float(number(value, field))
    if not 0 <= share <= 1:
        remedy = "Give scores of 0 … 1, for example with a metric of the scorer, or name another (--scorer, --metric)"
        raise EvalImportError("is outside 0 … 1", remedy=remedy, field=field, value=value)
    return share
