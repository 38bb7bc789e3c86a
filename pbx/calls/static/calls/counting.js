// Counts durations up on the page: <b data-since="epoch seconds"> inside [data-counting="the server's epoch seconds"].
// The two clocks may differ, so the difference at loading is taken off. Keeps the focus on a button that was renewed.
"use strict";
(() => {
  const panel = document.querySelector("[data-counting]");
  if (!panel) return;
  const ahead = Date.now() / 1000 - Number(panel.dataset.counting); // of this browser before the server, in seconds

  const two = (number) => String(number).padStart(2, "0");
  const clock = (seconds) => {
    const whole = Math.max(0, Math.floor(seconds));
    const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
    return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
  };
  const count = () => {
    const now = Date.now() / 1000 - ahead;
    for (const cell of panel.querySelectorAll("[data-since]")) {
      const text = clock(now - Number(cell.dataset.since));
      if (cell.textContent !== text) cell.textContent = text;
    }
  };

  let pressed = null;
  panel.addEventListener("focusin", (event) => { pressed = event.target.value || null; });
  panel.addEventListener("focusout", (event) => {
    // A button that is still there a moment later was left by the person, not taken away by the renewal.
    const left = event.target;
    requestAnimationFrame(() => {
      if (left.isConnected && left !== document.activeElement && pressed === left.value) pressed = null;
    });
  });
  new MutationObserver(() => {
    count();
    if (pressed && document.activeElement === document.body) {
      [...panel.querySelectorAll("button")].find((button) => button.value === pressed)?.focus();
    }
  }).observe(panel, {childList: true});
  count();
  setInterval(count, 1000);
})();
