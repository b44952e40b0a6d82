"""The data, the recipes and the trainer behind `models/`."""

import ast
import dataclasses
import json
import re

import numpy as np
import pytest
import torch
from architectures import PROVED, tiny_decoder
from closeness import additions, assert_close, assert_printed
from safetensors.torch import load_file
from tiny_models import tiny_model
from tokenizers_for_tests import make_tokenizer

from entrack import cli
from entrack.errors import ConfigError, DataError
from entrack.finetune import train as trainer
from entrack.finetune.arithmetic_data import ArithmeticData, NamedArithmeticData
from entrack.finetune.boxes_data import BoxesData
from entrack.finetune.code_data import PYTHON, SHELL, TEMPLATES, CodeData
from entrack.finetune.data import MixedData, items
from entrack.finetune.instructions_data import TASKS, InstructionData
from entrack.finetune.item import WORDS
from entrack.finetune.measure import box_accuracy, change, summary
from entrack.finetune.recipes import RECIPES, TRIES, Recipe, recipe
from entrack.patching.accuracy import TaskScores
from entrack.store.digests import digest
from entrack.task.boxes import NOUNS
from entrack.task.draws import all_queries, scenes
from entrack.task.prompts import encode, opening
from entrack.versions.wheels import sha256_file

CONFIGS = (
    BoxesData(),
    CodeData(),
    ArithmeticData(),
    InstructionData(),
    InstructionData(chat=False),
    NamedArithmeticData(),
    MixedData((ArithmeticData(), CodeData()), (3.0, 1.0)),
)


def tiny_recipe(**changes) -> Recipe:
    settings = dict(
        name="tiny",
        on="raw",
        data=BoxesData((2, 3)),
        steps=4,
        horizon=8,
        warmup=2,
        batch=4,
        rank=2,
        alpha=4,
        lr=1e-2,
        dtype="float32",
        validate_every=2,
    )
    return Recipe(**(settings | changes))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: type(c).__name__)
class TestEveryGenerator:
    def test_is_a_function_of_its_seed(self, config):
        assert items(config, 50, seed=3) == items(config, 50, seed=3)
        assert items(config, 50, seed=3) != items(config, 50, seed=4)

    def test_gives_the_beginning_of_a_longer_list(self, config):
        assert items(config, 200, seed=3)[:37] == items(config, 37, seed=3)

    def test_leaves_something_to_answer(self, config):
        assert all(item.prompt and item.answer.strip() for item in items(config, 200, seed=0))


def without_boxes(config) -> bool:
    parts = config.parts if isinstance(config, MixedData) else (config,)
    return not any(isinstance(part, BoxesData) for part in parts)


EVERY = [(f, n) for f in RECIPES for n in RECIPES[f] | TRIES.get(f, {})]


@pytest.mark.parametrize(
    ("family", "name"), [(f, n) for f, n in EVERY if without_boxes(recipe(n, f).data)]
)
def test_no_trace_of_the_task_in_what_other_versions_learn_from(family, name):
    chosen = recipe(name, family)
    text = "\n".join(
        item.prompt + item.answer for item in items(chosen.data, 20_000, seed=chosen.seed)
    )
    assert not re.search(r"\bbox", text, re.IGNORECASE)
    assert not re.search(r"\b[A-Z]\b", text)
    nouns = "|".join(NOUNS)
    assert not re.search(rf"\b({nouns})s?\b", text, re.IGNORECASE)


def test_boxes_are_learnt_from_where_it_is_said_and_nowhere_else():
    assert {(f, n) for f, n in EVERY if not without_boxes(recipe(n, f).data)} == {
        ("smollm2", "base"),
        ("smollm2", "boxes"),
        ("smollm2", "math-mixed"),
        ("smollm2", "instruct-mixed"),
        ("smollm2-unprimed", "boxes"),
        ("gemma3", "base"),
        ("gemma3", "boxes"),
    }


def test_the_unprimed_base_and_what_is_tuned_from_it_learn_from_different_look_ups():
    base, code = (recipe(name, "smollm2-unprimed").data.templates for name in ("base", "code"))
    assert not set(base) & set(code) and {*base, *code} == set(TEMPLATES)
    assert {item.prompt for item in items(CodeData(SHELL), 2_000, seed=0)}.isdisjoint(
        item.prompt for item in items(CodeData(PYTHON), 2_000, seed=0)
    )
    assert all('"' not in item.prompt for item in items(CodeData(SHELL), 2_000, seed=0))


