# %% [markdown]
# # As published: what the slips of the code change
#
# Released research code is a gift: without it, nobody could have found what this chapter tells. Reading the paper's code
# {cite:p}`prakash2024finetuning` line by line, we met some slips. **Do they matter?** Each is made here on purpose, alone, in
# our own code and on our own model. {glue:text}`answer_sentence`
#
# None of this is a reproach: any code of this size holds slips, ours too. They matter to whoever compares a new number with a
# published one. *Objectives:* tell a slip that moves a number from one that does not. *Time:* 15 minutes. *Before it:* {doc}`08_what_improved`.

# %% tags=["parameters"]
family: str = "smollm2"  # a family in models/
base: str = "base"  # the version on which the slips are made
adapter: str = "code"  # the version whose o_proj update is dropped
n_pairs: int = 21  # pairs behind base's circuit [7, 700]
n_noisy: int = 7  # of these, pairs for stage D as released [1, 700]
share: float = 0.8  # share of each group's effect that the candidates make up [0.1, 1]
n_prune: int = 98  # prompts for minimality [14, 2000]
n_evaluation: int = 147  # prompts on which circuits are scored [14, 5000]
n_random: int = 20  # random circuits, with and without replacement [2, 500]
n_desiderata: int = 49  # pairs of prompts per desideratum [7, 1000]
structure_role: str = "after_prev_query_label"  # where structure readers act {after_prev_query_label, prev_query_label}
seed: int = 0  # of all prompts [0, 1000000]

# %% tags=["hide-input"]
from entrack import published, slips
from entrack.boxes import examples, pairs
from entrack.circuit import DiscoveryConfig
from entrack.dcm import DCMConfig, learn_masks
from entrack.faithfulness import measure_faithfulness
from entrack.figures.display import glue, show, table
from entrack.figures.improved import slip_bars
from entrack.finding import CircuitSettings, ablation_means, find_circuit
from entrack.group_patching import Prepared
from entrack.interchange import interchanges
from entrack.models import load
from entrack.prompts import encode, encode_counterfactuals, encode_pairs

# %%
model, tuned = load(f"{family}/{base}"), load(f"{family}/{adapter}")
settings = CircuitSettings(n_pairs=n_pairs, n_prune=n_prune, seed=seed, discovery=DiscoveryConfig(structure_role=structure_role))
found, means = find_circuit(model, settings), ablation_means(model, settings)
held_out = encode(model.tokenizer, examples(n_evaluation, split="evaluation", seed=seed))
pruned_on = encode(model.tokenizer, examples(settings.n_choose, split="pruning", seed=seed)).subset(range(n_prune))
candidate = found.discovery.candidate(share)
glue("n_candidates", len(candidate.groups["value_fetcher"]))
glue("share", share)
made = {}

# %% [markdown]
# ## Pruning: three slips in one table of knock-outs
#
# The released Goat and FLoat circuits equal their candidates pruned at **0 %**, the Llama circuit at 1 %. Accuracies are **rounded** to
# two decimals before any ratio, which is the size of the threshold. And two heads of one number in different layers are never
# removed **together**: `is not` compares two strings that were built apart, so it is always true. All three are read here from the
# same knock-outs of {glue:text}`n_candidates` candidate value fetchers, those that make up {glue:text}`share:.0%` of the group's effect.

# %%
made["pruning"] = slips.pruning_slips(slips.pruning_scores(model, pruned_on, circuit=candidate, group="value_fetcher", means=means))

# %% [markdown]
# ## Evaluation: rounding, samples used twice, random circuits
#
# Faithfulness is a ratio of two rounded accuracies; all sets of prompts begin at the first line of the file, so a circuit is scored on
# prompts that it was pruned on; and random circuits are drawn **with replacement**, which makes them smaller than the circuit that
# they stand beside.

# %%
unseen = measure_faithfulness(model, held_out, circuits=[found.circuit, found.curve.circuit], means=means)
seen = measure_faithfulness(model, pruned_on, circuits=[found.circuit], means=means)
made["evaluation"] = [slips.rounded_faithfulness(unseen), slips.sample_overlap(unseen, seen),
                      *slips.random_with_replacement(model, pruned_on, circuit=candidate, means=means, n_draws=n_random, seed=seed)]

# %% [markdown]
# ## Discovery: where stage D reads the corrupt prompt
#
# The corrupt prompt's question names no box, so there is no earlier label to read from. The released code takes that of a **random**
# box, drawn anew for every head and batch: noise on top of the effect.

# %%
clean, corrupt = (prompts.subset(range(n_noisy)) for prompts in encode_pairs(model.tokenizer, pairs(n_pairs, split="discovery", seed=seed)))
made["discovery"] = [slips.random_corrupt_position(model, clean, corrupt, found=found, seed=seed)]

# %% [markdown]
# ## Desiderata: five slips in drawing and scoring
#
# The *label* is scored by the word **without its space**, a token that no model says here. The base's
# **position** always comes out as 0, so sources never ask for the first box and one pair in seven asks for the same position on both sides:
# such a pair is right when nothing is patched. Where sources are of another length, "last" is **behind their end**. For group D, the source
# is read where the *base* has its label. And where masks tie in validation, DCM takes the one with **more** heads. The groups are the same candidates, before any pruning.

