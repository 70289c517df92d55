/** A method's settings, made from its own schema, and the code that makes the picture again. */

import { html, useRef, useState } from "../vendor/preact-htm.js";
import { explanation, fail, methodOf, modelOf, optionsOf, set, state } from "./state.js";

function change(name, value, standard) {
  const options = { ...optionsOf(state.method) };
  if (value === undefined || JSON.stringify(value) === JSON.stringify(standard)) delete options[name];
  else options[name] = value;
  set({ options: { ...state.options, [state.method]: options } });
}

export function Settings() {
  const method = methodOf(state.method);
  const own = method.options.filter((o) => o.own !== false);
  const shared = method.options.filter((o) => o.own === false);
  const set_ = Object.keys(optionsOf(state.method)).length;
  return html`<details class="settings"><summary>Settings of ${method.title}${set_ ? ` · ${set_} changed` : ""}</summary>
    <p class="note">${method.summary}</p>
    <div class="form">${own.map((o) => html`<${Field} key=${state.method + o.name} option=${o} />`)}</div>
    ${shared.length > 0 && html`<div class="form shared">${shared.map((o) => html`<${Field} key=${state.method + o.name} option=${o} />`)}</div>`}
    <button class="quiet" disabled=${!set_} onClick=${() => set({ options: { ...state.options, [state.method]: {} } })}>Reset</button>
  </details>
  <${Copy} />`;
}

function Field({ option }) {
  const { name, meaning, kind, choices, low, high, optional } = option;
  const standard = option.default;
  const value = optionsOf(state.method)[name] ?? standard;
  const soon = useRef();
  const id = `option-${name}`;
  const later = (v) => {
    clearTimeout(soon.current);
    soon.current = setTimeout(() => change(name, v, standard), 300);
  };
  const typed = (e) => {
    const text = e.target.value;
    if (kind === "text") return later(text === "" ? undefined : text);
    const n = Number(text);
    if (text === "" || !e.target.checkValidity()) return text === "" && later(undefined);
    later(kind === "integer" ? Math.round(n) : n);
  };
  let input;
  if (kind === "boolean")
    input = html`<input id=${id} type="checkbox" checked=${value === true} onChange=${(e) => change(name, e.target.checked, standard)} />`;
  else if (kind === "choice")
    input = html`<select id=${id} value=${value === null ? "" : String(value)} onChange=${(e) => change(name, choices.find((c) => String(c) === e.target.value), standard)}>
      ${(optional || standard === null) && html`<option value="">–</option>`}
      ${choices.map((c) => html`<option value=${String(c)}>${String(c)}</option>`)}</select>`;
  else if (kind === "text")
    input = html`<input id=${id} type="text" value=${plain(value)} placeholder=${plain(standard)} list=${name === "layer" ? "layers-here" : undefined} onInput=${typed} />`;
  else
    input = html`<input id=${id} type="number" value=${value ?? ""} min=${low ?? undefined} max=${high ?? undefined} step=${kind === "integer" ? 1 : "any"} onInput=${typed} />`;
  return html`<label for=${id}>${name.replaceAll("_", " ")}</label>${input}<p class="note">${meaning}</p>
    ${name === "layer" && html`<datalist id="layers-here">${modelOf(state.model).layers.map((l) => html`<option value=${l} />`)}</datalist>`}`;
}

const plain = (v) => (v === null || v === undefined ? "" : Array.isArray(v) ? v.join(", ") : String(v));

export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = Object.assign(document.createElement("textarea"), { value: text });
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (!done) throw new Error("The browser does not let this page copy; mark the text and copy it yourself.");
  }
}

function Copy() {
  const one = explanation()?.value;
  const [said, say] = useState("");
  if (!one) return null;
  const take = (text, what) =>
    copy(text).then(() => (say(`${what} copied`), setTimeout(() => say(""), 2500)), fail);
  return html`<div class="copy">
    <button class="quiet" onClick=${() => take(one.python, "Python")}>Copy as Python</button>
    ${one.command && html`<button class="quiet" onClick=${() => take(one.command, "Command")}>Copy as command</button>`}
    <span role="status">${said}</span>
  </div>`;
}