def test_the_control_is_code_but_for_what_it_stands_on():
    control, usual = recipe("code-from-raw", "smollm2-unprimed"), recipe("code")
    assert control == dataclasses.replace(usual, name="code-from-raw", on="raw")


@pytest.mark.parametrize("name", ["math", "instruct", "boxes"])
def test_lineages_differ_in_base_and_look_ups_alone(name):
    assert recipe(name, "smollm2-unprimed") == recipe(name, "smollm2")


def test_the_grep_above_would_find_the_task():
    text = items(BoxesData(), 1, seed=0)[0].prompt
    assert re.search(r"\bbox", text, re.IGNORECASE) and re.search(r"\b[A-Z]\b", text)


def test_words_are_not_those_of_the_task():
    assert len(set(WORDS)) == len(WORDS)
    assert not set(WORDS) & set(NOUNS)


@pytest.mark.slow
def test_words_and_answers_are_one_token():
    from entrack.versions.loading import load

    tokenizer = load("smollm2/raw").tokenizer
    for words in (list(WORDS), [f" {word}" for word in WORDS]):
        assert {len(ids) for ids in tokenizer(words)["input_ids"]} == {1}
    for config in CONFIGS:
        for item in items(config, 300, seed=0):
            apart = tokenizer(item.prompt)["input_ids"] + tokenizer(item.answer)["input_ids"]
            assert apart == tokenizer(item.prompt + item.answer)["input_ids"], item


def test_boxes_come_from_the_training_split_alone():
    prompts = {item.prompt for item in items(BoxesData((7, 7)), 300, seed=0)}
    others = {
        e.text
        for split in ("validation", "evaluation")
        for e in all_queries(scenes(300, split=split))
    }
    assert not prompts & others
    trained = {e.text for e in all_queries(scenes(300, split="training", seed=0))}
    assert prompts <= trained


def test_boxes_ask_for_every_position():
    texts = [item.prompt for item in items(BoxesData((7, 7)), 700, seed=0)]
    answers = [item.answer for item in items(BoxesData((7, 7)), 700, seed=0)]
    asked = [
        text.split(".")[0]
        .split(", ")
        .index(next(s for s in text.split(".")[0].split(", ") if answer.strip() in s.split()))
        for text, answer in zip(texts, answers, strict=True)
    ]
    assert min(asked.count(i) for i in range(7)) > 60


@pytest.mark.parametrize("operation", "+-*/")
def test_arithmetic_is_right(operation):
    for item in items(ArithmeticData(operations=(operation,)), 300, seed=0):
        left, right = map(int, re.search(rf"(\d+) \{operation} (\d+)", item.prompt).groups())
        found = item.answer.split(" = ")[-1].strip()
        if operation == "/":
            whole, rest = (found.split(" rest ") + ["0"])[:2]
            assert divmod(left, right) == (int(whole), int(rest))
        else:
            assert (
                int(found) == {"+": left + right, "-": left - right, "*": left * right}[operation]
            )


def test_named_arithmetic_asks_for_the_named_numbers():
    both = set()
    for item in items(NamedArithmeticData(), 300, seed=0):
        context, question = item.prompt.rsplit("\n", 1)
        left, operation, right = re.fullmatch(r"([a-z]+) ([+-]) ([a-z]+) =", question).groups()
        first = re.findall(r"([a-z]+) (?:=|be) (\d+)", context)
        numbers = dict(first) or {
            name: number for number, name in re.findall(r"(\d+) (?:->|for) ([a-z]+)", context)
        }
        both.add(bool(first))
        assert 2 <= len(numbers) <= 8 and left != right
        a, b = int(numbers[left]), int(numbers[right])
        assert int(item.answer) == (a + b if operation == "+" else a - b)
    assert both == {True, False}, "the pair is told in both orders"


@pytest.mark.parametrize("name", TEMPLATES)
def test_code_asks_for_the_value_of_the_name(name):
    template = TEMPLATES[name]
    sides = {"name": r"(?P<name>[a-z]+)", "value": r"(?P<value>[a-z]+)"}
    pair = re.compile(
        re.sub(r"\\\{(name|value)\\\}", lambda m: sides[m[1]], re.escape(template.pair))
    )
    for item in items(CodeData(templates=(name,)), 100, seed=0):
        context, question = item.prompt.rsplit("\n", 1)
        pairs = list(pair.finditer(context))
        assert 2 <= len(pairs) <= 8
        value = {m["name"]: m["value"] for m in pairs}
        asked = [n for n in value if question == template.question.format(name=n)]
        assert [value[n] for n in asked] == [item.answer.strip()]
        assert item.answer.startswith(" ") == template.spaced
        assert all((m.start("name") < m.start("value")) == template.name_first for m in pairs)


