# %% [markdown]
# # What improved
#
# **Why is a fine-tuned version better?** {glue:text}`better_sentence` Their activations are put into {glue:text}`base_name`, group by
# group, on the same prompts: {glue:text}`answer_sentence`
#
# This is the paper's finding (iii), its Figure 4 {cite:p}`prakash2024finetuning`, with four controls that it lacks: other heads of the
# same number at the same token; the patch in the opposite direction; what a patch repairs and what it breaks; and the weights
# themselves. *Objectives:* read a cross-model patch, and say what it cannot show. *Time:* 30 minutes. *Before it:*
# {doc}`04_same_circuit`.

# %% tags=["parameters"]
family: str = "smollm2"  # a family in models/
base: str = "base"  # the version that receives, and whose circuit is patched
focus: str = "code"  # the version whose q, k, v and weights are looked into
own: str = "code"  # versions whose own circuit is patched too, separated by spaces
n_scenes: int = 20  # scenes of seven boxes; every box of each is asked for [2, 1000]
n_far: int = 7  # of these, scenes for patches that rerun the context (D and the full circuit) [1, 1000]
n_desiderata: int = 10  # scenes of seven pairs for what the groups carry [2, 1000]
n_graft: int = 10  # scenes for versions with parts of an update [2, 1000]
n_pairs: int = 21  # clean and corrupt pairs behind base's circuit [7, 700]
n_pairs_own: int = 21  # the same for the other versions' own circuits [7, 700]
n_random: int = 3  # random groups per group [1, 20]
structure_role: str = "after_prev_query_label"  # where structure readers act {after_prev_query_label, prev_query_label}
seed: int = 0  # of all prompts [0, 1000000]

# %% tags=["hide-input"]
from dataclasses import replace

from entrack import published
from entrack.boxes import scenes
from entrack.circuit import DiscoveryConfig
from entrack.errors import ChapterError
from entrack.figures.display import glue, show, table
from entrack.figures.improved import graft_gains, handed_over, inputs_bars, repaired_and_broken, update_maps
from entrack.finding import CircuitSettings, find_circuit
from entrack.grafts import update_norms
from entrack.improvement import carried, exchange, graft_scores, overall
from entrack.metrics import difference
from entrack.models import family_file, load, versions
from entrack.sites import GROUPS
from entrack.verdicts import direction, verdict

# %%
described = family_file(family)["versions"]
tuned = [v for v in versions(family) if described[v]["on"] == base]
below = described[base]["on"]
if not tuned or below is None:
    raise ChapterError(f"{base} of {family} has {len(tuned)} versions fine-tuned on it and stands on {below}; this chapter needs both. Name another base.")
unknown = sorted({focus, *own.split()} - set(tuned))
if unknown:
    raise ChapterError(f"{', '.join(unknown)} is not fine-tuned on {base}; there are {', '.join(tuned)}. Change the parameters focus and own.")
models = {v: load(f"{family}/{v}") for v in (below, base, *tuned)}
settings = CircuitSettings(n_pairs=n_pairs, seed=seed, discovery=DiscoveryConfig(structure_role=structure_role))
circuit = find_circuit(models[base], settings).circuit
asked = scenes(n_scenes, split="evaluation", seed=seed)
glue("base_name", models[base].name)
glue("focus", focus)
glue("n_prompts", n_scenes * 7)
glue("n_prompts_far", min(n_far, n_scenes) * 7)

# %% [markdown]
# ## Each group handed over
#
# Donor and receiver read the same {glue:text}`n_prompts` prompts. At the token where a group acts, the receiver's heads give the
# donor's output instead of their own; everything after is the receiver's. D and the full circuit rerun the context and are scored on
# the first {glue:text}`n_prompts_far`.

# %%
into_base = {v: exchange(models[v], models[base], circuit, scenes=asked, n_far=n_far, n_random=n_random, inputs=True, seed=seed) for v in tuned}

# %% mystnb={"figure": {"name": "fig-handed-over", "caption": "Accuracy of base with one group, or several, from each fine-tuned version (full marks), and with as many other heads at the same token (open grey circles). Dashed: base alone; solid: the donor alone. Bars: 95 % intervals over scenes."}}
show(handed_over(into_base, titles={v: f"{v} into {base}" for v in tuned}),
     alt="; ".join(f"{v}: " + ", ".join(f"{letter} {found.of(letter).accuracy(letter).value:.2f}" for letter in "ABCD" if letter in found.all_labels())
                   + f", base alone {found.near.own_accuracy().value:.2f}, donor {found.near.donor_accuracy().value:.2f}" for v, found in into_base.items()))

