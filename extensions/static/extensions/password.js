// Shows the two password fields only for "type one yourself". Without this script all fields are simply there.
"use strict";
(() => {
  const radios = [...document.querySelectorAll("input[type=radio][name=password_from]")];
  const rows = [...document.querySelectorAll("[data-typed], .form-row.field-password1, .form-row.field-password2")];
  if (!radios.length || !rows.length) return;
  const show = () => {
    const typed = radios.some((radio) => radio.checked && radio.value === "type");
    for (const row of rows) row.hidden = !typed;
  };
  for (const radio of radios) radio.addEventListener("change", show);
  window.addEventListener("pageshow", show);
  show();
})();