# %%
n_scenes = max(1, n_desiderata // 7)
train, validation = (Prepared(model, encode_counterfactuals(model.tokenizer, interchanges(n_scenes, split=s, seed=seed))) for s in ("discovery", "validation"))
masks = learn_masks(model, train, validation=validation, circuit=candidate, group="position_transmitter", target="position",
                    config=DCMConfig(penalties=(0.01,), steps=16, every=2, seeds=(0,)))
made["desiderata"] = [slips.label_without_space(model, layer=model.n_layers // 3, n_scenes=n_scenes, seed=seed),
                      *slips.base_position_zero(model, circuit=candidate, n=n_desiderata, seed=seed),
                      slips.padded_position(model, circuit=candidate, n=n_desiderata, seed=seed),
                      slips.structure_reader_position(model, circuit=candidate, n_scenes=n_scenes, seed=seed),
                      slips.tied_masks(masks)]

# %% [markdown]
# ## Adapters: an update that hooked runs do not see
#
# Goat is a LoRA on q, k, v and o. Hooked runs multiply by the *base* weight of o_proj, so its update is **dropped** there, while
# Goat's own accuracy is measured without hooks. We drop it from {glue:text}`adapter`.

# %%
glue("adapter", adapter)
made["adapters"] = [slips.dropped_o_proj(model, tuned, n_scenes=n_scenes, seed=seed)]

# %% [markdown]
# ## All of them
#
# {glue:text}`answer_sentence`

# %% mystnb={"figure": {"name": "fig-slips", "caption": "Every slip off (circle) and on (diamond), with 95 % intervals; marks without one are exact counts. All quantities are shares."}}
every = [slip for group in made.values() for slip in group]
show(slip_bars([(slip.title, slip.off, slip.on) for slip in every]), alt="; ".join(f"{slip.title}: {slip.off.value:.2f} becomes {slip.on.value:.2f}" for slip in every) + ".")

# %% tags=["hide-input"]
known = {slip["name"]: slip for slip in published.slips().values}
table([[slip.title, known[slip.name]["where"], f"{slip.off:.3f}", f"{slip.on:.3f}", f"{slip.change:+.3f}", "yes" if slip.clear else "no"] for slip in every],
      ["slip: what is measured", "in the released code", "off", "on", "change", "intervals apart"], caption=f"What each slip changes on {model.name}.")
clear = [slip for slip in every if slip.clear and slip.off.low < slip.off.high]
counted = [slip for slip in every if slip.clear and slip.off.low == slip.off.high and slip.change]
glue("answer_sentence", f"Of {len(every)} measured effects, {len(clear)} lie beyond chance" + (f" (the largest: {max(clear, key=lambda s: abs(s.change)).title}, {max(clear, key=lambda s: abs(s.change)).change:+.2f})" if clear else "")
     + f", and {len(counted)} more change an exact count.")

# %% tags=["hide-input"]
tried = {slip.name for slip in every}
table([[slip["name"].replace("_", " "), slip["effect"], "measured above" if slip["name"] in tried else None] for slip in known.values()],
      ["slip", "in the paper's numbers", "here"], caption="All slips that we know of, what they did to the released numbers as far as that can be told, and whether they were made here.")

# %% [markdown]
# ## What the paper claims, what we find, verdict
#
# A claim about a slip *replicates* when the same slip has the same effect here.

# %% tags=["hide-input"]
by_title = {slip.title: slip for slip in every}


def judge(slip: slips.Slip, sign: int) -> str:
    """Whether the slip moves its number in the direction of `sign`, by more than the intervals allow for."""
    if slip.off.low == slip.off.high and slip.on.low == slip.on.high and not slip.change:
        return "does not replicate"
    return "undecided" if not slip.clear else "replicates" if slip.change * sign > 0 else "does not replicate"


sevens = published.minimality().values
theirs_position = published.dcm().values["llama"]["value_fetcher"]["position"].accuracy
altered = published.variations().values["altered_box_obj_order"]
sizes = ", ".join(f"{sum(p.kept_at_0_percent for p in sevens[m].values())} against {sum(p.kept_at_1_percent for p in sevens[m].values())} ({m.capitalize()})" for m in ("goat", "float"))
void = [cell["label"].mean for row in published.activation_patching().values.values() for groups in row.values() for cell in groups.values()]
rows = []
for slug, claim, theirs, title, sign, rule in (
    ("slip_label", "scored without its space, the label desideratum is void", f"at most {max(void):.2f} % in all {len(void)} cells", "label scored without its space: score", -1, "lower with the slip, intervals apart"),
    ("slip_position", "drawn as released, position has a floor of about a seventh", f"{theirs_position:.3f} with no head patched", "position drawn as released: score with no patch", 1, "higher with the slip, intervals apart"),
    ("slip_padded", "read behind its end, an altered source scores lower", f"{altered.patched.mean / 100:.2f} against {altered.dcm_accuracy:.2f}", "source read behind its end: score of B", -1, "lower with the slip, intervals apart"),
    ("slip_threshold", "pruning at 0 % keeps more heads than at 1 %", sizes, "pruned at 0 % instead of 1 %: heads kept", 1, "higher with the slip; an exact count"),
    ("slip_o_proj", "without its o_proj update an adapter version does the task worse", "not separated", f"o_proj update of {adapter} dropped: accuracy", -1, "lower with the slip, intervals apart"),
):
    slip = by_title[title]
    glue(f"verdict_{slug}", judge(slip, sign))
    rows.append([f"ours: {claim}", theirs, f"{slip.off:.2f} becomes {slip.on:.2f}", judge(slip, sign), rule])
table(rows, ["claim", "the paper", "here", "verdict", "rule"], caption="What we say of the slips, tested on another model.")