# %% tags=["hide-input"]
edges = {v: difference(found.near.donor_hits, found.near.own_hits, clusters=found.near.scenes) for v, found in into_base.items()}
better = [v for v in tuned if direction(edges[v]) == "higher"]
rows = []
for v, found in into_base.items():
    for label in (name for name in found.all_labels() if name in "ABCD" or " and " in name or name == "full circuit"):
        gain = found.of(label).gain(label)
        control = found.random(label) if len(label) == 1 else []
        rows.append([f"{v}: {label}", f"{found.of(label).accuracy(label):.2f}", f"{gain:+.2f}", f"{gain.p_value:.1g}",
                     f"{found.of(label).gain(*control):+.2f}" if control else "-", f"{found.of(label).log_prob_gain(label):+.2f}"])
table(rows, ["donor: patched", f"accuracy of {base}", "gain", "p", "gain, random heads", "gain in log probability (nats)"],
      caption=f"{base} with heads of each version. Gains are paired, with 95 % intervals over scenes and the sign test over scenes.")
glue("better_sentence", (f"Better than {base} here: " + ", ".join(f"{v} ({edges[v]:+.2f})" for v in better) + "." if better
                         else f"No version is clearly better than {base} on these prompts."))


def sentence(v: str) -> str:
    single = {letter: into_base[v].of(letter).gain(letter) for letter in "ABCD" if letter in into_base[v].all_labels()}
    helps = [letter for letter, gain in single.items() if direction(gain) == "higher"]
    hurts = [letter for letter, gain in single.items() if direction(gain) == "lower"]
    return f"from {v}, {' and '.join(helps) or 'no group'} alone " + ("helps" if len(helps) < 2 else "help") + (f" and {' and '.join(hurts)} alone hurts" if hurts else "")


glue("answer_sentence", "; ".join(sentence(v) for v in better) + "." if better else "so there is no gain to explain.")

# %% tags=["hide-input"]
paper, alone = published.cmap(), {name: row.full for name, row in published.table1().values.items()}
rows = [[f"{donor.capitalize()}: {'full circuit' if part == 'full_circuit' else GROUPS[part].letter}", cell.accuracy, f"{cell.accuracy - alone['llama']:+.2f}", cell.heads or "all groups"]
        for donor, parts in paper.values.items() for part, cell in parts.items()]
table(rows, ["donor: patched", "accuracy of Llama", "gain", "heads"], caption=f"The paper's Figure 4: Llama-7B with heads of Goat and FLoat. {paper.note}")

# %% [markdown]
# *Caveat.* A value fetcher's output at the last token all but spells the answer. Giving base the donor's A says little more than that
# the donor knew the answer and base can read it. And {glue:text}`n_prompts_far` prompts of few scenes decide little about D and the
# full circuit: read their intervals, not their marks.
#
# ## What is repaired, what is broken
#
# So we look only at prompts on which base was **wrong**, and ask what share each group repairs; and only at those on which it was
# **right**, and ask what share it breaks. A group that brings information repairs more than random heads do. One that does
# not fit its new surroundings breaks more.

# %% mystnb={"figure": {"name": "fig-repaired", "caption": "Of base's wrong answers, the share that each group repairs; of its right ones, the share that it breaks. Open grey circles: random heads of the same number."}}
show(repaired_and_broken(into_base), alt="; ".join(
    f"{v}: " + ", ".join(f"{letter} repairs {found.of(letter).repaired(letter).value:.2f} and breaks {found.of(letter).broken(letter).value:.2f}"
                         for letter in "ABCD" if letter in found.all_labels() and found.of(letter).repaired(letter)) for v, found in into_base.items()))

# %% [markdown]
# ## Whose heads: the donor's own circuit
#
# The paper patches the heads of the *donor's* circuit. Here they are, beside base's.

# %% tags=["hide-input"]
rows = []
for v in own.split():
    theirs = find_circuit(models[v], replace(settings, n_pairs=n_pairs_own)).circuit
    with_own = exchange(models[v], models[base], theirs, scenes=asked, seed=seed)
    for letter in (x for x in "ABC" if x in with_own.all_labels() and x in into_base[v].all_labels()):
        name = next(n for n, g in GROUPS.items() if g.letter == letter)
        gain, usual = with_own.of(letter).gain(letter), into_base[v].of(letter).gain(letter)
        rows.append([f"{v}: {letter}", len(circuit.groups[name]), f"{usual:+.2f}", len(theirs.groups[name]), f"{gain:+.2f}"])
