/** Maps as the page shows them: all with one cross-hair, and drawn as the page's method is. */

import { html } from "../vendor/preact-htm.js";
import { lookOf, state } from "./state.js";
import { newCross, Overlay } from "./viewer.js";

/** The place that is looked at in all maps of the page. */
export const cross = newCross();

export const shownAs = (picture, model) =>
  `api/pictures/${encodeURIComponent(picture)}/shown?model=${encodeURIComponent(model)}`;

export const MapView = (given) => html`<${Overlay} look=${lookOf(state.method)} shared=${cross} ...${given} />`;

/** A bar that fills, with words beside it. */
export function Progress({ job, text }) {
  const { progress: p, ahead } = job;
  const done = p && p.total ? p.done / p.total : null;
  const left = p && p.seconds_left ? `, about ${Math.ceil(p.seconds_left)} s left` : "";
  const words = p?.text || (done === null ? text : `${p.done} of ${p.total}${left}`);
  return html`<div class="progress">
    <progress aria-label=${text} value=${done ?? undefined} max="1"></progress>
    <span>${ahead > 0 && !p ? `waiting, ${ahead} before this` : words}</span>
    <button class="quiet" onClick=${job.stop}>Stop</button>
  </div>`;
}
