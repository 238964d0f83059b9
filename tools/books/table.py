"""The table of results, for people."""

from __future__ import annotations

from pathlib import Path

from tools.books.compare import Verdict

HEAD = """# Books on flambeau

Made by `python -m tools.books`: each section's cells run in order in one process, under PyTorch 2.13 and under flambeau with
equal seeds, with small synthetic data where a download would be needed and training loops cut short; printed numbers must
agree to 0.1 % and their last digit. *Cells* are those that PyTorch itself runs so. Times are not compared, nor what PyTorch
itself changes when its gradients are changed in their last bits. A section is *rounding* where its numbers differ and the
same cells agree when both compute in float64.
"""


def words(verdict: Verdict, note: str) -> str:
    """One line about a section."""
    if not verdict.cells:
        return f"PyTorch runs no cell: {note}"
    state = "agrees" if verdict.agrees else "ROUNDING" if verdict.rounding else "DIFFERS"
    text = f"{state}: {verdict.ran}/{verdict.cells} cells, {verdict.equal}/{verdict.numbers} numbers, {verdict.unsteady} unsteady"
    return text + "".join(f"; {why[:160]}" for why in verdict.why[:2]) + (f" [PyTorch: {note[:120]}]" if note else "")


def page(results: dict[Path, dict[str, tuple[Verdict, str]]]) -> str:
    """The page of all books in Markdown."""
    lines = [HEAD]
    for book, sections in results.items():
        counted = [verdict for verdict, _ in sections.values() if verdict.cells]
        agreed = sum(verdict.agrees for verdict in counted)
        rounding = sum(verdict.rounding for verdict in counted)
        lines += [
            f"## {book.name}",
            "",
            f"{agreed} of {len(counted)} sections agree." + f" {rounding} more agree in float64." * bool(rounding),
            "",
            "| section | cells | numbers | why not |",
            "|---|---|---|---|",
        ]
        for name, (verdict, note) in sections.items():
            why = "; ".join(verdict.why[:2]) if verdict.cells else f"PyTorch does not run it here: {note}"
            why = f"rounding: {why}" if verdict.rounding else why
            row = [
                name,
                f"{verdict.ran} of {verdict.cells}",
                f"{verdict.equal} of {verdict.numbers}",
                why.replace("|", "\\|").replace("\n", " ")[:200],
            ]
            lines.append("| " + " | ".join(row) + " |")
        lines.append("")
    return "\n".join(lines)