table(rows, ["donor: patched", f"heads, circuit of {base}", "gain", "heads, donor's circuit", "gain"],
      caption=f"Gain in accuracy of {base} with the heads of its own circuit, and with those of the donor's.")

# %% [markdown]
# ## Which finer part: queries, keys or values
#
# Instead of their outputs, base's heads get the donor's **q** (at the last token), or **k** or **v** (at every token before it), each
# query head its own. What they make of them is base's. Log probabilities show more than hits can.

# %% mystnb={"figure": {"name": "fig-inputs", "caption": "Gain in the answer's log probability (nats) when heads of A or of B in base get the donor's q, k, v, several of them, or their outputs z."}}
show(inputs_bars(into_base[focus]), alt=f"Bars of the gain in log probability from the inputs of A and B of {focus}: " + ", ".join(
    f"{label} {into_base[focus].near.log_prob_gain(label).value:+.2f}" for label in into_base[focus].all_labels() if " of " in label) + ".")

# %% tags=["hide-input"]
earlier = published.cmap_earlier()
table([[f"{GROUPS[g].letter}: {inputs}", value] for g, cells in earlier.values["input"].items() for inputs, value in cells.items()],
      ["group: input", "accuracy of Llama with Goat's"], caption=f"Input patching in the released code's history (Llama alone: {alone['llama']:.2f}). {earlier.note}")

# %% [markdown]
# The donor is {glue:text}`focus`. The q of A is where B's message arrives: a gain there, and none from k or v, means that what
# improved lies before A, in what B tells it.
#
# ## The other direction: does the fine-tuned version lose what it gained?
#
# If a group carries the gain, base's copy of it, put into the fine-tuned version, must take the gain away.

# %%
from_base = {v: exchange(models[base], models[v], circuit, scenes=asked, n_random=1, seed=seed) for v in tuned}

# %% tags=["hide-input"]
rows = []
for v, found in from_base.items():
    for label in (name for name in found.all_labels() if name in "ABC" or " and " in name):
        loss = found.of(label).gain(label)
        control = found.random(label) if len(label) == 1 else []
        rows.append([f"{base} into {v}: {label}", f"{found.of(label).accuracy(label):.2f}", f"{loss:+.2f}", f"{loss.p_value:.1g}",
                     f"{found.of(label).gain(*control):+.2f}" if control else "-", f"{found.near.donor_accuracy():.2f}"])
table(rows, ["patched", "accuracy", "change", "p", "change, random heads", f"{base} alone"], caption="Fine-tuned versions with base's heads. A loss down to base's own accuracy means the gain went through these heads.")

# %% [markdown]
# ## Does it match what the groups carry?
#
# Finding (ii) asks what a group *carries*: A the object, B and C the position. If a group hands over a gain because it does its job
# better, then within its own version it should carry its content better too. Scores are shares of {glue:text}`n_pairs_carried` pairs of
# prompts that follow the source's object or position when the group is patched from it.

# %%
holds = {v: carried(models[v], circuit, n_scenes=n_desiderata, seed=seed) for v in (base, *tuned)}

# %% tags=["hide-input"]
glue("n_pairs_carried", n_desiderata * 7)
content = {"A": "object", "B": "position", "C": "position"}
rows, stronger = [], {}
for v in tuned:
    for letter, what in ((x, w) for x, w in content.items() if x in holds[v].patches):
        change = difference(holds[v].hits(letter, what), holds[base].hits(letter, what), clusters=holds[base].scenes)
        stronger[letter, v] = change
        rows.append([f"{v}: {letter}, {what}", f"{holds[base].score(letter, what):.2f}", f"{holds[v].score(letter, what):.2f}", f"{change:+.2f}",
                     direction(change), direction(into_base[v].of(letter).gain(letter))])
table(rows, ["version: group, content", f"score in {base}", "score in the version", "change", "it carries", "handed over, base is"],
      caption="What the groups of base's circuit carry in each version, beside what they bring to base.")
same = sum(row[-1] == row[-2] for row in rows)
glue("match_sentence", f"The two agree in {same} of {len(rows)} rows.")

# %% [markdown]
# {glue:text}`match_sentence`
#
# ## Raw and base: was the mechanism there, unused?
#
# {glue:text}`raw_name` does not do the task; {glue:text}`base_name` was primed on it for a few steps. If raw had the machinery and only
# failed to start it, then *messages* of base should set it going: with base's queries (q) alone, raw's own value fetchers, reading raw's
# own keys and values, would find the object. Base's A as a whole would not show that: it names the object itself.

