// Renews the state of the test from outside until the phone is registered, only while somebody looks. The address to
// ask is that of the page itself: the secret part stands nowhere else.
"use strict";
(() => {
  const EVERY = 2000; // milliseconds
  const LATER = 8000;
  const box = document.querySelector("[data-state]");
  if (!box) return;
  const address = `${location.pathname.replace(/\/$/, "")}/state/`;
  let shown = null;
  let timer = 0;

  const tick = async () => {
    clearTimeout(timer);
    let wait = EVERY;
    if (!document.hidden) {
      try {
        const answer = await fetch(address, {credentials: "same-origin", cache: "no-store"});
        if (answer.status === 410) return location.reload();
        if (!answer.ok) throw new Error(String(answer.status));
        const html = await answer.text();
        if (html !== shown) box.innerHTML = html; // escaped by the server
        shown = html;
        if (box.querySelector("[data-done]")) wait = LATER;
      } catch (error) {
        if (box.querySelector("[data-lost-line]") === null) {
          const line = document.createElement("p");
          line.className = "inside";
          line.dataset.lostLine = "";
          line.textContent = box.dataset.lost;
          box.prepend(line);
        }
        shown = null;
        wait = LATER;
      }
    }
    timer = setTimeout(tick, wait);
  };
  document.addEventListener("visibilitychange", () => { if (!document.hidden) tick(); });
  tick();
})();
