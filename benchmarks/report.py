"""The table of a run, for `results/` and the README (`python -m benchmarks.report` writes that again)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.catalogue import ROWS
from benchmarks.row import Kind, Result, Row, verdict
from benchmarks.version import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

RESULTS = CHECKOUT / "benchmarks" / "results"
README = CHECKOUT / "README.md"
BEGIN = "<!-- benchmarks:begin (made by `python -m benchmarks.report`) -->"
END = "<!-- benchmarks:end -->"
_MISSING = "–"
_AGAINST = {Kind.RATIO: "of", Kind.MORE: "over"}
_SIGNS = {"within": "✓", "over": "✗", "reported": ""}


@dataclass(frozen=True)
class Run:
    """The results of a run by their rows' keys, its machine, its command, and its minutes."""

    results: Mapping[str, Result]
    machine: Mapping[str, str]
    command: str
    minutes: float

    def write(self, folder: Path) -> None:
        """Store it as JSON, from which the tables can be rendered again."""
        content = {
            "command": self.command,
            "minutes": round(self.minutes, 1),
            "machine": dict(self.machine),
            "results": {key: result.as_json() for key, result in self.results.items()},
        }
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "run.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")

    @classmethod
    def read(cls, folder: Path) -> Run | None:
        """Read the stored run, None where there is none."""
        path = folder / "run.json"
        if not path.exists():
            return None
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
        results = {key: Result.from_json(value) for key, value in content["results"].items()}
        return cls(results, content["machine"], content["command"], content["minutes"])


def table(run: Run, rows: Sequence[Row] = ROWS) -> str:
    """Render the whole of a run: every row with how it was measured, its figures and their spread."""
    lines = [
        "# What `make bench` measured",
        "",
        f"`{run.command}` took {run.minutes:.0f} minutes. Figures are medians, with smallest and largest.",
        "References were taken in the same run, in turn with the figures; ratios and differences are medians",
        "of the pairs' own.",
        "",
        *(f"* {name}: {value}" for name, value in run.machine.items()),
        "",
        "| what | figure | reference | compared | budget | | how it is measured |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        result = run.results.get(row.key)
        if result is None:
            continue
        how = f"{row.how}. {result.note}" if result.note else row.how
        reference = (
            f"{spread(result.references, row.unit)}: {row.reference}" if result.references else _MISSING
        )
        cells = (
            row.what, spread(result.figures, row.unit), reference, _compared(row, result), _budget(row),
            _SIGNS[verdict(row, result)], how,
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def short_table(run: Run | None) -> str:
    """Render the README's table: every row of the catalogue, once a run is stored."""
    if run is None:
        return "No run is kept yet: `make bench` measures on your machine."
    head = "| what | budget | measured | |\n|---|---|---|---|"
    lines = []
    for row in ROWS:
        result = run.results.get(row.key)
        word = _AGAINST.get(row.budget.kind) if row.budget else None
        against = f" {word} {row.reference}" if word else ""
        measured, sign = _MISSING, ""
        if result is not None:
            compared = _compared(row, result)
            measured = _number(result.figure, row.unit)
            measured += f" = {compared}" if compared != _MISSING else ""
            sign = _SIGNS[verdict(row, result)]
        lines.append(f"| {row.what} | {_budget(row)}{against} | {measured} | {sign} |")
    machine = run.machine
    where = (
        f"Commit {machine['commit']}, {machine['machine']}, {machine['system']}; "
        f"{run.minutes:.0f} minutes. "
        "How each is measured, with spread: [benchmarks/results/table.md](benchmarks/results/table.md)."
    )
    return "\n".join([head, *lines, "", where])


def put_into_readme(run: Run | None) -> None:
    """Replace the text between the markers."""
    text = README.read_text("utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    README.write_text(f"{before}{BEGIN}\n{short_table(run)}\n{END}{after}", "utf-8")


def _budget(row: Row) -> str:
    return str(row.budget) if row.budget else "reported"


def _compared(row: Row, result: Result) -> str:
    if result.ratio is None or result.more is None or (row.budget and row.budget.kind is Kind.FIGURE):
        return _MISSING
    if row.budget and row.budget.kind is Kind.MORE:
        return f"{result.more:+.1f} {row.unit}"
    return f"{result.ratio:.2f} ×"


def spread(figures: Sequence[float], unit: str) -> str:
    """Render the median with its unit, and the smallest and the largest of several figures."""
    middle = _number(Result(tuple(figures)).figure, unit)
    return middle if len(figures) == 1 else f"{middle} ({_plain(min(figures))} – {_plain(max(figures))})"


def _number(value: float, unit: str) -> str:
    return f"{_plain(value)}{unit if unit.startswith('/') else f' {unit}'}"


def _plain(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    put_into_readme(Run.read(RESULTS))
