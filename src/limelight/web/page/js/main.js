/** The page: what is asked of the server as the state changes, and where everything stands. */

import { html, render, useEffect, useReducer } from "../vendor/preact-htm.js";
import * as address from "./address.js";
import { get, upload } from "./api.js";
import { Bars } from "./bars.js";
import * as brush from "./brush.js";
import { Menu } from "./export.js";
import { Film, loadFilm } from "./film.js";
import { Hide } from "./hide.js";
import { Layers } from "./layers.js";
import { Methods } from "./methods.js";
import * as inspection from "./inspection.js";
import { asMeasured, begin, Run } from "./run.js";
import { Stage } from "./stage.js";
import { ask, askRecorded, changed, choosePicture, explanation, fail, labelOf, listen, optionsOf, question, secondOf, set, state, stopOthers } from "./state.js";
import { Theme } from "./theme.js";
import { Trust } from "./trust.js";
import { Two } from "./two.js";
import { percent } from "./words.js";

const TABS = { run: ["Run", Run], inspection: ["Inspection", inspection.Inspection], methods: ["Methods", Methods], hide: ["Hide", Hide], layers: ["Layers", Layers], trust: ["Trust", Trust], two: ["Two models", Two] };

/** Asks for what is on the page now, and stops what is not any more. */
function refresh() {
  if (!state.picture || !state.model) return;
  brush.follow();
  stopOthers(({ name, body }) => {
    if (name === "evaluate" || name === "run-leaders") return body.model === state.model;
    if (body.picture !== state.picture || ![state.model, secondOf()].includes(body.model)) return false;
    const target = body.target || body.again?.target;
    if (target && body.model === state.model && JSON.stringify(target) !== JSON.stringify(question().target)) return false;
    if (name === "explain") return JSON.stringify(body) === JSON.stringify(question(body.method, body.model));
    return true;
  });
  if (askRecorded()) ask("explain", question());
  ask("classify", { picture: state.picture, model: state.model, top: 8 });
  address.write();
}

function spoken() {
  const one = explanation()?.value;
  if (!one?.final) return "";
  const against = state.target.against === null ? "" : ` rather than ${labelOf(state.target.against)}`;
  return `${one.title}: why ${one.label}${against}, ${percent(one.probability)}`;
}

function App() {
  const [, draw] = useReducer((n) => n + 1, 0);
  useEffect(() => listen(() => (refresh(), draw())), []);
  const [, Panel] = TABS[state.tab];
  const failed = explanation()?.status === "failed" && explanation().error;
  const error = state.error || failed;
  return html`
    <header>
      <h1><img src="icon.svg" alt="" width="22" height="22" /> Limelight</h1>
      <label class="pick">Model
        <select value=${state.model} onChange=${(e) => chooseModel(e.target.value)}>
          ${state.start.models.map((m) => html`<option value=${m.name}>${m.name}</option>`)}
        </select>
      </label>
      ${state.start.inspection && html`<a href="inspection.html">Inspection</a>`}
      <${Menu} />
      <${Theme} />
    </header>
    ${error && html`<div class="error" role="alert"><span>${error}</span>
      <button class="quiet" onClick=${() => (failed && !state.error ? ask("explain", question(), true) : set({ error: "" }), changed())}>
        ${failed && !state.error ? "Try again" : "Dismiss"}</button></div>`}
    <${Film} take=${take} />
    <main>
      <section class="left" aria-label="The picture"><${Stage} /></section>
      <section class="right">
        <${Bars} />
        <${Tabs} />
        <div id="panel" role="tabpanel" aria-labelledby=${`tab-${state.tab}`} tabindex="-1"><${Panel} /></div>
      </section>
    </main>
    <div class="hidden" aria-live="polite" id="said">${spoken()}</div>
  `;
}

function Tabs() {
  const names = Object.keys(TABS).filter((name) => !["run", "inspection"].includes(name) || state.start[name]);
  const turn = (e) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
    if (!step) return;
    const next = names[(names.indexOf(state.tab) + step + names.length) % names.length];
    set({ tab: next });
    document.getElementById(`tab-${next}`).focus();
  };
  return html`<div class="tabs" role="tablist" aria-label="What to look at" onKeyDown=${turn}>
    ${names.map((name) => html`<button role="tab" id=${`tab-${name}`} aria-selected=${String(name === state.tab)} aria-controls="panel"
      tabindex=${name === state.tab ? 0 : -1} onClick=${() => set({ tab: name })}>${TABS[name][0]}</button>`)}
  </div>`;
}

function chooseModel(model) {
  const { class: index, against, kind } = question(state.method, model).target;
  const method = methodFits(state.method, model) ? state.method : "grad-cam";
  set({ model, method, ...asMeasured(model), second: state.second === model ? state.model : state.second, target: { class: index, against, kind }, error: "" });
  if (state.start.run) loadFilm();
}

const methodFits = (name, model) =>
  !state.start.methods.find((m) => m.name === name).tokens_only || state.start.models.find((m) => m.name === model).attention;

/** Takes pictures that were dropped, pasted or picked, and shows the first. */
async function take(files) {
  const pictures = [...files].filter((f) => f.type.startsWith("image/") || !f.type);
  if (!pictures.length) return fail("That is no picture. Drop a PNG, JPEG, WebP, GIF, BMP or TIFF file.");
  let first = true;
  for (const file of pictures) {
    if (file.size > state.start.limits.bytes) {
      fail(`${file.name} is larger than ${state.start.limits.bytes >> 20} MB.`);
      continue;
    }
    try {
      const made = await upload(file, file.name || "pasted picture");
      state.names[made.id] = made.name;
      if (first) choosePicture(made.id);
      first = false;
    } catch (error) {
      fail(`${file.name}: ${error.message}`);
    }
  }
  state.run = { ...state.run, order: "run", wrong: false }; // in which those that are dropped stand, too
  state.strategy = null;
  await loadFilm();
}

function listenToDrops() {
  let depth = 0;
  const over = (on) => document.body.classList.toggle("over", on);
  const carries = (e) => [...(e.dataTransfer?.types || [])].includes("Files");
  addEventListener("dragenter", (e) => carries(e) && (depth++, over(true)));
  addEventListener("dragleave", (e) => carries(e) && --depth <= 0 && ((depth = 0), over(false)));
  addEventListener("dragover", (e) => e.preventDefault());
  addEventListener("drop", (e) => {
    e.preventDefault();
    depth = 0;
    over(false);
    if (e.dataTransfer.files.length) take(e.dataTransfer.files);
  });
  addEventListener("paste", (e) => e.clipboardData.files.length && take(e.clipboardData.files));
}

async function open() {
  const root = document.getElementById("app");
  try {
    const [start, page] = await Promise.all([get("start"), get("pictures?first=0&count=60")]);
    const names = Object.fromEntries(page.pictures.map((p) => [p.id, p.name]));
    set({ start, names, model: start.models[0].name, second: start.models[1]?.name || "", picture: page.pictures[0]?.id || "" });
    if (start.run) begin();
    if (start.inspection) inspection.begin();
    address.read();
    await loadFilm(0, state.strategy === null ? page : null);
    refresh();
    root.textContent = "";
    render(html`<${App} />`, root);
    changed();
    addEventListener("hashchange", address.read);
    listenToDrops();
  } catch (error) {
    root.innerHTML = "";
    const line = Object.assign(document.createElement("p"), { className: "error", textContent: error.message });
    line.setAttribute("role", "alert");
    root.append(line);
  }
}

open();