# %%
glue("raw_name", models[below].name)
both_ways = {f"{base} into {below}": exchange(models[base], models[below], circuit, scenes=asked, n_far=n_far, n_random=n_random, inputs=True, seed=seed),
             f"{below} into {base}": exchange(models[below], models[base], circuit, scenes=asked, n_far=n_far, n_random=n_random, seed=seed)}

# %% mystnb={"figure": {"name": "fig-raw-base", "caption": "Base's groups in raw, and raw's in base. Marks and lines as above: dashed, the receiver alone; solid, the donor alone."}}
show(handed_over(both_ways), alt="; ".join(f"{name}: " + ", ".join(
    f"{label} {found.of(label).accuracy(label).value:.2f}" for label in found.all_labels() if len(label) == 1 or label == "full circuit") for name, found in both_ways.items()))

# %% tags=["hide-input"]
into_raw = both_ways[f"{base} into {below}"]
raw_gains = {label: into_raw.of(label).gain(label) for label in into_raw.all_labels() if not label.startswith(("random", "all others"))}
table([[label, f"{into_raw.of(label).accuracy(label):.2f}", f"{gain:+.2f}", f"{gain.p_value:.1g}", f"{into_raw.of(label).log_prob_gain(label):+.2f}"] for label, gain in raw_gains.items()],
      ["patched", f"accuracy of {below}", "gain", "p", "gain in log probability (nats)"], caption=f"What {base}'s groups, and the q, k and v of A and B, bring to {below}.")
queries = raw_gains.get("q of A")
woken = queries is not None and direction(queries) == "higher"
glue("raw_sentence", "not tested, for the circuit has no value fetchers" if queries is None else f"{queries:+.2f}: " + (
    "raw's fetchers can already fetch, once told where to look. Part of the mechanism was there, unused" if woken else
    "no clear gain, so nothing shows that raw's fetchers could fetch before the priming"))

# %% [markdown]
# With base's queries for A alone, raw gains {glue:text}`raw_sentence`.
#
# ## Where in the weights
#
# An adapter changes the q, k, v and o matrices of every head. How much, relative to the weight?

# %% tags=["hide-input"]
norms = {v: update_norms(models[v], onto=models[base]) for v in tuned}
inside = {n: tuple(zip(*[(h.layer, h.head) for h in heads], strict=True)) for n, heads in circuit.groups.items() if heads}
rows = [[f"{v}: W_{m.upper()}", float(norms[v].relative[i].mean()), *[float(norms[v].relative[i][inside[n]].mean()) if n in inside else None for n in GROUPS]]
        for v in tuned for i, m in enumerate("qkvo")]
table(rows, ["update", "all heads", *[g.letter for g in GROUPS.values()]], digits=3, caption="Mean relative size of the update (Frobenius norm over that of the weight), over all heads and over each group's.")

# %% mystnb={"figure": {"name": "fig-updates", "caption": "Relative size of the update in every head and matrix. Heads that share a kv-head share its k and v."}}
update_maps(norms[focus])

# %% [markdown]
# Size is not effect. So we build versions of base in which only *some* heads got their update, merged at every token, and score them:
# does the gain follow the circuit?

# %%
few = asked[:n_graft]
grafts = {f"{focus} onto {base}": graft_scores(models[base], models[focus], circuit, scenes=few, seed=seed),
          f"{base} onto {below}": graft_scores(models[below], models[base], circuit, scenes=few, seed=seed)}

# %% mystnb={"figure": {"name": "fig-grafts", "caption": "Gain in accuracy when only some heads, or one matrix of all heads, get the update. In brackets: number of heads. Open grey circles: random heads, as many as the circuit has."}}
show(graft_gains(grafts), alt="; ".join(f"{name}: " + ", ".join(f"{part} {found.gain(part).value:+.2f}" for part in found.scores if part != "none") for name, found in grafts.items()))

# %% [markdown]
# *Caveat.* Weights act at every token, patches at one. A head of the circuit may owe its better input to an update elsewhere, and then
# the gain shows in its activations and not in its weights.
#
# ## What the paper claims, what we find, verdict
#
# The claims are about versions that are better than base on these prompts: {glue:text}`better_list`.

# %% tags=["hide-input"]
glue("better_list", ", ".join(better) or "none")
gains = {letter: {v: into_base[v].of(letter).gain(letter) for v in better if letter in into_base[v].all_labels()} for letter in "ABCD"}


def told(estimates: dict) -> str | None:
    return ", ".join(f"{e:+.2f} ({v})" for v, e in estimates.items()) or None