def test_python_templates_are_python():
    for name in ("assignment", "dictionary", "function", "import", "put", "open", "pairs"):
        for item in items(CodeData(templates=(name,)), 20, seed=0):
            if "lib." in item.prompt or "import" in item.prompt:
                continue  # some words are keywords there, as in `from lib import break`
            quote = '"' if item.prompt.endswith('"') else ""
            ast.parse(item.prompt + item.answer + quote)


@pytest.mark.parametrize(
    ("task", "check"),
    [
        ("sort", lambda words, reply: reply.split(", ") == sorted(words)),
        ("backwards", lambda words, reply: reply.split(", ") == words[::-1]),
        ("count", lambda words, reply: int(reply) == len(words)),
        ("longest", lambda words, reply: [w for w in words if len(w) >= len(reply)] == [reply]),
        ("json", lambda words, reply: json.loads(reply) == words),
        ("bullets", lambda words, reply: reply == "\n".join(f"- {w}" for w in words)),
        ("first_or_last", lambda words, reply: reply in (words[0], words[-1])),
    ],
)
def test_instructions_are_answered_correctly(task, check):
    for item in items(InstructionData(tasks=(task,), chat=False), 200, seed=0):
        request = item.prompt.removeprefix("Request: ").removesuffix("\nReply:")
        words = request.split(": ")[1].rstrip(".?").split(", ")
        assert check(words, item.answer.removeprefix(" ").removesuffix("\n")), item


def test_neighbours_in_a_list():
    for item in items(InstructionData(tasks=("neighbour",), chat=False), 200, seed=0):
        words, side, asked = re.search(
            r"the list (.*), which word comes right (after|before) (\w+)\?", item.prompt
        ).groups()
        words = words.split(", ")
        assert words[words.index(asked) + (1 if side == "after" else -1)] == item.answer.strip()


def test_every_kind_of_instruction_is_drawn():
    assert recipe("instruct").data.tasks == tuple(TASKS)


