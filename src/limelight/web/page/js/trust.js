/** How far to trust a map: metrics beside those of maps that know nothing, and the sanity strip; then over many pictures. */

import { html, useState } from "../vendor/preact-htm.js";
import { MapView, Progress, shownAs } from "./map.js";
import { about, ask, changed, explanation, known, methodOf, modelOf, state } from "./state.js";
import { number } from "./words.js";

export function Trust() {
  const one = explanation()?.value;
  return html`${one?.final ? html`<${Picture} one=${one} />` : html`<p class="note">When the map is there, it can be measured.</p>`}<${Folder} />`;
}

function Picture({ one }) {
  const body = about(one);
  const job = known("trust", body);
  const start = () => (ask("trust", body, true), changed());
  const said = job?.value;
  return html`<p class="lead">Is ${one.title} better than maps that know nothing of the network?</p>
    ${(!job || ["failed", "stopped"].includes(job.status)) && html`<button class="first" onClick=${start}>Measure this map</button>`}
    ${job?.status === "failed" && html`<p class="note">${job.error}</p>`}
    ${job?.status === "running" && html`<${Progress} job=${job} text="Measuring …" />`}
    ${said && html`<${Table} said=${said} title=${one.title} />
      <h3>Does it depend on what the network has learned?</h3>
      <p class="note">From left to right more layers are made random. A map that stays the same shows the picture, not the network.</p>
      <div class="cards">${said.sanity.map((s) => html`<article class="card" key=${s.layer}>
        <${MapView} source=${shownAs(one.picture, one.model)} alt=${`Map when layers from the top to ${s.layer} are random`} map=${s.map} size=${modelOf(one.model).size} px=${160} />
        <p class="title">${s.layer}</p><p class="cost">like the map: ${number(s.correlation)}</p></article>`)}</div>`}`;
}

const arrow = (better) => (better === "higher" ? "↑" : "↓");
/** Whether a map is better than both that know nothing, or worse than one of them. */
function verdict(m) {
  const others = [m.random?.value, m.centre?.value].filter((v) => v != null);
  if (m.value === null || !others.length) return "";
  const ahead = others.map((v) => (m.better === "higher" ? m.value - v : v - m.value));
  return ahead.every((d) => d > 0) ? "good" : ahead.some((d) => d < 0) ? "bad" : "";
}

function Table({ said, title }) {
  return html`<div class="scroll"><table><caption class="hidden">Metrics of this map</caption>
    <thead><tr><th scope="col">metric</th><th scope="col">${title}</th><th scope="col">random map</th><th scope="col">centre map</th></tr></thead>
    <tbody>${said.metrics.map((m) => html`<tr key=${m.name} title=${m.text || ""}>
      <th scope="row">${m.title} <span title=${`${m.better} is better`} aria-label=${`${m.better} is better`} role="img">${arrow(m.better)}</span></th>
      <td class=${verdict(m)}><b>${number(m.value)}</b><${Meter} m=${m} value=${m.value} /></td>
      <td>${number(m.random?.value)}<${Meter} m=${m} value=${m.random?.value} /></td>
      <td>${number(m.centre?.value)}<${Meter} m=${m} value=${m.centre?.value} /></td></tr>`)}
    </tbody></table></div>`;
}

function Meter({ m, value }) {
  if (value == null || m.low === null || m.high === null) return null;
  const at = Math.min(Math.max((value - m.low) / (m.high - m.low), 0), 1);
  return html`<span class="meter" aria-hidden="true"><span style=${{ width: `${100 * at}%` }}></span></span>`;
}

const CHOSEN = ["average-drop", "insertion", "deletion"];

