"""Text tables of a record of the evaluation suite."""

from collections.abc import Sequence
from typing import Any


def tables(record: dict[str, Any]) -> str:
    """Format all parts of a record of ``evaluate`` as text."""
    config = record["model"]
    lines = [
        f"{config['attention']} model, {record['parameters']:,} parameters, "
        f"{config['num_layers']} layers, E = {config['embed_dim']}",
    ]
    if record["lam"]:
        lam = ", ".join(f"{x:.3f}" for x in record["lam"])
        lines.append(f"lambda by layer: {lam}")
    moved = max(record["causality"].values())
    lines += [f"causal: earlier logits moved by {moved:.1g} at most", ""]
    for part, write in (
        ("loss", _loss),
        ("recall", _recall),
        ("attention", _attention),
        ("activations", _activations),
        ("rounding", _rounding),
    ):
        if part in record:
            lines += [*write(record[part]), ""]
    seconds = (f"{p} {s:.1f}" for p, s in record["seconds"].items())
    return "\n".join([*lines, f"seconds: {', '.join(seconds)}"])


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """Format a table, the first column left-aligned, the others right."""
    cells = [[*head], *([_cell(x) for x in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _loss(loss: dict[str, Any]) -> list[str]:
    domains = loss["domains"]
    lines = [
        f"loss in nats a token, windows of {loss['length']}; 95 % interval "
        "over documents",
    ]
    rows = [
        [
            name,
            d["tokens"],
            d["nats"],
            d["low"],
            d["high"],
            d["bits_per_byte"],
            d["accuracy"],
            d["repeated"]["nats"],
            d["other"]["nats"],
        ]
        for name, d in domains.items()
    ]
    head = ["domain", "tokens", "nats", "low", "high", "bits/byte"]
    lines += _table([*head, "accuracy", "AR-Hit", "other"], rows)
    everything = domains["all"]
    lines += ["", "by position in the window"]
    lines += _table(
        ["positions", "tokens", "nats"],
        [
            [f"{r['first']} to {r['last']}", r["tokens"], r["nats"]]
            for r in everything["by_position"]
        ],
    )
    if everything["by_frequency"] is not None:
        lines += ["", "by frequency in training, tenths of the text"]
        lines += _table(
            ["decile", "tokens", "nats"],
            [
                [_decile(i), row["tokens"], row["nats"]]
                for i, row in enumerate(everything["by_frequency"])
            ],
        )
    return lines


def _decile(number: int) -> str:
    ends = {0: "1, rarest", 9: "10, most frequent"}
    return ends.get(number, str(number + 1))


def _recall(recall: dict[str, Any]) -> list[str]:
    lines = ["recall: share of questions answered right, by depth of answer"]
    rows = [
        [
            _task(cell["task"]),
            cell["task"]["length"],
            cell["questions"],
            cell["chance"],
            cell["accuracy"],
            cell["low"],
            cell["high"],
            *cell.get("by_depth", [None] * 5),
        ]
        for cell in recall["cells"]
    ]
    depths = ["0-20 %", "20-40 %", "40-60 %", "60-80 %", "80-100 %"]
    head = ["task", "length", "questions", "chance", "accuracy", "low"]
    lines += _table([*head, "high", *depths], rows)
    for row in recall["effective"]:
        length = row["effective_length"]
        said = "none, as the shortest is at chance"
        if length is not None:
            said = f"{length} of {row['longest']}"
        lines.append(f"effective length, {_task(row['task'])}: {said}")
    return lines


def _task(task: dict[str, Any]) -> str:
    if task["kind"] == "mqar":
        return f"MQAR, {task['pairs']} pairs"
    return f"needles, N={task['needles']} R={task['questions']}"


def _attention(attention: dict[str, Any]) -> list[str]:
    lines = [
        "attention maps: shares of the absolute weight; support is the number "
        "of keys"
    ]
    if "task" in attention:
        task = attention["task"]
        lines[0] += f"; questions of {_task(task)}, length {task['length']}"
    rows = [
        [
            f"{where}: {name.replace('_', ' ')}",
            measure["mean"],
            measure["highest"],
            f"{measure['layer']}.{measure['head']}",
        ]
        for where, measures in attention.items()
        if where != "task"
        for name, measure in measures.items()
    ]
    return lines + _table(["measure", "mean", "highest", "layer.head"], rows)


def _activations(activations: dict[str, Any]) -> list[str]:
    lines = [f"largest absolute values over {activations['tokens']:,} tokens"]
    rows, head = [], []
    for name in ("logits", "hidden"):
        part = activations[name]
        layers = [(f"layer {i}", row) for i, row in enumerate(part["layers"])]
        for where, row in (*layers, ("all", part["all"])):
            rows.append([f"{name}, {where}", *row["top"].values()])
            rows[-1].append(row["median"])
            head = [f"top-{k}" for k in row["top"]]
    return lines + _table(["", *head, "median"], rows)


def _rounding(rows: list[dict[str, Any]]) -> list[str]:
    columns = [
        (part, key)
        for part in ("text", "recall")
        if part in rows[0]
        for key in ("nats", "accuracy")
    ]
    return [
        "with attention logits rounded to integers, scaled by each map's "
        "largest absolute logit; on a quarter of the windows and rows",
        *_table(
            ["bits", *(f"{part} {key}" for part, key in columns)],
            [
                [
                    "all" if row["bits"] is None else str(row["bits"]),
                    *(row[part][key] for part, key in columns),
                ]
                for row in rows
            ],
        ),
    ]
