"""The model that exercises run on is a model like any other, and the same each time."""

import pytest
import torch

from entrack.errors import ConfigError
from entrack.versions.tiny import VOCABULARY, tiny_model, tiny_tokens


def test_it_passes_the_check_of_every_model_and_sizes_tell_axes_apart():
    model = tiny_model(n_layers=2)
    model.self_check()
    sizes = [model.n_layers, model.n_kv_heads * model.d_head, model.n_heads, model.d_head]
    assert sizes == [2, 16, 4, 8] and model.d_model == 40 != model.n_heads * model.d_head


def test_a_seed_gives_the_same_weights_and_leaves_the_generator_alone():
    tokens = tiny_tokens(2, 6, seed=3)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, again, other = (tiny_model(seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    logits = [m.hf(tokens).logits for m in (first, again, other)]
    assert torch.equal(logits[0], logits[1]) and not torch.equal(logits[0], logits[2])
    assert first.digest == again.digest != other.digest


def test_prompts_repeat_no_token():
    tokens = tiny_tokens(4, 10, seed=0)
    assert tokens.shape == (4, 10)
    assert all(len(set(row.tolist())) == 10 for row in tokens)


def test_what_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="a model of 0 layers; 1 or more are needed"):
        tiny_model(n_layers=0)
    with pytest.raises(ConfigError, match=f"prompts of {VOCABULARY + 1} different tokens"):
        tiny_tokens(1, VOCABULARY + 1, seed=0)
