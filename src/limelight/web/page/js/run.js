/** A run of the benchmark: what it measured of the picture, how the methods stand, and the strip in the order of that. */

import { html } from "../vendor/preact-htm.js";
import { loadFilm } from "./film.js";
import { ask, explanation, known, methodOf, ofRun, optionsOf, set, state } from "./state.js";
import { number, percent } from "./words.js";

const ORDERS = {
  run: "as in the run",
  best: "best first",
  worst: "worst first",
  apart: "methods furthest apart",
  unsure: "least probable first",
};
const methodsOf = (model = state.model) => state.start.run.models[model];
const metricOf = (label) => state.start.run.metrics.find((m) => m.label === label);
const titleOf = (label) => methodsOf().find((m) => m.label === label)?.title || label;
const arrow = (better) => html`<span role="img" aria-label=${`${better} is better`}>${better === "higher" ? "↑" : "↓"}</span>`;
const same = (a, b) => JSON.stringify(Object.entries(a).sort()) === JSON.stringify(Object.entries(b).sort());
const isNow = (m) => m.name === state.method && same(m.options, optionsOf(m.name));
const explainAs = (m) => ({ method: m.name, options: { ...state.options, [m.name]: m.options } });

/** What to begin with: the run's first method as it was measured. */
export function begin() {
  const first = methodsOf()[0];
  set({ ...explainAs(first), tab: "run", run: { ...state.run, metric: state.start.run.metrics[0].label, method: first.label } });
}

/** The method that is shown, with the options that the run has for another model. */
export function asMeasured(model) {
  const now = state.start.run && methodsOf().find(isNow);
  const then = now && methodsOf(model).find((m) => m.label === now.label);
  return then ? explainAs(then) : {};
}

function choose(patch) {
  set({ run: { ...state.run, ...patch } });
  loadFilm();
}

let latest = null;
/** What was said last of this picture, until more is. */
function lastOf(job, body) {
  if (job?.value) latest = { ...body, said: job.value };
  return latest && latest.picture === body.picture && latest.model === body.model ? latest.said : null;
}

