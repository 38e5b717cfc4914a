"""What evaluate.py found, in words and as a table. Knows nothing but the facts it is given."""

from __future__ import annotations

from typing import Any

COPIED = 12  # tokens in a row that count as copied, not as common speech
FEW = 5  # pieces below which an interval over them says little
SUSPICIOUS = 0.1  # share of such runs below which nobody need worry


def number(fact: dict[str, Any] | None, pattern: str = ".3f") -> str:
    """Return a value with its interval, a dash for none."""
    if fact is None or fact["value"] is None:
        return "–"
    text = format(fact["value"], pattern)
    if fact["interval"]:
        low, high = (format(bound, pattern) for bound in fact["interval"])
        text += f" ({low} to {high})"
    return text


def without(left_out: dict[str, int]) -> str:
    """Say how many pieces of each set a row leaves out, having nothing to measure; "" for none."""
    some = [f"{count} {group.replace('_', ' ')}" for group, count in left_out.items() if count]
    return f"left out: {', '.join(some)}" if some else ""


def yardstick_name(facts: dict[str, Any]) -> str:
    """Return a yardstick's name in words."""
    if facts["name"] == "repeat-last":
        kind = "repeat last"
    else:
        kind = "unigram" if facts["order"] == 1 else f"{facts['order']}-gram"
        kind += {"witten-bell": " Witten-Bell", "kneser-ney": " Kneser-Ney"}[facts["name"]]
    return kind + (f", {facts['keys']} keys" if facts["keys"] > 1 else "")


def verdict(result: dict[str, Any]) -> str:
    """Say in one sentence whether the model beats counting, and whether it copies."""
    parts = [prediction(result)]
    if result.get("novelty"):
        parts.append(copying(result["novelty"]))
    return "; ".join(parts) + "."


def prediction(result: dict[str, Any]) -> str:
    """Say how the model stands to the best n-gram on held-out pieces."""
    if not result["scores"].get("held_out"):
        return "no pieces were held out, so nothing can be said about music it has not seen"
    pieces = result["scores"]["held_out"]["pieces"]
    mine = result["scores"]["held_out"]["nats_a_token"]["value"]
    if not result.get("yardsticks"):
        return f"on {pieces} pieces it never saw the model needs {mine:.3f} nats a token"
    best, difference = result["yardsticks"]["best"], result["yardsticks"]["model_minus_best"]
    theirs = best["nats_a_token"]["value"]
    word = "better" if mine < theirs else "worse"
    text = f"on held-out music the model ({mine:.3f} nats a token) is {abs(1 - mine / theirs):.1%} "
    text += f"{word} than the best yardstick ({yardstick_name(best)}, {theirs:.3f})"
    interval = difference["interval"]
    if not interval or interval[0] <= 0 <= interval[1] or pieces < FEW:
        text += f", which {pieces} held-out piece{'s' if pieces > 1 else ''} cannot make certain"
    return text


def memorised(facts: dict[str, Any]) -> bool:
    """Tell whether generated pieces copy clearly more than people's pieces repeat of each other."""
    made = facts["generated"]["grams"][str(COPIED)]["transposed"]
    human = facts.get("held_out", {"grams": {}})["grams"].get(str(COPIED), {}).get("transposed")
    if made["value"] is None:
        return False
    least = made["interval"][0] if made["interval"] else made["value"]
    usual = (human["interval"][1] if human["interval"] else human["value"]) if human else 0
    return made["value"] >= SUSPICIOUS and least > (usual or 0)


def copying(facts: dict[str, Any]) -> str:
    """Say whether the model has memorised, with the longest copy and where it is from."""
    generated = facts["generated"]
    made = generated["grams"][str(COPIED)]["transposed"]["value"]
    longest = generated["longest"]
    text = "it has memorised" if memorised(facts) else "it has not memorised"
    if made is not None:
        text += f": {made:.1%} of its runs of {COPIED} tokens stand in a training piece"
    human = facts.get("held_out")
    if human and human["grams"][str(COPIED)]["transposed"]["value"] is not None:
        text += f" (people's: {human['grams'][str(COPIED)]['transposed']['value']:.1%})"
    if longest and longest["length"]:
        text += f", and its longest copy is {longest['length']} tokens of {longest['piece']}"
    return text


def show(result: dict[str, Any]) -> None:
    """Print all facts as tables."""
    show_scores(result)
    if result.get("yardsticks"):
        show_yardsticks(result["yardsticks"])
    if result.get("novelty"):
        show_novelty(result["novelty"])
    if result.get("statistics"):
        show_statistics(result["statistics"])
    if result.get("resemblance"):
        show_resemblance(result["resemblance"])
    for line in result["notes"]:
        print(f"\n{line}")
    sentence = result["verdict"]
    print(f"\n{sentence[0].upper()}{sentence[1:]}")


def show_scores(result: dict[str, Any]) -> None:
    """Print what predicting pieces costs, with intervals."""
    columns = {
        "held out": result["scores"].get("held_out"),
        "training": result["scores"].get("training"),
        "best yardstick, held out": result["yardsticks"]["best"]
        if result.get("yardsticks")
        else None,
    }
    shown = {name: facts for name, facts in columns.items() if facts}
    print("\nPrediction" + " " * 8 + "".join(f"{name:>30}" for name in shown))
    rows = [("pieces", "pieces", ",d"), ("tokens", "tokens", ",d")]
    rows += [(f"nats a {what}", f"nats_a_{what}", ".3f") for what in ("token", "note", "quarter")]
    rows += [("perplexity", "perplexity", ".1f"), ("accuracy", "accuracy", ".1%")]
    for label, key, pattern in [*rows, ("top 5", "top_5", ".1%")]:
        cells = [
            format(facts[key], pattern)
            if isinstance(facts[key], int)
            else number(facts[key], pattern)
            for facts in shown.values()
        ]
        print(f"  {label:16}" + "".join(f"{cell:>30}" for cell in cells))


