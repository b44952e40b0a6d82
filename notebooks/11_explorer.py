# %% [markdown]
# # The circuit explorer
#
# **Replace heads yourself, and see what the model says.** The chapters before this one report what
# happens on average, over many prompts. Here you see one prompt at a time: which box the model is
# asked for, where each group of heads looks, and how likely every answer is before and after you
# replace some heads by what they give elsewhere.
#
# The groups are those of the circuit of {glue:text}`base_name` ({doc}`03_circuit`). They hand a
# message on: structure readers (D) look back at the box that is asked for, position detectors (C)
# pass on where it stands, position transmitters (B) tell the value fetchers (A) where to look, and
# these fetch the object. *Objectives:* predict what a patch does to one prompt, then check; see how
# much single prompts differ. *Time:* 20 minutes. *Before it:* {doc}`06_what_the_heads_carry` and
# {doc}`08_what_improved`.

# %% tags=["parameters"]
family: str = "smollm2"  # a family in models/
base: str = ""  # the version whose circuit is used, in all versions; empty: the reference
n_prompts: int = 21  # prompts to choose from [1, 49]
n_scenes: int = 8  # scenes of seven boxes from which they are chosen [1, 100]
n_pairs: int = 70  # clean and corrupt pairs behind the circuit [7, 700]
# Where structure readers act; empty: as the family's file says.
structure_role: str = ""  # {, after_prev_query_label, prev_query_label}
seed: int = 0  # of all prompts [0, 1000000]

# %% tags=["hide-input"]
from entrack.circuit.discovery import DiscoveryConfig
from entrack.circuit.search import CircuitSettings, ablation_means, find_circuit
from entrack.cross_model.cells import combinations_of
from entrack.cross_model.explorer import both_ways, explore
from entrack.display.cells import glue, listed
from entrack.display.explorer import CircuitExplorer
from entrack.sites import GROUPS
from entrack.task.counterfactual_pairs import interchanges
from entrack.task.counterfactual_prompts import encode_counterfactuals
from entrack.versions import families
from entrack.versions.loading import load

# %% tags=["hide-input"]
base = base or families.reference(family)
structure_role = structure_role or families.structure_role(family)
tuned = families.tuned_from(family, base)
models = {v: load(f"{family}/{v}") for v in (base, *tuned)}
discovery = DiscoveryConfig(structure_role=structure_role)
settings = CircuitSettings(n_pairs=n_pairs, seed=seed, discovery=discovery)
found = find_circuit(models[base], settings)
circuit = found.circuit

# %% [markdown]
# ## What can be chosen
#
# There are {glue:text}`n_prompts` prompts, of which {glue:text}`base_name` answers
# {glue:text}`n_right` correctly. They are **no fair sample**: every box is asked for equally often
# or nearly so, and at each position prompts that {glue:text}`base_name` gets right alternate with
# prompts that it gets wrong, where there are both.
#
# You can replace any set of the groups, or one head alone: the one with the strongest effect in
# its group. They are replaced at the token where the group acts, and everything after is computed
# anew. What they give instead comes from one of three sources:
#
# - **another prompt**, read by the same version. It has the same labels in another order and other
#   objects. If a group carries the position, the model should name its own object at the position
#   that the other prompt asks for; if it carries the object, the other prompt's answer, which is
#   not in this prompt at all;
# - **another version** that reads the same prompt ({glue:text}`tuned_list`, or for these
#   {glue:text}`base_version`);
# - **the mean** over many prompts, which holds nothing of this one.

# %% tags=["hide-input"]
pool = interchanges(n_scenes, split="evaluation", seed=seed)
pairs, right = both_ways(
    models[base], encode_counterfactuals(models[base].tokenizer, pool), n=n_prompts
)
strongest = {name: found.kept(name)[0] for name in GROUPS if circuit.groups[name]}
cells = combinations_of(circuit, strongest)

# %% tags=["hide-input"]
glue(
    base_name=models[base].name,
    base_version=base,
    tuned_list=listed(tuned),
    n_prompts=len(pairs),
    n_right=int(right.sum()),
)

# %%
explored = {
    v: explore(
        models[v],
        pairs,
        circuit=circuit,
        cells=cells,
        means=ablation_means(models[v], settings),
        donors=[models[w] for w in (tuned if v == base else [base])],
    )
    for v in models
}
glue(n_answers=sum(each.top.size for each in explored.values()))

# %% [markdown]
# ## The explorer
#
# All {glue:text}`n_answers` combinations were computed above and are stored in this page; nothing
# is computed while you choose. Say what you expect before you look. The buttons suggest where to
# begin; each takes the prompt on which it works best, so try the same on other prompts too.

# %% tags=["hide-input"]
CircuitExplorer(explored, pairs, circuit=circuit, tokenizer=models[base].tokenizer)

# %% [markdown]
# Some questions to take along:
#
# 1. Replace B from another prompt. Then replace C instead, then D. How early in the chain can you
#    still make the model look elsewhere?
# 2. Replace A from another prompt, then A and B. Why does B matter so little now?
# 3. Take a prompt that {glue:text}`base_name` gets wrong. Which single group of a better version
#    repairs it? Is it the same one on the next prompt?
# 4. Set one group to its mean. Does the answer become another object of the prompt, or no object at
#    all? What does that say about the group?
#
# ## What it cannot show
#
# One prompt proves nothing about the model: on the next one the same switch may do the opposite.
# The averages with their intervals are in {doc}`06_what_the_heads_carry` (another prompt),
# {doc}`08_what_improved` (another version) and {doc}`03_circuit` (the mean). A change of the
# answer shows that the heads *can* carry something, not that they alone do. The shading shows where
# a group looks in the unchanged run; looking is no proof of an effect. And heads of the same group
# are averaged: a group whose heads look at different tokens seems to look everywhere a little.
