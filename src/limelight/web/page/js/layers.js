/** The maps of all stages, and what a token of a transformer looks at. */

import { html, useState } from "../vendor/preact-htm.js";
import { MapView, Progress, shownAs } from "./map.js";
import { NumberField } from "./number.js";
import { ask, changed, known, methodOf, modelOf, optionsOf, question, set, state } from "./state.js";
import { placeOf } from "./viewer.js";

export function Layers() {
  const model = modelOf(state.model);
  const { picture, target } = question();
  const method = state.method;
  const job = ask("layers", { picture, model: state.model, target, method });
  const chosen = optionsOf(method).layer;
  const choose = (layer) => {
    const { layer: _, ...options } = optionsOf(method);
    set({ options: { ...state.options, [method]: layer === chosen ? options : { ...options, layer } } });
  };
  const source = shownAs(state.picture, state.model);
  return html`
    <p class="lead">${methodOf(method).title} at every stage, from one pass back. Click one to explain there.</p>
    ${job.status === "running" && html`<${Progress} job=${job} text="One pass …" />`}
    ${job.status === "failed" && html`<p class="note">${job.error}</p>`}
    ${job.value && html`<div class="cards">${job.value.layers.map((l) => html`<article class=${`card ${l.name === chosen ? "main" : ""}`} key=${l.name}>
      <${MapView} source=${source} alt=${`Map at ${l.name}`} map=${l.map} size=${model.size} px=${192} />
      <p class="title"><button class="name" aria-pressed=${String(l.name === chosen)} onClick=${() => choose(l.name)}>${l.name}</button></p></article>`)}</div>`}
    ${model.attention && html`<${Tokens} model=${model} source=${source} />`}`;
}

function Tokens({ model, source }) {
  const [token, pick] = useState(null);
  const [layer, at] = useState("");
  const body = { picture: state.picture, model: state.model, target: question().target, token: token || [0, 0], layer: layer || null };
  const job = token && ask("tokens", body);
  const said = job?.value || (token && lastOf(body));
  const [h, w] = said?.grid || [14, 14];
  const first = !token;
  const take = (row, column) => (pick([row, column]), changed());
  const down = (e) => {
    const { x, y } = placeOf(e, e.currentTarget);
    take(Math.min(Math.floor(y * h), h - 1), Math.min(Math.floor(x * w), w - 1));
  };
  if (first) pick([3, 3]); // any one tells how many there are
  const mark = token && { left: `${(100 * token[1]) / w}%`, top: `${(100 * token[0]) / h}%`, width: `${100 / w}%`, height: `${100 / h}%` };
  const number = (label, index, most) => html`<${NumberField} label=${label} value=${token?.[index] ?? 0} min="0" max=${most - 1}
    take=${(n) => take(...(index ? [token[0], n] : [n, token[1]]))} />`;
  return html`<section aria-label="Tokens"><h3>What one token looks at</h3>
    <div class="row">
      ${number("Row", 0, h)} ${number("Column", 1, w)}
      ${said && html`<label>Layer <select value=${layer || said.layers[said.layers.length - 1]} onChange=${(e) => at(e.target.value)}>${said.layers.map((l) => html`<option value=${l}>${l}</option>`)}</select></label>`}
    </div>
    ${job?.status === "failed" && html`<p class="note">${job.error}</p>`}
    <div class="cards three">
      <article class="card"><div class="pickable" onPointerDown=${down}><${MapView} source=${source} alt="The picture; click a token" map=${null} size=${model.size} px=${192}>
        ${mark && html`<div class="token" style=${mark}></div>`}<//></div><p class="title">click a token</p></article>
      ${said && html`<article class="card"><${MapView} source=${source} alt="Its attention" map=${said.attention} size=${model.size} px=${192} /><p class="title">its attention</p></article>
      <article class="card"><${MapView} source=${source} alt="Its relevance" map=${said.relevance} size=${model.size} px=${192} /><p class="title">its relevance</p></article>`}
    </div></section>`;
}

let latest = null;
/** Until the answer is there, what was shown last of this picture. */
function lastOf(body) {
  const job = known("tokens", body);
  if (job?.value) latest = job;
  return latest && latest.body.picture === body.picture && latest.body.model === body.model ? latest.value : null;
}
