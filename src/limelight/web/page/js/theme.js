/** Dark or light: as the system has it, until someone says otherwise. */

import { html, useState } from "../vendor/preact-htm.js";

const NAME = "limelight-theme";

function kept() {
  try {
    return localStorage.getItem(NAME) || "";
  } catch {
    return "";
  }
}
document.documentElement.dataset.theme = kept();

const isDark = () =>
  document.documentElement.dataset.theme
    ? document.documentElement.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;

export function Theme() {
  const [dark, put] = useState(isDark());
  const turn = () => {
    const next = dark ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem(NAME, next);
    } catch {
      /* it is kept for this visit only */
    }
    put(!dark);
  };
  return html`<button class="quiet" onClick=${turn} aria-pressed=${String(dark)}>Dark</button>`;
}
