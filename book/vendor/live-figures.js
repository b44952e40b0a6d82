// Draws every .live-figure of the page with the local plotly.js, in the colours of the current theme.
(function () {
  "use strict";

  function themed() {
    const style = getComputedStyle(document.documentElement);
    const ink = style.getPropertyValue("--pst-color-text-base").trim() || "#222";
    const surface = style.getPropertyValue("--pst-color-surface").trim() || "#eee";
    const axis = { gridcolor: "rgba(128,128,128,0.3)", zerolinecolor: "rgba(128,128,128,0.6)", linecolor: ink,
                   automargin: true };
    const clear = "rgba(0,0,0,0)";
    const heatmap = [{ type: "heatmap", colorscale: "Cividis", colorbar: { outlinewidth: 0 } }];
    return { data: { heatmap: heatmap }, layout: {
      paper_bgcolor: clear, plot_bgcolor: clear, font: { color: ink, size: 13 }, xaxis: axis, yaxis: axis,
      legend: { bgcolor: clear }, hoverlabel: { bgcolor: surface, font: { color: ink } },
      margin: { l: 50, r: 20, t: 40, b: 40 }, modebar: { bgcolor: clear, color: ink },
      colorway: ["#4c64f5", "#cb6b07", "#1d788d", "#df399e", "#cc1228", "#808080"],
      updatemenudefaults: { bgcolor: surface, bordercolor: ink, font: { color: ink } },
      sliderdefaults: { pad: { t: 55 }, bgcolor: surface, bordercolor: ink, font: { color: ink } } } };
  }

  function draw(figure) {
    const spec = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
    const layout = Object.assign({}, spec.layout, { template: themed(), autosize: true });
    delete layout.width;
    if (matchMedia("(pointer: coarse)").matches) layout.dragmode = false;  // a finger must be able to scroll past
    Plotly.newPlot(figure.querySelector(".live-canvas"), spec.data, layout,
                   { responsive: true, displaylogo: false, displayModeBar: false });
  }

  function quoted(cell) {
    const text = cell.textContent;
    return /[",\n]/.test(text) ? '"' + text.replace(/"/g, '""') + '"' : text;
  }

  function csv(figure) {
    return Array.from(figure.querySelectorAll(".live-tables table"), (table) =>
      quoted(table.caption) + "\n" +
      Array.from(table.rows, (row) => Array.from(row.cells, quoted).join(",")).join("\n")).join("\n\n") + "\n";
  }

  function offerCsv(figure) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "live-csv";
    button.textContent = "Download as CSV";
    button.addEventListener("click", function () {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([csv(figure)], { type: "text/csv" }));
      link.download = "figure.csv";
      link.click();
      URL.revokeObjectURL(link.href);
    });
    figure.querySelector(".live-data summary").after(button);
  }

  function start() {
    const figures = Array.from(document.querySelectorAll(".live-figure"));
    figures.forEach((figure) => { draw(figure); offerCsv(figure); });
    new MutationObserver(function () {
      figures.forEach((figure) => Plotly.relayout(figure.querySelector(".live-canvas"), { template: themed() }));
    }).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