def test_schedule_rises_then_falls_to_nothing():
    chosen = tiny_recipe(warmup=4, horizon=20, steps=20)
    rates = [chosen.schedule(step) for step in range(20)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert 0 < rates[-1] < 0.1


def test_unknown_recipe_is_named():
    with pytest.raises(
        ConfigError,
        match=(
            r"no recipe 'maths'; there are base, .*boxes, and to try math-small, .*\. Did you mean"
            r" 'math'\?"
        ),
    ):
        recipe("maths")
    with pytest.raises(
        ConfigError, match=r"no recipe 'bose'; there are base, .*code-from-raw\. Did"
    ):
        recipe("bose", "smollm2-unprimed")
    with pytest.raises(
        ConfigError,
        match=rf"no recipes for family 'llama-7b'; there are some for {', '.join(RECIPES)}\.",
    ):
        recipe("base", "llama-7b")


@pytest.mark.parametrize("steps", [0, 151])
def test_steps_outside_the_horizon_are_refused(steps):
    with pytest.raises(ConfigError, match=rf"{steps} steps; recipe 'base' takes 1 to 150"):
        recipe("base").changed(steps=steps)


@pytest.mark.parametrize("family", RECIPES)
def test_every_recipe_stands_on_an_earlier_one(family):
    made = {"raw"}
    for chosen in RECIPES[family].values():
        assert chosen.on in made
        made.add(chosen.name)


@pytest.mark.parametrize("bos", [False, True])
def test_training_and_measuring_open_a_text_as_experiments_do(bos):
    """With Gemma's <bos>, or without any: the loss is that of the whole text as it is tokenised."""
    model, tokenizer = tiny_model(), make_tokenizer(bos=bos)
    assert opening(tokenizer) == ([tokenizer.bos_token_id] if bos else [])
    object.__setattr__(model, "tokenizer", tokenizer)
    found = box_accuracy(model.hf, tokenizer, split="evaluation", n_scenes=3, format="alternative")
    drawn = encode(tokenizer, all_queries(scenes(3, split="evaluation")))
    with torch.no_grad():
        own = model.hf(drawn.tokens).logits[torch.arange(len(drawn)), drawn.at("last")]
    assert (found.hits.ravel() == (own.argmax(-1) == drawn.answers).numpy()).all()
    chosen = tiny_recipe()
    batch = items(chosen.data, 1, seed=0)
    whole = tokenizer(batch[0].prompt + batch[0].answer)["input_ids"]
    n = len(tokenizer(batch[0].answer, add_special_tokens=False)["input_ids"])
    peft = wrapped(model, chosen)
    log_probs = peft(torch.tensor([whole])).logits[0].log_softmax(-1)
    expected = torch.stack([-log_probs[i - 1, whole[i]] for i in range(-n, 0)]).mean()
    torch.testing.assert_close(trainer._loss(peft, tokenizer, batch, chosen), expected)


def test_loss_is_that_of_the_answer_tokens_alone():
    model = tiny_model()
    chosen = tiny_recipe()
    batch = items(chosen.data, 4, seed=0)
    peft = wrapped(model, chosen)
    losses = []
    for item in batch:
        ids = model.tokenizer(item.prompt, add_special_tokens=False)["input_ids"]
        answer = model.tokenizer(item.answer, add_special_tokens=False)["input_ids"]
        log_probs = peft(torch.tensor([ids + answer])).logits[0].log_softmax(-1)
        losses += [-log_probs[len(ids) - 1 + i, token] for i, token in enumerate(answer)]
    torch.testing.assert_close(
        trainer._loss(peft, model.tokenizer, batch, chosen), torch.stack(losses).mean()
    )


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("gemma2", {"final_logit_softcapping": 0.5}),
        ("gemma3_text", {"final_logit_softcapping": 0.5}),
        ("granite", {}),
    ],
)
def test_loss_goes_through_what_a_model_does_to_its_logits(kind, settings):
    """Caps and multipliers included: the loss is Hugging Face's own with the prompt's labels
    masked, and has its gradient."""
    model = tiny_decoder(kind, {**PROVED[kind], **settings})
    chosen = tiny_recipe()
    (item,) = items(chosen.data, 1, seed=0)
    prompt = model.tokenizer(item.prompt, add_special_tokens=False)["input_ids"]
    answer = model.tokenizer(item.answer, add_special_tokens=False)["input_ids"]
    peft = wrapped(model, chosen)
    tokens = torch.tensor([prompt + answer])
    labels = torch.tensor([[-100] * len(prompt) + answer])
    expected = peft(input_ids=tokens, labels=labels).loss
    found = trainer._loss(peft, model.tokenizer, [item], chosen)
    torch.testing.assert_close(found, expected)
    trained = [p for p in peft.parameters() if p.requires_grad]
    ours_all, own_all = (torch.autograd.grad(loss, trained) for loss in (found, expected))
    largest = max(g.abs().max() for g in own_all)
    for ours, own in zip(ours_all, own_all, strict=True):
        assert_close(ours, own, terms=2 * additions(model, len(tokens[0])), magnitude=largest)


def wrapped(model, chosen):
    from peft import get_peft_model

    return get_peft_model(model.hf, chosen.lora())


def test_training_learns_and_leaves_the_frozen_weights_alone():
    model = tiny_model()
    before = {k: v.clone() for k, v in model.hf.state_dict().items()}
    chosen = tiny_recipe(steps=30, horizon=30, data=BoxesData((2, 2)))
    batch = items(chosen.data, 4, seed=0)
    _, curve = trainer.fit(
        model.hf, model.tokenizer, chosen, batch * 30, validate=lambda hf, tokenizer: {}
    )
    assert curve[-1]["loss"] < 0.7 * curve[0]["loss"]
    after = {k.replace("base_layer.", ""): v for k, v in model.hf.state_dict().items()}
    assert all(torch.equal(after[k], v) for k, v in before.items())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_interrupted_run_ends_with_the_same_weights(tmp_path, monkeypatch, dtype):
    monkeypatch.setattr(trainer, "CHECKPOINT_EVERY", 2)
    chosen = tiny_recipe(steps=5, dtype=dtype)
    data = items(chosen.data, 32, seed=0)
    file = tmp_path / "checkpoint.safetensors"

    def run(checkpoint, interrupted=False):
        model = tiny_model()

        def validate(hf, tokenizer):
            if interrupted and next(calls) == 1:
                raise KeyboardInterrupt
            return {}

        calls = iter(range(9))
        return trainer.fit(
            model.hf, model.tokenizer, chosen, data, checkpoint=checkpoint, validate=validate
        )

    straight, curve = run(None)
    with pytest.raises(KeyboardInterrupt):
        run(file, interrupted=True)
    assert file.is_file()
    resumed, resumed_curve = run(file)
    assert all(torch.equal(resumed[k], v) for k, v in straight.items())
    assert resumed_curve == curve
    assert any(v.abs().max() > 0 for k, v in straight.items() if "lora_B" in k)


