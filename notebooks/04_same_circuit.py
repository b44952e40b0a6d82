# %% [markdown]
# # The same circuit in every version
#
# **Does fine-tuning build a new circuit, or use the one that was there?** We run the circuit found
# in {glue:text}`base_name` alone, every other head mean-ablated, in every version of the family.
# Its faithfulness is {glue:text}`faithfulness_list`. Of its {glue:text}`circuit_size` heads, the
# circuits searched in the versions themselves contain {glue:text}`shared_list`.
#
# This is the paper's finding (i) {cite:p}`prakash2024finetuning`, with four additions: every
# circuit pruned at the same threshold, random circuits drawn without replacement, completeness with
# a greedy search, and intervals throughout. *Objectives:* tell faithfulness from accuracy; judge an
# overlap against chance; read what a circuit leaves out. *Time:* 20 minutes. *Before it:*
# {doc}`03_circuit`.

# %% tags=["parameters"]
family: str = "smollm2"  # a family in models/
base: str = ""  # the version whose circuit is run in all; empty: the reference of the family
own: str = ""  # versions whose own circuit is searched, by spaces; empty: the focus of the family
n_pairs: int = 70  # clean and corrupt pairs for path patching in base [7, 700]
n_pairs_own: int = 28  # the same in the other versions [7, 700]
n_means: int = 112  # prompts behind the ablating means [14, 2000]
n_evaluation: int = 504  # prompts on which circuits are scored [14, 5000]
n_complete: int = 105  # prompts for completeness, at most n_evaluation [14, 5000]
structure_role: str = ""  # empty: as in its file {, after_prev_query_label, prev_query_label}
n_random: int = 6  # random circuits per version [1, 1000]
seed: int = 0  # of all prompts [0, 1000000]

# %% tags=["hide-input"]
from dataclasses import replace

from entrack.circuit.completeness import measure_completeness
from entrack.circuit.discovery import DiscoveryConfig
from entrack.circuit.faithfulness import grow, measure_faithfulness
from entrack.circuit.overlap import overlaps, rank_correlation
from entrack.circuit.search import CircuitSettings, ablation_means, find_circuit
from entrack.display.cells import glue, judge, listed, show
from entrack.figures import same_circuit as figures
from entrack.paper.claims import claim
from entrack.sites import GROUPS

# %% tags=["hide-input"]
from entrack.stats.metrics import difference
from entrack.tables import same_circuit as tables
from entrack.task.draws import examples
from entrack.task.prompts import encode
from entrack.versions import families
from entrack.versions.loading import load

# %%
base = base or families.reference(family)
searched = [v for v in (own or families.focus(family)).split() if v != base]
settings = CircuitSettings(
    n_pairs=n_pairs,
    n_means=n_means,
    seed=seed,
    discovery=DiscoveryConfig(structure_role=structure_role or families.structure_role(family)),
)
settings_own = replace(settings, n_pairs=n_pairs_own)

# %% [markdown]
# Versions that {glue:text}`base_short` stands on are left out: they do not do the task, and there
# is nothing to be faithful to.

# %%
below = families.lineage(family, base)[:-1]
compared = [version for version in families.versions(family) if version not in below]
models = {v: load(f"{family}/{v}") for v in dict.fromkeys([*compared, *searched])}
found = {base: find_circuit(models[base], settings)}
found |= {version: find_circuit(models[version], settings_own) for version in searched}
circuit = found[base].circuit
held_out = encode(models[base].tokenizer, examples(n_evaluation, split="evaluation", seed=seed))

# %% tags=["hide-input"]
glue(
    base_name=models[base].name,
    base_short=base,
    circuit_size=circuit.size,
    n_evaluation_used=len(held_out),
)

# %% [markdown]
# ## Faithfulness
#
# The circuit of {glue:text}`base_short` runs alone in each version, with that version's own means.
# Faithfulness is the accuracy of the circuit over the accuracy of the whole version, on the same
# {glue:text}`n_evaluation_used` prompts, not rounded before the division. In the second table, the
# p-value is that of no difference between circuit and version (exact, paired).
#
# Two numbers must not be confused. Faithfulness falls where the whole version improves more than
# the circuit does; the circuit's own accuracy may rise all the same. The last column tells how it
# changes beside {glue:text}`base_short`, prompt by prompt.

# %%
circuits = [search.circuit for search in found.values()]
scores = {
    name: measure_faithfulness(
        model, held_out, circuits=circuits, means=ablation_means(model, settings), n_random=n_random
    )
    for name, model in models.items()
}

# %% tags=["hide-input"]
show(tables.faithfulness(scores))
show(tables.gaps(scores, base=base))

# %% tags=["hide-input"]
shares = {name: s.faithfulness() for name, s in scores.items() if s.full.any()}
told = listed((f"{e.value:.2f} in {name}" for name, e in shares.items()), none="undefined")
glue(faithfulness_list=told)
show(tables.published_table1())

# %% [markdown]
# Chance is one in seven; a model or circuit that says something else than an object of the scene
# scores below it.
#
# ## Every circuit in every version
#
# Fine-tuned versions may use heads that the circuit of {glue:text}`base_short` lacks, so we search
# their own. Where a version's own circuit is clearly less accurate there than that of
# {glue:text}`base_short` (the second table), the search did not find what makes the version better,
# and an overlap says little.

# %%
# figure: fig-cross
# caption: Accuracy of every circuit alone (rows) in every version (columns), same prompts; in
#   brackets the number of heads. Last row: the whole version.
show(figures.cross_grid(scores, owners=list(found)))

# %% tags=["hide-input"]
show(tables.own_circuits(scores, owners=list(found)))

# %% tags=["hide-input"]
show(tables.published_cross())

