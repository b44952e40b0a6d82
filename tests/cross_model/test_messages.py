"""Messages between two versions: four cells that add up, each equal to a patch with a donor."""

import pytest
from planted_messages import N, planted
from tiny_models import CIRCUIT, fine_tuned, tiny_model

from entrack.circuit.contents import whole_groups
from entrack.cross_model.messages import BASE, TUNED, messages
from entrack.errors import ConfigError
from entrack.patching.group_patching import patch_pairs
from entrack.task.counterfactual_pairs import interchanges
from entrack.task.counterfactual_prompts import encode_counterfactuals

pytestmark = pytest.mark.usefixtures("own_cache")

B = "position_transmitter"


@pytest.fixture(scope="module")
def data():
    return encode_counterfactuals(tiny_model().tokenizer, interchanges(3, split="evaluation"))


def test_cells_are_patches_with_the_sender_as_donor(data):
    base, tuned = tiny_model(), fine_tuned()
    patches = whole_groups(CIRCUIT, B)
    found = messages(base, tuned, data, patches=patches, content={B: "position"})
    for (sender, receiver), answers in found.patched.items():
        giver, taker = ({BASE: base, TUNED: tuned}[name] for name in (sender, receiver))
        again = patch_pairs(taker, data, patches=patches, donor=giver)
        assert (answers.answers == again.answers).all() and answers.model == taker.name
    assert (found.base, found.tuned) == (base.name, tuned.name)


def test_message_and_reading_add_up_to_the_whole_change():
    found = planted(base_base=10, tuned_base=20, base_tuned=18, tuned_tuned=32)
    whole = found.score(TUNED, TUNED, "B").value - found.score(BASE, BASE, "B").value
    message, reading = found.message("B"), found.reading("B")
    assert message.value == pytest.approx((10 + 14) / 2 / N)
    assert reading.value == pytest.approx((8 + 12 - 2 * 4) / 2 / N)
    assert message.value + reading.value == pytest.approx(whole)
    assert found.message("B", into=BASE).value == pytest.approx(10 / N)
    assert found.reading("B", of=BASE).value == pytest.approx((8 - 4) / N)
    assert found.agreement("B").value == pytest.approx((10 + 32 - 20 - 18) / 2 / N)


def test_a_patch_without_content_is_refused(data):
    with pytest.raises(ConfigError, match="contents for none and patches position_transmitter; ea"):
        messages(tiny_model(), fine_tuned(), data, patches=whole_groups(CIRCUIT, B), content={})
