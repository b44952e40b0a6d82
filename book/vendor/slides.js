// Keys and theme of the course's slides. Up and Down stay the browser's: a long slide scrolls.
(function () {
  "use strict";
  const root = document.documentElement;
  root.dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";

  function go(steps) {
    const slides = Array.from(document.querySelectorAll(".slide"));
    const here = slides.findLastIndex((slide) => slide.getBoundingClientRect().top < innerHeight / 2);
    const next = slides[Math.max(0, Math.min(slides.length - 1, here + steps))];
    next.scrollIntoView();
    history.replaceState(null, "", "#" + next.id);
  }

  // A live figure that asks for more than the room of its slide, or of a printed page, gets the room.
  function fit(room) {
    document.querySelectorAll(".live-canvas").forEach(function (canvas) {
      if (canvas._fullLayout && canvas._fullLayout.height > room) Plotly.relayout(canvas, { height: room });
    });
  }
  window.addEventListener("load", () => fit(0.7 * innerHeight));
  window.addEventListener("beforeprint", () => fit(440));

  const keys = { ArrowRight: 1, PageDown: 1, ArrowLeft: -1, PageUp: -1, Home: -Infinity, End: Infinity };
  document.addEventListener("keydown", function (event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const steps = event.key === " " ? (event.shiftKey ? -1 : 1) : keys[event.key];
    if (steps) {
      event.preventDefault();
      go(steps);
    } else if (event.key === "t" || event.key === "T") {
      root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
    }
  });
})();
