"""A family of three tiny Llamas that do the task, through a circuit put into them by hand.

The residual stream is cut into named parts, and each group of heads copies from one part to
another, as the paper says of the groups (section 4.1). Layer 0 holds no group: its heads tell how
far a token is from the start, by two angles. Layer 1, structure readers: each token takes label and
place from the token before it, and so does the comma behind a label. Layer 2, position detectors:
the query label looks for the comma with its letter and takes its place. Layer 3, position
transmitters: the last token takes that place from two tokens back. Layer 4, value fetchers: the
last token looks for the noun at that place and copies it to where the answer is read. Every group
has two heads, in four; the last layer holds none. All weights are noisy, so that the first version
is often wrong.
"""

import json
import math
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import torch
from tokenizers_for_tests import SPACE, make_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from entrack.circuits import Circuit
from entrack.model.decoder import Model
from entrack.sites import Head
from entrack.task.boxes import LABELS, NOUNS

LAYERS, HEADS, D_HEAD = 6, 4, 64
NOUN_SIZE = 40
WIDTHS = {
    "one": 1,
    "flags": 3,  # start of the text, its first word, a noun
    "label": 26,
    "noun": NOUN_SIZE,
    "place": 4,  # cosine and sine of two angles
    "read": 30,  # label and place of the token before: structure readers write
    "detected": 4,
    "transmitted": 4,
    "answer": NOUN_SIZE,
}
PART = {
    name: slice(end - WIDTHS[name], end)
    for name, end in zip(WIDTHS, accumulate(WIDTHS.values()), strict=True)
}
D_MODEL = sum(WIDTHS.values()) + 8
FREQUENCIES = (4, 3)  # rotary pairs that turn by 0.1 and 0.178 a token
THETA = 1e8
LOOK_UP_WORDS = ("prints", *(label.lower() for label in LABELS))
"""One token each, so that scenes can be told as look-ups; a small letter is a label too."""
NOUN_TO_LABEL = 4  # tokens from a noun to the label of its box
# Pairs from here on turn by less than a third of a degree a token: what is compared by content.
STILL = (*range(9, 32), *range(41, 64))


@dataclass(frozen=True)
class Version:
    """How clear the circuit's heads are (1: their attention is sharp), and which noise is added."""

    clarity: float
    noise: float
    seed: int
    extra: float = 0.0


VERSIONS = {
    "plain": Version(clarity=0.3, noise=0.006, seed=0),
    "better": Version(clarity=0.6, noise=0.006, seed=0),
    "same": Version(clarity=0.3, noise=0.006, seed=0, extra=0.0003),
}
"""The first is right on some 70 % of prompts, least often in the middle; the second nearly always;
the third is the first with a change too small to matter."""


PLANTED_CIRCUIT = Circuit(
    {
        "value_fetcher": (Head(4, 0), Head(4, 1)),
        "position_transmitter": (Head(3, 0), Head(3, 1)),
        "position_detector": (Head(2, 0), Head(2, 1)),
        "structure_reader": (Head(1, 0), Head(1, 1)),
    },
    "planted",
    "after_prev_query_label",
)
"""The heads that do the task, by construction."""


def _angle(pair: int, tokens: float) -> float:
    return tokens * THETA ** (-2 * pair / D_HEAD)