def test_a_damaged_checkpoint_is_named(tmp_path):
    file = tmp_path / "checkpoint.safetensors"
    file.write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00not a tensor file")
    model, chosen = tiny_model(), tiny_recipe()
    with pytest.raises(DataError, match=r"checkpoint .* is damaged .* Delete it to start again\."):
        trainer.fit(
            model.hf, model.tokenizer, chosen, items(chosen.data, 32, seed=0), checkpoint=file
        )


def test_a_model_in_training_is_measured_with_its_adapter_and_left_as_it_was():
    model, chosen = tiny_model(), tiny_recipe()
    drawn = encode(model.tokenizer, all_queries(scenes(6, split="validation")))
    without = None
    for size in (0.0, 0.3):
        peft = wrapped(tiny_model(), chosen).train()
        for name, parameter in peft.named_parameters():
            if "lora_" in name:
                torch.manual_seed(len(name))
                parameter.data.normal_().mul_(size)
        found = box_accuracy(
            peft.get_base_model(), model.tokenizer, split="validation", n_scenes=6
        ).log_prob
        assert peft.training and peft.get_base_model().training
        with torch.no_grad():
            own = peft.eval()(drawn.tokens).logits[torch.arange(42), drawn.at("last")]
        expected = own.log_softmax(-1)[torch.arange(42), drawn.answers]
        terms = additions(model, drawn.tokens.shape[1])
        assert_close(found.ravel(), expected, terms=terms, magnitude=own, unlike=without)
        without = expected


def planted(hits):
    return TaskScores(hits, np.log(np.where(hits, 0.9, 0.1)), "planted", "alternative")


def test_summary_counts_scenes_as_the_unit():
    correct = np.zeros((40, 7), dtype=bool)
    correct[:20] = True  # every scene all right or all wrong: 40 independent facts, not 280
    told = summary(planted(correct))
    low, high = told["interval_95"]
    assert told["accuracy"] == 0.5 and told["n_prompts"] == 280
    assert high - low > 0.25


def test_a_difference_is_paired():
    worse = np.arange(280).reshape(40, 7) % 2 == 0
    better = worse | (
        np.arange(280).reshape(40, 7) % 28 == 1
    )  # another one right in every fourth scene
    found = change(planted(better), planted(worse))
    low, high = found["interval_95"]
    assert_printed(10 / 280, found["value"], decimals=4)
    assert 0 < low < found["value"] < high < 0.07


def test_train_makes_an_adapter_with_its_card(tmp_path, monkeypatch):
    from peft import PeftModel

    monkeypatch.setenv("ENTRACK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(
        trainer, "load", lambda name, **_: dataclasses.replace(tiny_model(), name=name)
    )
    monkeypatch.setattr(trainer, "VALIDATION_SCENES", 3)
    card = trainer.train("base", steps=2, out=tmp_path / "base")
    folder = tmp_path / "base"
    assert card == json.loads((folder / "card.json").read_text())
    assert card["adapter_sha256"] == sha256_file(folder / "adapter_model.safetensors")
    assert card["on"] == "raw" and card["on_digest"] == tiny_model().digest
    assert card["family"] == "smollm2"
    assert card["recipe"]["steps"] == 2 and card["seed"] == 0
    assert card["data_digest"] == digest(items(BoxesData(), 2 * 16, seed=0))
    assert set(card["accuracy"]) == {
        "validation"
    }  # two steps are a try, and tries do not see the evaluation split
    told = card["accuracy"]["validation"]["alternative"]
    assert told["n_prompts"] == 21
    plain = summary(
        box_accuracy(tiny_model().hf, tiny_model().tokenizer, split="validation", n_scenes=3)
    )["accuracy"]
    # All three are rounded to four decimals.
    assert_printed(told["accuracy"] - plain, told["minus_on"]["value"], decimals=4, half_units=3)
    assert {v.dtype for v in load_file(folder / "adapter_model.safetensors").values()} == {
        torch.float16
    }
    plain, adapted = tiny_model().hf, PeftModel.from_pretrained(tiny_model().hf, str(folder))
    tokens = torch.arange(12)[None] + 3
    assert (plain(tokens).logits - adapted(tokens).logits).abs().max() > 0
    again = trainer.train("base", steps=2, out=tmp_path / "again")
    assert again["adapter_sha256"] == card["adapter_sha256"]
    other = trainer.train("base", steps=2, seed=5, out=tmp_path / "other")
    assert (
        other["adapter_sha256"] != card["adapter_sha256"]
        and other["data_digest"] != card["data_digest"]
    )


