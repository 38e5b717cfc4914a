"""What an evaluation found, in a sentence and as tables. Knows only the facts it is given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from midilstm.fileio import printable

SPAN = "8"  # tokens of a span that comes back
FAR = ("8", "16")  # spans of which it is shown from how far they come back
COPIED = "12"  # tokens in a row that count as copied, not as common speech
FEW = 5  # pieces below which an interval over them says little
SUSPICIOUS = 0.1  # share of such runs below which nobody need worry


def number(fact: dict[str, Any], pattern: str) -> str:
    """Return a value with its interval, a dash for none."""
    if fact["value"] is None:
        return "–"
    bounds = " to ".join(format(bound, pattern) for bound in fact["interval"] or ())
    return format(fact["value"], pattern) + (f" ({bounds})" if bounds else "")


def without(left_out: Mapping[str, int]) -> str:
    """Say how many pieces of each set a row leaves out, having nothing to measure; "" for none."""
    subsample = [f"{count} {group.replace('_', ' ')}" for group, count in left_out.items() if count]
    return f"left out: {', '.join(subsample)}" if subsample else ""


def verdict(result: dict[str, Any]) -> str:
    """Say in one sentence whether the model beats counting, repeats itself as people do, copies."""
    parts = [prediction(result)]
    if result.get("repetition"):
        parts.append(form(result["repetition"]))
    if result.get("copying"):
        parts.append(copying(result["copying"]))
    return "; ".join(filter(None, parts)) + "."


def prediction(result: dict[str, Any]) -> str:
    """Say how the model stands to the best n-gram on held-out pieces."""
    if not result["scores"].get("held_out"):
        return "no pieces were held out, so nothing can be said about music it has not seen"
    scores, baseline, both = result["scores"]["held_out"], result.get("ngram_baseline"), ""
    pieces, remembers = scores["pieces"], scores.get("with_memory")
    if remembers and (not baseline or baseline.get("with_memory")):
        scores, baseline, both = remembers, baseline and baseline["with_memory"], " with memory"
    mine = scores["nll_per_token"]["value"]
    if not baseline:
        return f"on {pieces} pieces it never saw the model{both} needs {mine:.3f} nats a token"
    theirs = baseline["best"]["nll_per_token"]["value"]
    text = f"on held-out music the model{both} ({mine:.3f} nats a token) is "
    text += f"{abs(1 - mine / theirs):.1%} {'better' if mine < theirs else 'worse'} than the best "
    text += f"n-gram baseline{both} ({ngram(baseline['best'])}, {theirs:.3f})"
    interval = baseline["model_minus_baseline"]["interval"]
    if not interval or interval[0] <= 0 <= interval[1] or pieces < FEW:
        text += f", which {pieces} held-out piece{'s' if pieces > 1 else ''} cannot make certain"
    return text


def ngram(facts: dict[str, Any]) -> str:
    """Name an n-gram."""
    return facts["name"] + (f" in {facts['keys']} keys" if facts["keys"] > 1 else "")


def form(facts: dict[str, Any]) -> str:
    """Say whether generated pieces repeat themselves as people's do; "" where nothing can be."""
    sets = [facts[group] for group in ("held_out", "training") if group in facts]
    if not sets:
        return ""
    people = next((of for of in sets if of["pieces"] >= FEW), sets[0])
    made, human = (of["spans"][SPAN]["share"] for of in (facts["generated"], people))
    if made["value"] is None or human["value"] is None:
        return ""
    low, high = human["interval"] or [human["value"]] * 2
    how = "less than" if made["value"] < low else "more than" if made["value"] > high else "as"
    text = f"its pieces repeat themselves {how} people's: {made['value']:.0%} of their spans of "
    text += f"{SPAN} tokens came earlier in the piece (people's: {number(human, '.0%')})"
    loops, count = facts["generated"]["n_ending_in_loop"], facts["generated"]["pieces"]
    return text + (f", and {loops} of {count} end in a loop" if loops else "")


def copying(facts: dict[str, Any]) -> str:
    """Say whether the model has memorised, with the longest copy and where it is from.

    It has where generated pieces copy clearly more than people's pieces repeat of each other.
    """
    nothing = {"value": None, "interval": None}
    made, human = (
        facts[group]["grams"][COPIED]["transposed"] if group in facts else nothing
        for group in ("generated", "held_out")
    )
    text, longest = "it has not memorised", facts["generated"]["longest"]
    if made["value"] is not None:
        least, usual = (made["interval"] or [made["value"]])[0], human["interval"]
        if made["value"] >= SUSPICIOUS and least > (usual[1] if usual else human["value"] or 0):
            text = "it has memorised"
        text += f": {made['value']:.1%} of its runs of {COPIED} tokens stand in a training piece"
    if human["value"] is not None:
        text += f" (people's: {human['value']:.1%})"
    if longest["length"]:
        text += f", and its longest copy is {longest['length']} tokens of {longest['piece']}"
    return text


def table(
    title: str, heads: Iterable[str], rows: Mapping[str, Sequence[str]], width: int = 32
) -> None:
    """Print a table; a cell beyond the heads stands as it is."""
    heads = [f"{head.replace('_', ' '):>{width}}" for head in heads]
    print(f"\n{title}\n{'':32}{''.join(heads)}")
    for label, cells in rows.items():
        shown = "".join(f"{cell:>{width}}" for cell in cells[: len(heads)])
        print(f"  {label:30}{shown}  {' '.join(cells[len(heads) :])}".rstrip())