# %% [markdown]
# ## Overlap
#
# Two circuits share some heads by chance. The hypergeometric p-value says how likely at least this
# overlap would be if the second group were drawn at random; a group with no head kept cannot
# overlap. The rank correlation compares the path-patching scores of all heads, kept or not. All
# circuits are pruned at the same threshold.

# %%
n_heads = models[base].n_layers * models[base].n_heads
counts = {v: overlaps(circuit, found[v].circuit, n_heads=n_heads) for v in searched}
maps = {v: (found[base].discovery, found[v].discovery) for v in searched}
correlations = {
    v: {group: rank_correlation(*maps[v], group=group) for group in GROUPS} for v in searched
}

# %% tags=["hide-input"]
show(tables.overlap(counts, correlations, base=base))

# %% tags=["hide-input"]
sizes = {version: found[version].circuit.size for version in searched}
shared = {version: sum(o.shared for o in counts[version]) for version in searched}
told = (f"{shared[version]} ({version}, {sizes[version]} heads)" for version in searched)
glue(shared_list=listed(told, none="none, for none was searched"))
show(tables.published_overlap())

# %% [markdown]
# The released Goat and FLoat circuits match a threshold of 0 %, Llama's one of 1 %.
#
# ## Minimality
#
# Is each head needed? For each head, the paper takes away a set K of its rivals, those that most
# make up for its absence, and asks what the head then adds (*minimality*). Heads that add less than
# 1 % go.

# %%
# figure: fig-minimality
# caption: Minimality score of every candidate head: relative gain in accuracy from the head when
#   its rivals K are gone. Bars above 1 are cut. Grey: dropped. Dotted: the threshold of 1 %.
show(figures.minimality_bars(found[base].minimality))

# %% [markdown]
# A plain alternative: leave out this head alone, and keep it if the answer's log probability
# falls, the 95 % interval excluding zero.

# %%
show(tables.minimality(found[base].minimality))
n_judged = len(found[base].minimality.whole)
glue(n_minimality=n_judged, resolution=1 / n_judged)

# %% [markdown]
# With {glue:text}`n_minimality` prompts one prompt is worth {glue:text}`resolution:.3f` of
# accuracy, so that verdicts near the line of 1 % hang on single prompts. *Clear* are the heads
# whose cost, with their rivals gone, has an interval above zero; what the others do together,
# {doc}`chapter 3 <03_circuit>` shows. The plain alternative says how sure it is, but it does not
# see a head whose rivals stand in for it.
#
# ## Completeness
#
# A circuit that holds all that matters is *complete*: taking heads K away hurts it as much as the
# model. The *gap* is the accuracy of the circuit without K minus that of the model without K. Below
# the diagonal, the model has something to fall back on that the circuit lacks.

# %%
complete = measure_completeness(
    models[base],
    held_out.subset(range(min(n_complete, len(held_out)))),
    circuit=circuit,
    means=ablation_means(models[base], settings),
    n_random=4,
    n_greedy=3,
    seed=seed,
)

# %%
# figure: fig-completeness
# caption: Accuracy of the circuit without K against that of the model without K, for K a whole
#   group (letters), a random half of the circuit, or grown greedily to open the gap. Dashed: a
#   complete circuit.
show(figures.completeness_scatter(complete))

# %% tags=["hide-input"]
widest_group, widest_gap = complete.widest("group")
glue(
    widest_group=widest_group,
    widest_gap=f"{widest_gap:+.2f}",
    greedy_gap=f"{complete.widest('greedy')[1]:+.2f}",
    random_gap=complete.mean_gap("random"),
    n_complete_used=min(n_complete, len(held_out)),
)
show(tables.completeness(complete))

# %% [markdown]
# Without one of its groups, the widest gap is {glue:text}`widest_gap` ({glue:text}`widest_group`);
# over random halves the absolute gap averages {glue:text}`random_gap:.2f`. The greedy search, which
# the released code does not have, opens one of {glue:text}`greedy_gap`; it chose its heads on the
# {glue:text}`n_complete_used` prompts that it is scored on, so it flatters the gap.
#
# ## Where the rest is
#
# A circuit can fall short in its groups or in its tokens. Here one group at a time gets *all* heads
# at its token, and the others stay as they are. A row that rises names a group that was left too
# small. With all heads for all groups, what is still missing lies at other tokens.

# %%
grown = grow(circuit, models[base])
rest = measure_faithfulness(
    models[base],
    held_out,
    circuits=list(grown.values()),
    means=ablation_means(models[base], settings),
)

# %% tags=["hide-input"]
glue(
    rest_all=f"{difference(rest.hits[-1], rest.hits[0]):+.2f}",
    rest_whole=f"{difference(rest.full, rest.hits[0]):+.2f}",
)
show(tables.grown(rest, list(grown)))

# %% [markdown]
# A group was left too small where its interval in the last column lies above 0. More heads need not
# mean more accuracy: all heads for all groups bring {glue:text}`rest_all`, and the whole model
# {glue:text}`rest_whole`.
#
# ## What the paper claims, what we find, verdict
#
# A gap is judged as the widest of four, one per group. The heads of a search that failed say
# nothing about what a version uses.

# %%
own_shares = [scores[v].faithfulness(list(found).index(v)).value for v in searched]
excess = {f"{GROUPS[o.group].letter} in {v}": o.excess for v in searched for o in counts[v]}
in_tuned = {v: (scores[v].over_random(), share) for v, share in shares.items() if v != base}

# %% tags=["hide-input"]
found_own = all(share >= 0.5 for share in own_shares)
judge(
    claim("same_circuit", in_tuned),
    claim("overlap", excess, given=found_own, tests=len(excess)),
    claim("incomplete", widest_gap, tests=len(GROUPS), group=widest_group),
    caption="Finding (i), second part: is it the same circuit?",
)