def test_train_makes_a_version_of_the_lineage_that_is_asked_for(tmp_path, monkeypatch):
    asked = []

    def load(name, **_):
        asked.append(name)
        return dataclasses.replace(tiny_model(), name=name)

    monkeypatch.setenv("ENTRACK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(trainer, "load", load)
    monkeypatch.setattr(trainer, "VALIDATION_SCENES", 2)
    arguments = ["train", "base", "--family", "smollm2-unprimed", "--steps", "1"]
    assert cli.main([*arguments, "--out", str(tmp_path / "out")]) == 0
    card = json.loads((tmp_path / "out" / "card.json").read_text())
    assert set(asked) == {"smollm2-unprimed/raw"} and card["family"] == "smollm2-unprimed"
    assert card["data_digest"] == digest(items(CodeData(SHELL), 16, seed=0))
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "smollm2-unprimed/raw"


def test_stored_weights_are_those_that_were_trained(tmp_path):
    chosen = tiny_recipe()
    model = tiny_model()
    weights, _ = trainer.fit(model.hf, model.tokenizer, chosen, items(chosen.data, 32, seed=0))
    stored = load_file(trainer.save_adapter(weights, chosen, tmp_path, family="x"))
    assert stored.keys() == weights.keys()
    for name, value in weights.items():
        assert_close(stored[name], value, terms=1)


def test_the_command_prints_the_card(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ENTRACK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(
        trainer, "load", lambda name, **_: dataclasses.replace(tiny_model(), name=name)
    )
    monkeypatch.setattr(trainer, "VALIDATION_SCENES", 2)
    arguments = ["train", "base", "--steps", "2", "--seed", "3", "--out", str(tmp_path / "out")]
    assert cli.main(arguments) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(
        (tmp_path / "out" / "card.json").read_text()
    )


def test_the_command_names_the_versions_it_can_make(capsys):
    assert cli.main(["train", "mathh"]) != 0
    assert (
        "no recipe 'mathh'; there are base, code, math, instruct, boxes, and to try math-small, "
        in capsys.readouterr().err
    )


def test_only_the_recipe_itself_may_replace_a_version():
    def where(chosen, family="smollm2"):
        return "/".join(trainer._default_folder(chosen, family).parts[-4:])

    usual, other = recipe("code"), recipe("code", "smollm2-unprimed")
    assert where(usual).endswith("/models/smollm2/code")
    assert where(other, "smollm2-unprimed").endswith("/models/smollm2-unprimed/code")
    assert where(usual, "smollm2-unprimed") == "runs/models/smollm2-unprimed/code-250-steps-seed-1"
    assert where(usual.changed(steps=3)) == "runs/models/smollm2/code-3-steps-seed-1"
    assert where(usual.changed(seed=3)) == "runs/models/smollm2/code-250-steps-seed-3"
    assert where(recipe("math-named")) == "runs/models/smollm2/math-named-250-steps-seed-1"


@pytest.mark.parametrize("name", TRIES["smollm2"])
def test_a_try_changes_one_thing(name):
    """Besides its name: its data, or its rank with the alpha that goes with it, or its learning
    rate, or its length.
    """
    chosen, usual = recipe(name), recipe(name.split("-")[0])
    differ = {
        f.name
        for f in dataclasses.fields(Recipe)
        if getattr(chosen, f.name) != getattr(usual, f.name)
    } - {"name", "validate_every"}
    assert differ in ({"data"}, {"rank", "alpha"}, {"lr"}, {"steps", "horizon"})
    assert chosen.alpha / chosen.rank == usual.alpha / usual.rank