export function Run() {
  const body = ofRun();
  const job = known("run-picture", body);
  const said = lastOf(job, body);
  return html`<${Order} />
    <${Leaders} />
    <section aria-label="This picture in the run"><h3>${state.names[state.picture] || "The picture"}</h3>
    ${job?.status === "failed" && html`<p class="note" role="alert">${job.error}</p>`}
    ${said && (said.measured ? html`<${Verdict} said=${said} /><${Table} said=${said} />` : html`<p class="note">This picture is none of the run's.</p>`)}
    ${said && said.pictures < said.all && html`<p class="note">${said.pictures} of ${said.all} pictures are measured so far. <button class="quiet" onClick=${() => choose({ look: state.run.look + 1 })}>Look again</button></p>`}
    </section>`;
}

function Order() {
  const { metric, method, order, wrong } = state.run;
  const judged = state.start.run.judged.includes(state.model);
  return html`<div class="row">
    <label>Metric <select value=${metric} onChange=${(e) => choose({ metric: e.target.value })}>
      ${state.start.run.metrics.map((m) => html`<option value=${m.label}>${m.title}</option>`)}</select></label>
    <label>Pictures in order <select value=${order} onChange=${(e) => choose({ order: e.target.value })}>
      ${Object.entries(ORDERS).map(([name, title]) => html`<option value=${name}>${title}</option>`)}</select></label>
    ${["best", "worst"].includes(order) && html`<label>by <select value=${method} onChange=${(e) => choose({ method: e.target.value })}>
      ${methodsOf().map((m) => html`<option value=${m.label}>${m.title}</option>`)}</select></label>`}
    ${judged && html`<label class="check"><input type="checkbox" checked=${wrong} onChange=${(e) => choose({ wrong: e.target.checked })} /> only what ${state.model} has wrong</label>`}
  </div>`;
}

function Leaders() {
  const { metric, look } = state.run;
  const job = ask("run-leaders", { model: state.model, metric, look });
  const { title, better } = metricOf(metric);
  const list = job.value?.leaders || [];
  const images = list.map((one) => one.images);
  const [least, most] = [Math.min(...images), Math.max(...images)];
  return html`<section class="leaders" aria-label="Means of the methods">
    <p class="note">${title} ${arrow(better)}${list.length > 0 && html`, mean and 95 % interval over ${least === most ? most : `${least} to ${most}`} pictures; bold: not distinguishable from the best`}</p>
    ${job.status === "failed" && html`<p class="note" role="alert">${job.error}</p>`}
    <ol>${list.map((one) => html`<li key=${one.method} class=${one.like_best ? "best" : ""}>${titleOf(one.method)} <span>${number(one.mean)}${one.low !== null && html` <small>${number(one.low)} to ${number(one.high)}</small>`}</span></li>`)}</ol>
  </section>`;
}

/** The class that was explained, and whether it is the true one. */
function Verdict({ said }) {
  if (said.target === null) return html`<p class="note">Nothing of it is measured by ${state.model}.</p>`;
  const one = explanation()?.value;
  const other = one && one.class === said.target && one.target.against === null && Math.abs(one.probability - said.probability) > 0.01;
  const truth = said.right === true ? ": right" : said.right === false ? html`: wrong, it is <b>${said.truth}</b>` : "";
  return html`<p>${state.start.run.target === "label" ? "Explained is the true class, " : `${state.model} says `}<b>${said.label}</b>, ${percent(said.probability)}${truth}.</p>
    ${other && html`<p class="note" role="alert">Now its probability is ${percent(one.probability)}: the picture, or the network, is another than it was.</p>`}`;
}

function Table({ said }) {
  const metrics = state.start.run.metrics;
  return html`<div class="scroll"><table class="measured"><caption class="hidden">What the run measured of this picture</caption>
    <thead><tr><th scope="col">method</th>${metrics.map((m) => html`<th scope="col" key=${m.label}>${m.title} ${arrow(m.better)}</th>`)}</tr></thead>
    <tbody>${said.rows.map((row) => html`<${Row} key=${row.method} row=${row} method=${methodsOf().find((m) => m.label === row.method)} />`)}</tbody></table></div>
    <p class="hint">Click a method to see its map. Below each number: its place among all pictures, and their median.</p>`;
}

function Row({ row, method }) {
  const errors = new Set(row.cells.map((cell) => cell?.error || ""));
  const failed = errors.size === 1 && [...errors][0];
  return html`<tr class=${isNow(method) ? "now" : ""}>
    <th scope="row"><button class="name" title=${methodOf(method.name)?.summary} aria-pressed=${String(isNow(method))} onClick=${() => set(explainAs(method))}>${method.title}</button>
      ${row.reason && html`<small class="text">empty map: ${row.reason}</small>`}</th>
    ${failed ? html`<td colspan=${row.cells.length}><small class="text words">failed: ${failed}</small></td>` : row.cells.map((cell, i) => html`<${Cell} key=${i} cell=${cell} />`)}</tr>`;
}

const short = (x) => (x === null || Math.abs(x) < 0.001 ? number(x) : Number(x.toPrecision(2)).toString());
const ordinal = (n) => `${n}${n % 100 > 10 && n % 100 < 14 ? "th" : ["th", "st", "nd", "rd"][n % 10] || "th"}`;

function Cell({ cell }) {
  if (!cell) return html`<td><span title="not measured yet">–</span></td>`;
  if (cell.error) return html`<td><small class="text words">failed: ${cell.error}</small></td>`;
  if (cell.value === null) return html`<td><span title="not defined for this picture">–</span></td>`;
  const ahead = cell.of > 1 ? (cell.of - cell.rank) / (cell.of - 1) : 1;
  return html`<td><b>${number(cell.value)}</b>
    <span class="meter" aria-hidden="true"><span style=${{ width: `${100 * ahead}%` }}></span></span>
    <small class="text">${ordinal(cell.rank)} of ${cell.of.toLocaleString("en")}</small><small class="text">median ${short(cell.median)}</small></td>`;
}
