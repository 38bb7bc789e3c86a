// Copy buttons. navigator.clipboard exists only over HTTPS and on localhost; inside an office the admin is often plain
// HTTP, so there is an older way behind it.
"use strict";
(() => {
  const status = document.querySelector(".pbx-copied");
  const copyOldWay = (text) => {
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "pbx-offscreen";
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  };
  const copy = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch (error) {
      return copyOldWay(text);
    }
  };
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const done = await copy(button.dataset.copy);
    const words = done ? status.dataset.copied : status.dataset.failed;
    status.textContent = words;
    const before = button.textContent;
    if (button.dataset.busy) return;
    button.dataset.busy = "1";
    button.textContent = words;
    button.classList.toggle("pbx-done", done);
    setTimeout(() => { button.textContent = before; button.classList.remove("pbx-done"); delete button.dataset.busy; }, 1500);
  });
})();