def published_gain(*parts: str) -> str:
    return "; ".join(f"{GROUPS[p].letter} " * (len(parts) > 1) + ", ".join(f"{cells[p].accuracy - alone['llama']:+.2f} ({donor.capitalize()})" for donor, cells in paper.values.items())
                     for p in parts)


figure_3 = published.activation_patching().values["llama"]
sharper = ", ".join(f"{(figure_3[m]['value_fetcher']['object'].mean - figure_3['llama']['value_fetcher']['object'].mean) / 100:+.2f} ({m.capitalize()})" for m in paper.values)
verdict_a = overall([verdict(g, expected=1) for g in gains["A"].values()])
verdict_b = overall([verdict(g, expected=1) for g in gains["B"].values()])
no_gain = {v: g for letter in "CD" for v, g in ((f"{letter} of {v}", g) for v, g in gains[letter].items())}
verdict_cd = "not run" if not no_gain else "replicates" if not any(direction(g) == "higher" for g in no_gain.values()) else "does not replicate"
closed = {v: into_base[v].far.gain("full circuit").value / d.value for v in better if into_base[v].far is not None
          for d in [difference(into_base[v].far.donor_hits, into_base[v].far.own_hits, clusters=into_base[v].far.scenes)] if d.value > 0}
verdict_full = "not run" if not closed else "replicates" if min(closed.values()) >= 0.8 else "partly" if max(closed.values()) >= 0.5 else "does not replicate"
carries = {v: stronger["A", v] for v in better if ("A", v) in stronger}
verdict_carries = overall([verdict(g, expected=1) for g in carries.values()])
losses = {v: from_base[v].of("A").gain("A") for v in better if "A" in from_base[v].all_labels()}
verdict_loss = overall([verdict(g, expected=-1) for g in losses.values()])
tests = {v: difference(found.near.hits[found.near.index("A")], found.near.hits[[found.near.index(d) for d in found.random("A")]].mean(0), clusters=found.near.scenes)
         for v, found in into_base.items() if v in better and found.random("A")}
verdict_specific = overall([verdict(g, expected=1) for g in tests.values()])
graft = grafts[f"{focus} onto {base}"]
specific = difference(graft.scores["circuit"].hits.ravel(), sum(graft.scores[f"random {i}"].hits.ravel().astype(float) for i in (1, 2)) / 2, clusters=graft.scores["none"].clusters)
verdict_weights = overall([verdict(specific, expected=1)])
verdict_raw = overall([verdict(queries, expected=1)] if queries else [])
for name, value in {"improved_values": verdict_a, "improved_positions": verdict_b, "improved_not_cd": verdict_cd, "improved_full": verdict_full, "improved_function": verdict_carries, "improved_reverse": verdict_loss,
                    "improved_specific": verdict_specific, "improved_weights": verdict_weights, "improved_raw": verdict_raw}.items():
    glue(f"verdict_{name}", value)
each = "the interval of the gain lies above 0 in every better version; partly: in some"
table([
    ["the donor's value fetchers (A) make base better", published_gain("value_fetcher"), told(gains["A"]), verdict_a, each],
    ["the donor's position transmitters (B) make base better", published_gain("position_transmitter"), told(gains["B"]), verdict_b, each],
    ["C and D alone bring no gain", published_gain("position_detector", "structure_reader"), told(no_gain), verdict_cd, "no interval lies above 0"],
    ["the full circuit closes the gap to the donor", "{:.0%} (Goat), {:.0%} (FLoat)".format(*((cells["full_circuit"].accuracy - alone["llama"]) / (alone[d] - alone["llama"]) for d, cells in paper.values.items())), ", ".join(f"{x:.0%} ({v})" for v, x in closed.items()) or None, verdict_full, "80 % or more of the gap in every better version; partly: 50 % in one"],
    ["A carries the object better in better versions", sharper, told(carries), verdict_carries, "change of A's object score above 0 in every better version; partly: in some"],
    ["ours: A's gain is not what any heads at the last token bring", "-", told(tests), verdict_specific, "gain of A less that of random heads above 0 in every better version"],
    ["ours: base's A takes the gain away from the fine-tuned version", "-", told(losses), verdict_loss, "the interval of the change lies below 0 in every better version; partly: in some"],
    ["ours: the update in the circuit's heads brings more than in random heads", "-", f"{specific:+.2f} ({focus})", verdict_weights, "paired difference above 0"],
    [f"ours: {below}'s value fetchers can fetch, once told where to look", "-", told({"q of A": queries} if queries else {}), verdict_raw, f"q of A from {base} raises {below}'s accuracy: interval above 0"],
], ["claim", "the paper", "here", "verdict", "rule"], caption="Finding (iii): what improved?")
