/** Many methods side by side: quick ones at once, the others at a price. */

import { html, useState } from "../vendor/preact-htm.js";
import { MapView, Progress, shownAs } from "./map.js";
import { ask, changed, explanation, lookOf, modelOf, question, set, state } from "./state.js";
import { passes, seconds } from "./words.js";

const FIRST = ["grad-cam", "layer-cam", "hires-cam", "eigen-cam", "grad-eclip", "legrad", "generic-attention", "attn-lrp", "lrp-epsilon-plus", "guided-grad-cam", "input-x-gradient", "relevance-cam"];
const SHOWN = 8;
const PATIENCE = 8; // seconds of work that is done without being asked for
const AT_ONCE = 2;

const rank = (name) => (FIRST.indexOf(name) + 1 || FIRST.length + 1);
const byRank = (a, b) => rank(a.name) - rank(b.name);

const pricesOf = () => ask("prices", { picture: state.picture, model: state.model });

/** Runs the quick methods that are shown, few at a time, as long as they stay cheap altogether. */
function runQuick(methods, prices) {
  let spent = 0;
  let running = 0;
  for (const { name } of methods) {
    spent += prices[name].seconds;
    const job = explanation(name);
    if (job?.status === "running") running++;
    if (!job && running < AT_ONCE && spent < PATIENCE) {
      ask("explain", question(name));
      running++;
    }
  }
}

export function Methods() {
  const [all, showAll] = useState(false);
  const [more, showMore] = useState(false);
  const main = explanation();
  const job = main?.status === "running" && !main.value ? null : pricesOf(); // the large map goes first
  const prices = job?.value?.prices;
  if (job?.status === "failed") return html`<p class="note">${job.error}</p>`;
  if (!prices) return html`<p class="note" role="status">Working out what each method takes …</p>`;
  const here = state.start.methods.filter((m) => prices[m.name]);
  const quick = here.filter((m) => m.cheap && m.family !== "baseline").sort(byRank);
  const shown = all ? [...quick, ...here.filter((m) => m.family === "baseline")] : quick.slice(0, SHOWN);
  const dear = here.filter((m) => !m.cheap).sort((a, b) => prices[a.name].seconds - prices[b.name].seconds);
  const rest = dear.filter((m) => !explanation(m.name));
  const others = state.start.methods.length - here.length;
  runQuick(shown, prices);
  return html`
    <div class="cards">${[...shown, ...dear.filter((m) => explanation(m.name))].map((m) => html`<${Card} key=${m.name} method=${m} price=${prices[m.name]} />`)}</div>
    <button class="quiet" aria-expanded=${String(all)} onClick=${() => showAll(!all)}>${all ? "Show fewer" : `Show all ${here.filter((m) => m.cheap).length} quick methods`}</button>
    <h3>Slower ones, when you ask</h3>
    <ul class="prices">${rest.slice(0, more ? undefined : SHOWN).map((m) => html`<${Price} key=${m.name} method=${m} price=${prices[m.name]} />`)}</ul>
    ${rest.length > SHOWN && html`<button class="quiet" aria-expanded=${String(more)} onClick=${() => showMore(!more)}>${more ? "Show fewer" : `Show all ${rest.length} slower methods`}</button>`}
    ${others > 0 && html`<p class="note">${others} more methods need another kind of network than ${state.model}.</p>`}`;
}

function Price({ method, price }) {
  const run = () => (ask("explain", question(method.name), true), changed());
  return html`<li><span class="label" title=${method.summary}>${method.title}</span>
    <span class="cost">${passes(price.passes)} · ~${seconds(price.seconds)}</span>
    <button class="run" aria-label=${`Run ${method.title}`} onClick=${run}>Run</button></li>`;
}

function Card({ method, price }) {
  const { name, title, summary } = method;
  const job = explanation(name);
  const one = job?.value;
  const main = name === state.method;
  const { size } = modelOf(state.model);
  const run = () => (ask("explain", question(name), true), changed());
  const price_ = one ? `${passes(one.passes)} · ${seconds(one.seconds)}` : `${passes(price.passes)} · ~${seconds(price.seconds)}`;
  return html`<article class=${`card ${main ? "main" : ""} ${one ? "" : "empty"}`}>
    ${one && html`<${MapView} source=${shownAs(state.picture, state.model)} alt=${`${title} for ${one.label}`} map=${one.map} size=${size} px=${192} look=${lookOf(name)} />`}
    <p class="title"><button class="name" title=${summary} aria-pressed=${String(main)} onClick=${() => set({ method: name })}>${title}</button></p>
    <p class="cost">${price_}</p>
    ${one?.degenerate && html`<p class="note">${one.reason || "This map is empty."}</p>`}
    ${job?.status === "running" && html`<${Progress} job=${job} text=${one ? "so far …" : "running …"} />`}
    ${job?.status === "failed" && html`<p class="note">${job.error}</p>`}
    ${(!job || ["stopped", "failed"].includes(job.status)) && html`<button class="run" aria-label=${`Run ${title}`} onClick=${run}>${job ? "Run again" : "Run"}</button>`}
  </article>`;
}