function Folder() {
  const { metrics, total_pictures: total } = state.start;
  const [methods, putMethods] = useState([...new Set([state.method, "layer-cam", "random-map", "centre-map"])]);
  const [chosen, putMetrics] = useState(CHOSEN.filter((n) => metrics.some((m) => m.name === n)));
  const [body, ask_] = useState(null);
  const job = body && known("evaluate", body);
  const shown = [...new Set([...methods, state.method, "grad-cam", "eigen-cam"])].filter(methodOf);
  const flip = (list, put, name) => put(list.includes(name) ? list.filter((n) => n !== name) : [...list, name]);
  const start = () => {
    const next = { pictures: "all", model: state.model, methods, metrics: chosen };
    ask("evaluate", next, true);
    ask_(next);
  };
  const rows = job?.value?.rows;
  return html`<section class="folder" aria-label="Over many pictures"><h3>Over many pictures</h3>
    <p class="note">${total > 200 ? `200 of the ${total.toLocaleString("en")} pictures` : `All ${total} pictures`}, with intervals: one picture proves little.</p>
    <fieldset class="chips"><legend>Methods</legend>${shown.map((n) => html`<label><input type="checkbox" checked=${methods.includes(n)} onChange=${() => flip(methods, putMethods, n)} /><span>${methodOf(n).title}</span></label>`)}
      <label class="add"><span class="hidden">Add a method</span><select value="" onChange=${(e) => (e.target.value && flip(methods, putMethods, e.target.value), (e.target.value = ""))}>
        <option value="">add …</option>${state.start.methods.filter((m) => !shown.includes(m.name)).map((m) => html`<option value=${m.name}>${m.title}</option>`)}</select></label></fieldset>
    <fieldset class="chips"><legend>Metrics</legend>${metrics.filter((m) => CHOSEN.includes(m.name) || chosen.includes(m.name) || m.name === "adcc").map((m) => html`<label title=${m.summary}><input type="checkbox" checked=${chosen.includes(m.name)} onChange=${() => flip(chosen, putMetrics, m.name)} /><span>${m.title}</span></label>`)}
      <label class="add"><span class="hidden">Add a metric</span><select value="" onChange=${(e) => (e.target.value && flip(chosen, putMetrics, e.target.value), (e.target.value = ""))}>
        <option value="">add …</option>${metrics.filter((m) => !CHOSEN.includes(m.name) && !chosen.includes(m.name) && m.name !== "adcc").map((m) => html`<option value=${m.name}>${m.title}</option>`)}</select></label></fieldset>
    ${job?.status === "running" ? html`<${Progress} job=${job} text="Evaluating …" />` : html`<button class="first" disabled=${!methods.length || !chosen.length} onClick=${start}>Evaluate</button>`}
    ${job?.status === "failed" && html`<p class="note">${job.error}</p>`}
    ${rows && html`<${Rows} rows=${rows} />`}
  </section>`;
}

function Rows({ rows }) {
  const names = [...new Set(rows.map((r) => r.metric))];
  const methods = [...new Set(rows.map((r) => r.method))];
  const cell = (method, metric) => rows.find((r) => r.method === method && r.metric === metric);
  const metricOf = (name) => state.start.metrics.find((m) => m.name === name);
  return html`<div class="scroll"><table><caption>Means with 95 % intervals; bold: the best, and what is not distinguishable from it</caption>
    <thead><tr><th scope="col">method</th>${names.map((n) => html`<th scope="col">${metricOf(n)?.title || n} <span role="img" aria-label=${`${metricOf(n)?.better} is better`}>${arrow(metricOf(n)?.better)}</span></th>`)}</tr></thead>
    <tbody>${methods.map((m) => html`<tr key=${m}><th scope="row">${methodOf(m)?.title || m}</th>${names.map((n) => {
      const r = cell(m, n);
      if (!r) return html`<td>–</td>`;
      const value = html`${number(r.value)} <small>${number(r.low)} to ${number(r.high)}</small>`;
      return html`<td title=${r.text || ""}>${r.best || r.like_best ? html`<b>${value}</b>` : value}${r.text ? html`<small class="text">${r.text}</small>` : ""}</td>`;
    })}</tr>`)}</tbody></table></div>`;
}
