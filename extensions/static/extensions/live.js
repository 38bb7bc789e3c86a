// Keeps what the page shows fresh: a small fetch every few seconds, only while somebody looks.
//   [data-live-list="address"]   cells [data-live][data-id] inside are renewed one by one
//   [data-live-panel="address"]  its whole content is renewed; any number of them, each in its own step
//     data-live-every="seconds"  if not every 3
//     [data-keep="name"]         a <details> inside that stays open (or closed), as the person left it
//     [data-say="words"]         inside: told to screen readers by [data-announce="id of the panel"] when it changes
"use strict";
(() => {
  const EVERY = 3; // seconds
  const AFTER_ERROR = 15;
  const list = document.querySelector("[data-live-list]");
  const panels = [...document.querySelectorAll("[data-live-panel]")];

  const get = async (url, etag) => {
    const headers = {"X-Requested-With": "fetch"};
    if (etag) headers["If-None-Match"] = etag;
    const answer = await fetch(url, {credentials: "same-origin", redirect: "manual", headers});
    if (answer.type === "opaqueredirect" || answer.status === 403) return null; // signed out: stop asking
    if (!answer.ok && answer.status !== 304) throw new Error(String(answer.status));
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

  const isReading = (panel) => { // text of it is being selected: a renewal would take it away
    const selection = document.getSelection();
    return selection && !selection.isCollapsed && panel.contains(selection.anchorNode);
  };
  const nameOf = (element) => { // what a person would take for the same thing after the renewal
    if (element.matches("summary")) return `details ${element.parentElement.dataset.keep}`;
    return `${element.tagName} ${element.getAttribute("href") ?? element.value ?? ""}`;
  };

  const renewed = (panel) => {
    let shown = null, etag = null;
    const said = document.querySelector(`[data-announce="${panel.id}"]`);
    let words = panel.querySelector("[data-say]")?.dataset.say;
    return async () => {
      const answer = await get(panel.dataset.livePanel, etag);
      if (!answer) return false;
      if (answer.status === 304) return true;
      const html = await answer.text();
      if (isReading(panel)) return true;
      if (html !== shown && (shown !== null || html.trim() !== panel.innerHTML.trim())) {
        const inside = panel.contains(document.activeElement);
        const focused = inside ? nameOf(document.activeElement) : null;
        const left = new Map();
        for (const kept of panel.querySelectorAll("details[data-keep]")) left.set(kept.dataset.keep, kept.open);
        panel.innerHTML = html; // escaped by the server
        for (const kept of panel.querySelectorAll("details[data-keep]")) {
          if (left.has(kept.dataset.keep)) kept.open = left.get(kept.dataset.keep);
        }
        if (focused) [...panel.querySelectorAll("a, button, summary")].find((one) => nameOf(one) === focused)?.focus({preventScroll: true});
        const now = panel.querySelector("[data-say]")?.dataset.say;
        if (said && now && now !== words) said.textContent = now;
        words = now;
      }
      shown = html;
      etag = answer.headers.get("ETag");
      return true;
    };
  };

  const keepGoing = (renew, every) => {
    let timer = 0, busy = false;
    const tick = async () => {
      if (busy) return;
      busy = true;
      clearTimeout(timer);
      let wait = every;
      if (!document.hidden) {
        try {
          if (!await renew()) return; // stays busy: nothing asks any more
        } catch (error) {
          wait = Math.max(every, AFTER_ERROR);
        }
      }
      busy = false;
      timer = setTimeout(tick, wait * 1000);
    };
    document.addEventListener("visibilitychange", () => { if (!document.hidden) tick(); });
    timer = setTimeout(tick, every * 1000);
  };
  if (list) keepGoing(renewCells, EVERY);
  for (const panel of panels) keepGoing(renewed(panel), Number(panel.dataset.liveEvery) || EVERY);
})();
