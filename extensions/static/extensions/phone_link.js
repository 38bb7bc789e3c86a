// Counts down the time that a QR code is good for, and says when a phone has used it.
"use strict";
(() => {
  const line = document.querySelector("[data-link-state]");
  if (!line) return;
  const qr = document.querySelector("[data-link-qr]");
  let left = null;
  const show = () => {
    if (left === null) return;
    const minutes = Math.floor(left / 60);
    line.textContent = `${line.dataset.waiting} ${minutes}:${String(left % 60).padStart(2, "0")}`;
  };
  const end = (text, good) => {
    line.textContent = text;
    line.classList.add(good ? "pbx-link-used" : "pbx-link-expired");
    qr.classList.add("pbx-qr-dead");
    clearInterval(clock);
  };
  const ask = async () => {
    try {
      const answer = await fetch(line.dataset.linkState, {credentials: "same-origin", redirect: "manual"});
      if (!answer.ok) return;
      const state = await answer.json();
      if (state.state === "used") return end(`${line.dataset.used} (${state.used_from})`, true);
      if (state.state === "expired") return end(line.dataset.expired, false);
      left = state.seconds_left;
      show();
    } catch (error) { /* asked again soon */ }
  };
  let seconds = 0;
  const clock = setInterval(() => {
    seconds += 1;
    if (left !== null && left > 0) { left -= 1; show(); }
    if (!document.hidden && (seconds % 3 === 0 || left === 0)) ask();
  }, 1000);
  ask();
})();