def show_yardsticks(facts: dict[str, Any]) -> None:
    """Print every yardstick's held-out nats a token, one row an order."""
    cells = {(row["order"], row["name"], row["keys"]): row["nats_a_token"] for row in facts["all"]}
    keys = sorted({row["keys"] for row in facts["all"]})
    kinds = [(name, key) for key in keys for name in ("witten-bell", "kneser-ney")]
    titles = {"witten-bell": "Witten-Bell", "kneser-ney": "Kneser-Ney"}
    print("\nYardsticks, held-out nats a token; 12 keys: counted in every transposition")
    heads = [titles[name] + (f", {key} keys" if key > 1 else "") for name, key in kinds]
    print(" " * 18 + "".join(f"{head:>22}" for head in heads))
    for order in sorted({row["order"] for row in facts["all"]}):
        label = "unigram" if order == 1 else f"{order}-gram"
        row = "".join(f"{cells[order, name, key]:>22.3f}" for name, key in kinds)
        print(f"  {label:16}{row}")
    row = "".join(f"{cells[2, 'repeat-last', key]:>22.3f}{'':22}" for key in keys)
    print(f"  {'repeat last':16}{row.rstrip()}")


def show_novelty(facts: dict[str, Any]) -> None:
    """Print what generated and people's pieces share with training pieces."""
    sets = {name: facts[name] for name in ("generated", "held_out") if name in facts}
    heads = [f"{name.replace('_', ' ')} ({of['pieces']})" for name, of in sets.items()]
    print(f"\nFound in the {facts['searched_pieces']:,} training pieces")
    print(" " * 28 + "".join(f"{head:>30}" for head in heads))
    for kind, words in (("exact", "verbatim"), ("transposed", "in any key")):
        for length in next(iter(sets.values()))["grams"]:
            cells = [number(of["grams"][length][kind], ".1%") for of in sets.values()]
            label = f"runs of {length}, {words}"
            print(f"  {label:26}" + "".join(f"{cell:>30}" for cell in cells))
    for kind, words in (("longest", "verbatim"), ("longest_transposed", "in any key")):
        for name, of in sets.items():
            run = of[kind]
            if run and run["length"]:
                moved = f", {run['semitones']:+d} semitones" if run["semitones"] else ""
                print(
                    f"  longest {words}, {name.replace('_', ' ')}: {run['length']} tokens of "
                    f"{run['piece']} (from token {run['piece_start'] + 1}{moved}) in {run['in']} "
                    f"(from token {run['start'] + 1})"
                )


def show_statistics(facts: dict[str, Any]) -> None:
    """Print musical statistics, and how far generated pieces lie from people's."""
    groups = list(facts["pieces"])
    heads = [f"{name.replace('_', ' ')} ({facts['pieces'][name]})" for name in groups]
    print("\nMusic, as it is written out; overlap of distances (1 = like people's) and divergence")
    print(" " * 28 + "".join(f"{head:>30}" for head in heads))
    for label, row in facts["measures"].items():
        cells = "".join(f"{number(row[group], '.2f'):>30}" for group in groups)
        print(f"  {label:26}{cells}")
        if words := without({group: row[group]["left_out"] for group in groups}):
            print(f"    {words}")
        for group in groups[1:]:
            alike = row[group]["similarity"]
            if alike:
                print(
                    f"    overlap with {group.replace('_', ' ')} {alike['overlap']:.2f}, "
                    f"divergence {alike['divergence']:.2f} nats"
                )


def show_resemblance(facts: dict[str, Any]) -> None:
    """Print how much of people's distributions generated pieces share, beside what people reach."""
    group = facts["with"].replace("_", " ")
    made, human = facts["pieces"]["generated"], facts["pieces"][facts["with"]]
    people = "training and held-out" if facts["people_are"] == "training" else f"halves of {group}"
    print(f"\nResemblance of {made} generated to {human} {group} pieces: 1 = the same")
    print(f"  {'MGEval, overlap of distances':30}{'generated':>24}{'people: ' + people:>36}")
    for label, row in facts["mgeval"]["features"].items():
        show_overlap(label, row["overlap"], row)
    mean = facts["mgeval"]["mean_overlap"]
    show_overlap(f"mean of {mean['features']}", mean, mean)
    if facts["distributions"]:
        print("  Overlap of distributions inside pieces")
        for label, row in facts["distributions"]["overlaps"].items():
            show_overlap(label, row, row)
    if facts["omitted"]:
        print("  Rhythm and instruments are left out: they would be those of the encoding, which")
        print("  writes every token half a quarter note long, and not the music's.")


def show_overlap(label: str, overlap: dict[str, Any], row: dict[str, Any]) -> None:
    """Print one overlap, what people's pieces reach in its place, and how many have no value."""
    cells = f"{number(overlap, '.2f'):>24}{number(row['people'], '.2f'):>36}"
    print(f"  {label:30}{cells}  {without(row.get('left_out', {}))}".rstrip())
