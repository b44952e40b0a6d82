"""The markup of the circuit explorer: native controls with labels, which work by keyboard and on a
phone, the data, and what stands in without a script."""

import json
from collections.abc import Iterable, Mapping
from html import escape


def explorer_html(data: Mapping, static: str) -> str:
    """The page of `data` (see `explorer.CircuitExplorer.data`); `static` is shown until the script
    runs.
    """
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return _PAGE.format(
        first=escape(data["versions"][0]["name"]),
        prompts=_options(
            f"{i + 1}. Box {prompt['label']} ({prompt['asked'] + 1} of {prompt['boxes']}):"
            f" {'right' if prompt['ownRight'] else 'wrong'}"
            for i, prompt in enumerate(data["prompts"])
        ),
        versions=_options(version["name"] for version in data["versions"]),
        groups="".join(_switch(group) for group in data["groups"]),
        heads=_options(label for label in data["cells"] if " " in label),
        experiments="".join(
            f'<button type="button" data-experiment="{i}">{escape(experiment["title"])}</button>'
            for i, experiment in enumerate(data["experiments"])
        ),
        static=static,
        data=text.replace("</", "<\\/"),  # a "</script>" in a word would end the element
    )


def _options(texts: Iterable[str]) -> str:
    return "".join(f"<option>{escape(text)}</option>" for text in texts)


def _switch(group: Mapping) -> str:
    heads = f"{len(group['heads'])} head{'s' if len(group['heads']) != 1 else ''}"
    return (
        f'<label class="explorer-group" style="--group:{group["colour"]}"><input type="checkbox"'
        f' name="group" value="{group["letter"]}"><span><b>{group["letter"]}</b>'
        f" {escape(group['title'])}s <small>{heads} at the {escape(group['role'])}</small></span>"
        "</label>"
    )


_PAGE = """<div class="circuit-explorer">
<form hidden aria-label="Circuit explorer">
<p class="explorer-try"><b>Try:</b> {experiments}</p>
<div class="explorer-choices">
<fieldset><legend>Prompt and version</legend>
<label>Prompt, and whether {first} is right <select name="prompt">{prompts}</select></label>
<label>Version <select name="version">{versions}</select></label></fieldset>
<fieldset><legend>Heads that are replaced</legend>{groups}
<label>or one strong head alone <select name="head"><option value="">none</option>{heads}</select>
</label></fieldset>
<fieldset><legend>What replaces them</legend>
<label>Source <select name="source"></select></label>
<p class="explorer-source"></p></fieldset></div>
<p class="explorer-result" role="status" aria-live="polite"></p>
<table class="explorer-answers"><caption>How likely each answer is</caption>
<thead><tr><th scope="col">answer</th><th scope="col">alone</th>
<th scope="col">heads replaced</th></tr></thead><tbody></tbody></table>
<p id="explorer-reading"><b>Where the groups look</b>, with nothing replaced. A frame marks the
token from which a group looks. Under a token stand the groups that look at it: “B 62” means that 62
per cent of B's attention goes there, on average over its heads. Less than five per cent is left
out.</p>
<ol class="explorer-tokens" aria-labelledby="explorer-reading"></ol>
<details class="explorer-attention"><summary>All attention as a table</summary><div role="region"
tabindex="0" aria-label="Attention of the groups"></div></details>
</form>
<div class="explorer-static">{static}</div>
<script type="application/json">{data}</script></div>
"""
