/** Two models side by side: the same picture, class and method. */

import { html } from "../vendor/preact-htm.js";
import { MapView, Progress, shownAs } from "./map.js";
import { ask, modelOf, question, secondOf, set, state } from "./state.js";
import { percent } from "./words.js";

export function Two() {
  const others = state.start.models.filter((m) => m.name !== state.model);
  if (!others.length) return html`<p class="lead">Start Limelight with two models to see them side by side: limelight serve --model ONE --model OTHER</p>`;
  const second = secondOf();
  return html`<label class="pick">Beside ${state.model}: <select value=${second} onChange=${(e) => set({ second: e.target.value })}>
      ${others.map((m) => html`<option value=${m.name}>${m.name}</option>`)}</select></label>
    <div class="pair models">${[state.model, second].map((model) => html`<${Side} key=${model} model=${model} />`)}</div>`;
}

function Side({ model }) {
  const classes = ask("classify", { picture: state.picture, model, top: 8 });
  const job = ask("explain", question(state.method, model));
  const one = job.value;
  return html`<article class="side" aria-label=${model}>
    <h3>${model}</h3>
    <${MapView} source=${shownAs(state.picture, model)} alt=${`The picture as ${model} sees it${one ? `, with ${one.title} for ${one.label}` : ""}`}
      map=${one?.map} size=${modelOf(model).size} px=${320} />
    ${job.status === "running" && html`<${Progress} job=${job} text="running …" />`}
    ${one && html`<p>Why <b>${one.label}</b>? ${percent(one.probability)}</p>`}
    ${(job.error || classes.error) && html`<p class="note">${job.error || classes.error}</p>`}
    <ol class="short">${(classes.value?.classes || []).slice(0, 4).map((c) => html`<li key=${c.index}><span class="label">${c.label}</span>
      <span class="track"><span class="fill" style=${{ width: `${100 * c.probability}%` }}></span></span><span class="value">${percent(c.probability)}</span></li>`)}</ol>
  </article>`;
}
