/** An inspection: what is proven, which strategies the picture follows, and the strip of those that follow one. */

import { html } from "../vendor/preact-htm.js";
import { loadFilm } from "./film.js";
import { explanation, known, labelOf, ofInspection, set, state } from "./state.js";
import { percent } from "./words.js";

/** What to begin with: the first strategy, and the method of the inspection as it was asked for there. */
export function begin() {
  const { method, options, model, strategies } = state.start.inspection;
  const asked = method && { method, options: { ...state.options, [method]: options } };
  set({ model, tab: "inspection", strategy: strategies.length ? 0 : null, picture: "", ...asked });
}

const choose = (strategy) => (set({ strategy }), loadFilm());

export function Inspection() {
  const { conclusion, verdicts, title, method, strategies } = state.start.inspection;
  return html`<p class="lead"><b>${conclusion}</b></p>
    ${verdicts.map((verdict) => html`<p class="verdict">${verdict}.</p>`)}
    <p><a class="button first" href="inspection.html">Open the page of the inspection</a></p>
    ${!method && html`<p class="note" role="alert">Its method, ${title}, is none that is known here; look at its maps on its own page.</p>`}
    <div class="row"><label>Pictures <select value=${state.strategy ?? ""} onChange=${(e) => choose(e.target.value === "" ? null : Number(e.target.value))}>
      <option value="">all</option>
      ${strategies.map((one, i) => html`<option value=${i}>${one.name}${one.proven ? ", proven" : ""} (${one.pictures.toLocaleString("en")})</option>`)}
    </select></label></div>
    <${Picture} />`;
}

function Picture() {
  const { model, of, strategies } = state.start.inspection;
  const job = known("inspection-picture", ofInspection());
  const said = job?.value;
  const title = html`<h3>${said?.name || state.names[state.picture] || "The picture"}</h3>`;
  if (state.model !== model) return html`${title}<p class="note">What was inspected is ${model}.</p>`;
  if (job?.status === "failed") return html`${title}<p class="note" role="alert">${job.error}</p>`;
  if (!said) return title;
  if (!said.inspected) return html`${title}<p class="note">This picture is none of the inspection's.</p>`;
  if (said.error) return html`${title}<p class="note" role="alert">It could not be read: ${said.error}.</p>`;
  if (said.target === null) return html`${title}<p class="note">Its class was not looked at.</p>`;
  const one = explanation()?.value;
  const other = one && one.class === said.target && one.target.against === null && Math.abs(one.probability - said.probability) > 0.01;
  return html`<section aria-label="This picture in the inspection">${title}
    <p class="lead">Explained for ${of === "label" ? "its label" : "what was predicted"}, <b>${labelOf(said.target)}</b>, ${percent(said.probability)}.</p>
    ${other && html`<p class="note" role="alert">Now its probability is ${percent(one.probability)}: the picture, or the network, is another than it was.</p>`}
    ${said.strategies.length ? html`<p>It follows</p><ul class="strategies">${said.strategies.map((i) => html`<li key=${i}>
      <button onClick=${() => choose(i)} aria-pressed=${String(state.strategy === i)}>${strategies[i].name}${strategies[i].proven && html` <b>proven</b>`}</button></li>`)}</ul>
      <p class="hint">Click a strategy to have its pictures in the strip. Paint over what looks suspicious: <button class="quiet" onClick=${() => set({ tab: "hide" })}>Hide</button></p>`
      : html`<p class="note">It follows none of the strategies.</p>`}
  </section>`;
}