def _turned(pair: int, tokens: float, size: float) -> torch.Tensor:
    """A query that fits a key of this pair's first direction best `tokens` tokens back."""
    row = torch.zeros(D_HEAD)
    angle = _angle(pair, tokens)
    row[pair], row[pair + D_HEAD // 2] = size * math.cos(angle), -size * math.sin(angle)
    return row


class _Planter:
    """Writes heads into the weights of one model; `rows` and `columns` are [d_head] of one head."""

    def __init__(self, hf: LlamaForCausalLM) -> None:
        self.layers = hf.model.layers

    def head(self, layer: int, head: int) -> dict[str, torch.Tensor]:
        at = slice(head * D_HEAD, (head + 1) * D_HEAD)
        attention = self.layers[layer].self_attn
        return {
            "q": attention.q_proj.weight[at],
            "k": attention.k_proj.weight[at],
            "v": attention.v_proj.weight[at],
            "o": attention.o_proj.weight[:, at],
        }

    def copy(self, head: dict, source: list[int], target: list[int], size: float) -> None:
        for i, (read, write) in enumerate(zip(source, target, strict=True)):
            head["v"][i, read] = 1
            head["o"][write, i] = size

    def look_back(self, head: dict, tokens: int, size: float) -> None:
        """Attend to the token `tokens` back, whatever it is."""
        for pair in range(7):
            head["q"][:, 0] += _turned(pair, tokens, size) / ONE
            head["k"][pair, 0] = 1 / ONE * D_HEAD**0.5


ONE = D_MODEL**0.5


def _indices(*parts: str) -> list[int]:
    return [i for part in parts for i in range(PART[part].start, PART[part].stop)]


def _plant(hf: LlamaForCausalLM, tokenizer, clarity: float) -> None:
    """Overwrite the weights of a model of zeros with the circuit."""
    scale = D_HEAD**0.5
    flags = _indices("flags")
    start, first, noun = flags
    ids = tokenizer.convert_tokens_to_ids
    embedding, read_out = hf.model.embed_tokens.weight, hf.lm_head.weight
    embedding[:, 0] = ONE
    embedding[ids("<s>"), start] = 1
    embedding[[ids(word) for word in ("The", "There", "Box", "the")], first] = 1
    for letter, column in zip(LABELS, _indices("label"), strict=True):
        embedding[[ids(SPACE + letter), ids(SPACE + letter.lower())], column] = 1
    codes = torch.randn(len(NOUNS), NOUN_SIZE, generator=torch.Generator().manual_seed(7))
    codes = codes / codes.norm(dim=1, keepdim=True)
    for word, code in zip(NOUNS, codes, strict=True):
        token = tokenizer.encode(f" {word}", add_special_tokens=False)[0]
        embedding[token, PART["noun"]] = code
        embedding[token, noun] = 1
        read_out[token, PART["answer"]] = 12 * code

    plant = _Planter(hf)
    place = _indices("place")
    for index in range(4):  # two angles, each with its cosine and its sine
        head, pair = plant.head(0, index), FREQUENCIES[index // 2]
        quarter = (math.pi / 2) / _angle(pair, 1) if index % 2 else 0.0
        head["q"][:, 0] = _turned(pair, quarter, scale) / ONE
        head["q"][STILL[0], 0] = scale / ONE
        for flag, sign in ((start, 1), (first, -1)):
            head["k"][pair, flag] = 0.8 * sign
            head["k"][STILL[0], flag] = 20
            head["v"][0, flag] = sign
        head["o"][place[index], 0] = 1
    for index in range(2):
        head = plant.head(1, index)
        plant.look_back(head, 1, 6)
        plant.copy(head, _indices("label", "place"), _indices("read"), 0.5)

        head = plant.head(2, index)
        for i, column in enumerate(_indices("label")):
            head["q"][STILL[i], column] = 12 * clarity * scale
            head["k"][STILL[i], _indices("read")[i]] = 1
        plant.copy(head, _indices("read")[-4:], _indices("detected"), 0.5)

        head = plant.head(3, index)
        plant.look_back(head, 2, 6)
        plant.copy(head, _indices("detected"), _indices("transmitted"), 0.5)

        head = plant.head(4, index)
        sent = _indices("transmitted")
        for k, pair in enumerate(FREQUENCIES):
            # A place is that of the label, which stands behind its noun: turned back to it.
            turn = _angle(pair, NOUN_TO_LABEL)
            cos, sin = math.cos(turn), math.sin(turn)
            for i, row in enumerate(((cos, sin), (-sin, cos))):
                for j, value in enumerate(row):
                    head["q"][STILL[2 * k + i], sent[2 * k + j]] = 14 * clarity * scale * value
                head["k"][STILL[2 * k + i], place[2 * k + i]] = 1
        head["q"][STILL[4], 0] = 10 * scale / ONE
        head["k"][STILL[4], noun] = 1
        plant.copy(head, _indices("noun"), _indices("answer"), 0.5)


def planted_model(name: str, version: Version) -> Model:
    """One version, in well under a second."""
    tokenizer = make_tokenizer(bos=True, more=LOOK_UP_WORDS)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=D_MODEL,
        intermediate_size=16,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        head_dim=D_HEAD,
        max_position_embeddings=256,
        rope_theta=THETA,
        rope_parameters={"rope_type": "default", "rope_theta": THETA},
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    hf = LlamaForCausalLM(config).eval().requires_grad_(False)
    matrices = [weight for weight in hf.parameters() if weight.ndim == 2]
    for weight in matrices:
        weight.zero_()
    _plant(hf, tokenizer, version.clarity)
    for size, seed in ((version.noise, version.seed), (version.extra, version.seed + 1)):
        generator = torch.Generator().manual_seed(seed)
        for layer in hf.model.layers:
            for weight in layer.parameters():
                if weight.ndim == 2:
                    weight.add_(size * torch.randn(weight.shape, generator=generator))
    return Model.of(
        hf,
        tokenizer,
        name=f"planted/{name}",
        digest=f"planted-{version}",
        family="planted",
        version=name,
    )


def write_family(folder: Path) -> Path:
    """Write the three models and the family's file; returns the file."""
    described = {
        "title": "Planted",
        "licence": "none needed",
        "source": {"kind": "folder"},
        "reference": "plain",
        "focus": "better",
        "structure_role": "after_prev_query_label",
        "versions": {},
    }
    looks = (("#4c64f5", "o"), ("#1d788d", "D"), ("#cc1228", "v"))
    for (name, version), (colour, marker) in zip(VERSIONS.items(), looks, strict=True):
        model, place = planted_model(name, version), folder / "planted" / name
        model.hf.save_pretrained(place)
        model.tokenizer.save_pretrained(place)
        described["versions"][name] = {
            "on": None if name == "plain" else "plain",
            "title": f"planted weights, {name}",
            "subject": {"plain": None, "better": "arithmetic", "same": "instructions"}[name],
            "folder": f"planted/{name}",
            "colour": colour,
            "marker": marker,
        }
    file = folder / "planted.json"
    file.write_text(json.dumps(described, indent=1))
    return file