def show(result: dict[str, Any]) -> None:
    """Print all facts as tables, and the verdict."""
    show_prediction(result["scores"], result.get("ngram_baseline"))
    if result.get("memory") and result.get("by_section"):
        show_parts(result["by_section"])
    if made := result.get("generated"):
        how = f"drawn with --memory={made['memory']:g}" if made["memory"] else "without memory"
        how = "read from files" if made["memory"] is None else how
        print(f"\nGenerated: {made['pieces']} pieces of {made['length']} tokens, {how}")
    parts = {"repetition": show_form, "copying": show_copying}
    parts |= {"statistics": show_statistics, "similarity": show_similarity}
    for name, show_part in parts.items():
        if result.get(name):
            show_part(result[name])
    sentence = result["summary"]
    print("", *map(printable, (*result["warnings"], sentence[0].upper() + sentence[1:])), sep="\n")


def show_prediction(scores: dict[str, Any], baseline: dict[str, Any] | None) -> None:
    """Print what predicting pieces costs, with intervals."""
    columns = {f"{name} ({of['pieces']} of {of['of']})": of for name, of in scores.items()}
    columns |= {f"best n-gram: {ngram(baseline['best'])}": baseline["best"]} if baseline else {}
    patterns = {"nll_per_token": ".3f", "nll_per_note": ".3f", "nll_per_quarter": ".3f"}
    patterns |= {"perplexity": ".1f", "accuracy": ".1%", "top_5": ".1%"}
    rows = {"tokens": [f"{facts['tokens']:,}" for facts in columns.values()]}
    for key, pattern in patterns.items():
        rows[key.replace("_", " ")] = [number(of[key], pattern) for of in columns.values()]
    remembering = [of.get("with_memory") for of in scores.values()]
    if any(remembering):
        theirs = baseline and baseline.get("with_memory")
        remembering += [theirs["best"] if theirs else None] if baseline else []
        cells = [number(of["nll_per_token"], ".3f") if of else "–" for of in remembering]
        rows["nats a token with memory"] = cells
    table("Prediction", columns, rows)


def show_parts(parts: dict[str, Any]) -> None:
    """Print what each part of the held-out pieces costs, without and with memory."""
    heads = list(next(iter(parts.values())))
    rows = {
        part: [f"{of['share']:.0%}", *(f"{of[h]:.3f}" if of[h] else "–" for h in heads[1:])]
        for part, of in parts.items()
    }
    table("Held-out nats a token by part of the pieces", heads, rows, width=22)


def show_form(facts: dict[str, Any]) -> None:
    """Print what comes back in generated and people's pieces, and from how far."""
    of_each, rows = list(facts.values()), {}
    for span in facts["generated"]["spans"]:
        cells = [number(of["spans"][span]["share"], ".1%") for of in of_each]
        rows[f"spans of {span} heard before"] = cells
    for unit in ("tokens", "bars"):
        for span in FAR:
            cells = [number(of["spans"][span][unit], ".4g") for of in of_each]
            rows[f"{unit} since, spans of {span}"] = cells
    for key in ("longest_repeat", "longest_loop"):
        cells = [f"{number(of[key], '.0f')}, at most {of[key]['max']}" for of in of_each]
        rows[f"{key.replace('_', ' ')} (tokens)"] = cells
    rows["pieces that end in a loop"] = [str(of["n_ending_in_loop"]) for of in of_each]
    heads = [f"{group} ({of['pieces']})" for group, of in facts.items()]
    table("Form: what comes back, a mean or a median of all pieces", heads, rows)


def show_copying(facts: dict[str, Any]) -> None:
    """Print what generated and people's pieces share with training pieces."""
    sets = {name: facts[name] for name in ("generated", "held_out") if name in facts}
    rows, lines = {}, []
    for kind, words in (("exact", "verbatim"), ("transposed", "in any key")):
        for length in facts["generated"]["grams"]:
            cells = [number(of["grams"][length][kind], ".1%") for of in sets.values()]
            rows[f"runs of {length}, {words}"] = cells
        for name, of in sets.items():
            run = of["longest" if kind == "exact" else "longest_transposed"]
            moved = f", {run['semitones']:+d} semitones" if run["semitones"] else ""
            lines.append(
                f"  longest {words}, {name.replace('_', ' ')}: {run['length']} tokens of "
                f"{run['piece']} (from token {run['piece_start'] + 1}{moved}) in {run['in']} "
                f"(from token {run['start'] + 1})"
            )
    heads = [f"{name} ({of['pieces']})" for name, of in sets.items()]
    table(f"Found in the {facts['n_training']:,} training pieces", heads, rows)
    print(*map(printable, lines), sep="\n")


def show_statistics(facts: dict[str, Any]) -> None:
    """Print musical statistics of generated and people's pieces."""
    rows = {}
    for label, row in facts["values"].items():
        left_out = without({group: of["n_skipped"] for group, of in row.items()})
        rows[label] = [*(number(of, ".2f") for of in row.values()), left_out]
    heads = [f"{group} ({count})" for group, count in facts["pieces"].items()]
    table("Music, as it is written out", heads, rows)


def show_similarity(facts: dict[str, Any]) -> None:
    """Print how much of people's distributions generated pieces share, beside what people reach."""
    group = facts["reference_set"].replace("_", " ")
    made, human = facts["pieces"]["generated"], facts["pieces"][facts["reference_set"]]
    mean = facts["mean_overlap"]
    found = {**facts["features"], f"mean of {mean['features']}": mean, **facts["distributions"]}
    rows = {
        label: [
            number(row, ".2f"),
            number(row["reference"], ".2f"),
            without(row.get("n_skipped", {})),
        ]
        for label, row in found.items()
    }
    title = f"Similarity of {made} generated to {human} {group} pieces: 1 = the same"
    table(title, ["generated", "people: training"], rows)
    if facts["skipped_features"]:
        print("  Rhythm and instruments are left out: they would be those of the encoding.")
