"""A tokenizer built in a second that treats the task's words as SmolLM2's does, without its
files.
"""

from collections.abc import Sequence

from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from entrack.task.boxes import LABELS, NOUNS

SPACE = "Ġ"  # how byte-level vocabularies write the space before a word
OTHER_WORDS = """
        the is in contains contained not does contain inside it there are these a an and of bunch
    boxes containing objects
    three additional much little to see PP BB AA cup
""".split()
TWO_PIECES = ("wheelbarrow", "gramophone")
BARE = NOUNS[
    :10
]  # nouns that are one token without a space too; the others then are the unknown token


def make_tokenizer(
    *, bos: bool = False, eos: bool = False, more: Sequence[str] = ()
) -> PreTrainedTokenizerFast:
    """A byte-level BPE whose words with a space before them are one token, save those in
    TWO_PIECES.

    `more` words are one token too, with a space before them. `bos` puts "<s>" before every text, as
    Llama's tokenizer does; `eos` puts "</s>" behind it, which the task refuses."""
    specials = ["<s>", "</s>", "<unk>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*specials, *alphabet])}
    merges: list[tuple[str, str]] = []
    halves = [(word[: len(word) // 2], word[len(word) // 2 :]) for word in TWO_PIECES]
    words = [SPACE + word for word in ("Box", *LABELS, *OTHER_WORDS, *NOUNS)] + [
        "The",
        "There",
        "Box",
        "the",
    ]
    for word in [
        *words,
        *(SPACE + word for word in more),
        *(SPACE + first for first, _ in halves),
        *(second for _, second in halves),
        *BARE,
    ]:
        for end in range(2, len(word) + 1):
            if word[:end] not in vocabulary:
                vocabulary[word[:end]] = len(vocabulary)
                merges.append((word[: end - 1], word[end - 1]))
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=merges, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if bos or eos:
        template = f"{'<s> ' if bos else ''}$A{' </s>' if eos else ''}"
        tokenizer.post_processor = TemplateProcessing(
            single=template, special_tokens=[("<s>", 0), ("</s>", 1)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="</s>",
    )
