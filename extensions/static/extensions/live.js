// Keeps the online state on the page fresh: a small fetch every few seconds, only while somebody looks.
"use strict";
(() => {
  const EVERY = 3000; // milliseconds
  const AFTER_ERROR = 15000;
  const list = document.querySelector("[data-live-list]");
  const panel = document.querySelector("[data-live-panel]");
  if (!list && !panel) return;

  const get = async (url) => {
    const answer = await fetch(url, {credentials: "same-origin", redirect: "manual", headers: {"X-Requested-With": "fetch"}});
    if (answer.type === "opaqueredirect" || answer.status === 403) return null; // signed out: stop asking
    if (!answer.ok) throw new Error(String(answer.status));
    return answer;
  };

  const renewCells = async () => {
    const cells = [...list.querySelectorAll("[data-live]")];
    const ids = [...new Set(cells.map((cell) => cell.dataset.id))];
    if (!ids.length) return true;
    const answer = await get(`${list.dataset.liveList}?ids=${ids.join(",")}`);
    if (!answer) return false;
    const rows = (await answer.json()).rows;
    for (const cell of cells) {
      const html = rows[cell.dataset.id]?.[cell.dataset.live];
      if (html === undefined) continue;
      const box = document.createElement("template");
      box.innerHTML = html.trim(); // escaped by the server
      const fresh = box.content.firstElementChild;
      if (fresh && fresh.outerHTML !== cell.outerHTML) cell.replaceWith(fresh);
    }
    return true;
  };

  let shown = null;
  const renewPanel = async () => {
    const answer = await get(panel.dataset.livePanel);
    if (!answer) return false;
    const html = await answer.text();
    if (html !== shown && (shown !== null || html.trim() !== panel.innerHTML.trim())) {
      const focused = panel.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
      panel.innerHTML = html; // escaped by the server
      if (focused) [...panel.querySelectorAll("a")].find((a) => a.getAttribute("href") === focused)?.focus();
    }
    shown = html;
    return true;
  };

  let timer = 0;
  const tick = async () => {
    clearTimeout(timer);
    let wait = EVERY;
    if (!document.hidden) {
      try {
        const going = [];
        if (list) going.push(await renewCells());
        if (panel) going.push(await renewPanel());
        if (going.includes(false)) return;
      } catch (error) {
        wait = AFTER_ERROR;
      }
    }
    timer = setTimeout(tick, wait);
  };
  document.addEventListener("visibilitychange", () => { if (!document.hidden) tick(); });
  timer = setTimeout(tick, EVERY);
})();
