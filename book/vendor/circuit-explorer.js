// The circuit explorer: shows the stored answer for what the reader chooses. It computes nothing.
(function () {
  "use strict";

  const SHORT = { "another prompt": "another prompt", mean: "mean over prompts" };
  const LEAST = 50;  // thousandths of attention from which a token is marked

  function made(tag, text, className) {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (className) element.className = className;
    return element;
  }

  const percent = (thousandths) => (thousandths / 10).toFixed(1) + "%";

  function listed(items) {
    return items.length < 2 ? items.join("") : items.slice(0, -1).join(", ") + " and " + items[items.length - 1];
  }

  function start(root) {
    const data = JSON.parse(root.querySelector("script[type='application/json']").textContent);
    const form = root.querySelector("form");
    const fields = form.elements;
    const part = (name) => root.querySelector(".explorer-" + name);
    const boxes = Array.from(form.querySelectorAll("input[name='group']"));
    const heads = Array.from(fields.head.options, (option) => option.textContent);
    heads.forEach((label, i) => { fields.head.options[i].value = i ? label : ""; });

    const version = () => data.versions[fields.version.selectedIndex];
    const prompt = () => data.prompts[fields.prompt.selectedIndex];
    const chosen = () => fields.head.value || boxes.filter((box) => box.checked).map((box) => box.value).join("");
    const another = () => fields.source.value === "another prompt";

    function sourceText(source) {
      if (source === "another prompt") return "another prompt, read by the same version";
      if (source === "mean") return "the mean over many prompts";
      return source + ", reading the same prompt";
    }

    function offerSources() {
      const before = fields.source.value;
      fields.source.replaceChildren(...version().sources.map((source) => {
        const option = made("option", SHORT[source] || source + ", same prompt");
        option.value = source;
        option.selected = source === before;
        return option;
      }));
    }

    function names() {
      const p = prompt();
      const found = {
        right: "right: " + p.right + " (box " + (p.asked + 1) + ")",
        position: "where the other prompt asks: " + p.position + " (box " + (p.otherAsked + 1) + ")",
        source: "the other prompt's own answer: " + p.source,
        objects: "the other objects of this prompt, together",
        rest: "all other words, together",
      };
      if (!another()) { delete found.position; delete found.source; }
      return found;
    }

    function judged(word) {
      const p = prompt();
      if (word === p.right) return "which is right";
      if (another() && word === p.position) return "the object of box " + (p.otherAsked + 1) + ", for which the other prompt asks";
      if (another() && word === p.source) return "the other prompt's answer, which this prompt does not contain";
      return "which is wrong";
    }

    function replacedText() {
      if (fields.head.value) return "head " + fields.head.value;
      const groups = data.groups.filter((group) => boxes.some((box) => box.checked && box.value === group.letter));
      return listed(groups.map((group) => group.letter + " (" + group.title + "s)"));
    }

    function bar(thousandths, className) {
      const cell = made("td");
      const fill = made("span", undefined, "explorer-bar " + className);
      fill.style.width = thousandths / 10 + "%";
      cell.append(made("span", percent(thousandths), "explorer-number"), fill);
      return cell;
    }

    function showAnswers() {
      const v = version(), i = fields.prompt.selectedIndex, s = fields.source.selectedIndex;
      const cell = data.cells.indexOf(chosen());
      const own = v.own[s][i], after = cell < 0 ? null : v.probs[s][cell][i];
      const said = data.words[v.said[i]], says = cell < 0 ? null : data.words[v.top[s][cell][i]];
      const alone = v.name + " alone says “" + said + "”, " + judged(said) + ".";
      part("result").textContent = cell < 0 ? alone + " Nothing is replaced yet: choose heads, or try a button." :
        alone + " With " + replacedText() + " from " + sourceText(fields.source.value) + ", it " +
        (says === said ? "still says “" : "says “") + says + "”, " + judged(says) + ".";
      const words = names();
      part("answers").tBodies[0].replaceChildren(...data.kinds.flatMap((kind, k) => {
        if (!(kind in words)) return [];
        const row = made("tr"), head = made("th", words[kind]);
        head.scope = "row";
        row.append(head, bar(own[k], "alone"), after ? bar(after[k], "replaced") : made("td", "–"));
        return [row];
      }));
      const p = prompt();
      part("source").textContent = another() ? "The other prompt: “" + p.otherText + "” Right there: " + p.source + "." :
        fields.source.value === "mean" ? "At its token, each head gives what it gives there on average, whatever the prompt." :
        "Both versions read the same prompt; only the chosen heads speak for " + fields.source.value + ".";
    }

    function showTokens() {
      const p = prompt(), attention = version().attention, i = fields.prompt.selectedIndex;
      part("tokens").replaceChildren(...p.tokens.map((token, place) => {
        const item = made("li");
        const here = data.groups.filter((group) => p.acts[group.letter] === place);
        const word = made("span", token.trim() || token, "explorer-token");
        item.append(word);
        if (here.length) {
          item.classList.add("acts");
          item.append(made("small", listed(here.map((group) => group.letter)) + (here.length > 1 ? " look" : " looks") + " from here"));
        }
        if (place === p.rightAt) item.append(made("small", "right answer", "explorer-note"));
        if (another() && place === p.otherAt) item.append(made("small", "other prompt's place", "explorer-note"));
        let most = LEAST;
        data.groups.forEach((group) => {
          const share = attention[group.letter][i][place];
          if (share < LEAST) return;
          const mark = made("small", group.letter + " " + Math.round(share / 10), "explorer-look");
          mark.style.setProperty("--group", group.colour);
          mark.title = group.letter + " " + group.title + ": " + percent(share);
          item.append(mark);
          if (share < most) return;
          most = share;
          word.style.setProperty("--group", group.colour);
          word.style.setProperty("--share", Math.round(share / 20) + "%");  // half, so that the word stays readable
        });
        return item;
      }));
      if (part("attention").open) showAttention();
    }

    function showAttention() {
      const p = prompt(), attention = version().attention, i = fields.prompt.selectedIndex;
      const table = made("table"), body = made("tbody"), top = made("tr");
      ["token", ...data.groups.map((group) => group.letter + " " + group.title)].forEach((name) => {
        const head = made("th", name);
        head.scope = "col";
        top.append(head);
      });
      p.tokens.forEach((token, place) => {
        const row = made("tr"), head = made("th", place + " " + (token.trim() || token));
        head.scope = "row";
        row.append(head, ...data.groups.map((group) => made("td", percent(attention[group.letter][i][place]))));
        body.append(row);
      });
      table.append(made("thead"), body);
      table.tHead.append(top);
      part("attention").querySelector("div").replaceChildren(table);
    }

    function show() { showAnswers(); showTokens(); }

    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("change", function (event) {
      if (event.target.name === "head" && fields.head.value) boxes.forEach((box) => { box.checked = false; });
      if (event.target.name === "group") fields.head.value = "";
      if (event.target.name === "version") offerSources();
      show();
    });
    form.querySelectorAll("[data-experiment]").forEach((button) => button.addEventListener("click", function () {
      const wanted = data.experiments[Number(button.dataset.experiment)];
      fields.version.selectedIndex = 0;
      offerSources();
      fields.prompt.selectedIndex = wanted.prompt;
      fields.source.value = wanted.source;
      fields.head.value = "";
      boxes.forEach((box) => { box.checked = wanted.cell.includes(box.value); });
      show();
    }));
    part("attention").addEventListener("toggle", () => { if (part("attention").open) showAttention(); });

    part("static").hidden = true;
    form.hidden = false;
    form.reset();  // a browser keeps choices over a reload, and the page would not show them
    offerSources();
    show();
  }

  function startAll() { document.querySelectorAll(".circuit-explorer").forEach(start); }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", startAll);
  else startAll();
})();
