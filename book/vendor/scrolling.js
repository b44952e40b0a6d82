// A figure that is wider than the page scrolls inside its box; with the Tab key one gets there, as to wide code.
(function () {
  "use strict";

  function mark(box) {
    const wide = box.scrollWidth > box.clientWidth;
    if (wide === box.hasAttribute("tabindex")) return;
    if (wide) {
      box.tabIndex = 0;
      box.setAttribute("role", "group");
      box.setAttribute("aria-label", "Figure, scrolls sideways");
    } else ["tabindex", "role", "aria-label"].forEach((name) => box.removeAttribute(name));
  }

  function start() {
    const watcher = new ResizeObserver((seen) => seen.forEach((one) => mark(one.target)));
    document.querySelectorAll(".entrack-svg").forEach((box) => watcher.observe(box));
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
