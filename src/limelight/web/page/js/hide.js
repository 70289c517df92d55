/** Hide parts by hand, hide what the map says, and as much at random. */

import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { canUndo, clear, painted, undo } from "./brush.js";
import { Curves } from "./curves.js";
import { about, ask, changed, explanation, setBrush, state } from "./state.js";
import { number, percent, share } from "./words.js";

export const FILLS = { blur: "a blur", mean: "the mean colour", inpaint: "the surroundings", black: "black" };

export function Choice({ legend, name, value, choices, change }) {
  return html`<fieldset class="choice"><legend>${legend}</legend>
    ${Object.entries(choices).map(([key, text]) => html`<label><input type="radio" name=${name} checked=${key === value} onChange=${() => change(key)} /><span>${text}</span></label>`)}
  </fieldset>`;
}

export function Hide() {
  const { mode, fill, size, tool, painted: covered, reply } = state.brush;
  const turn = (patch) => (setBrush(patch), covered && painted());
  return html`
    <p class="lead">Paint on the picture; the classes follow.</p>
    <div class="row">
      <${Choice} legend="What I paint is" name="mode" value=${mode} choices=${{ hide: "hidden", keep: "all that is kept" }} change=${(v) => turn({ mode: v })} />
      <${Choice} legend="Brush" name="tool" value=${tool} choices=${{ paint: "paint", erase: "erase" }} change=${(v) => setBrush({ tool: v })} />
      <label>Covered with <select value=${fill} onChange=${(e) => turn({ fill: e.target.value })}>
        ${Object.entries(FILLS).map(([k, v]) => html`<option value=${k}>${v}</option>`)}</select></label>
      <label>Size <input type="range" min="2" max="40" value=${size} onInput=${(e) => setBrush({ size: Number(e.target.value) })} /></label>
      <span class="buttons"><button disabled=${!canUndo()} onClick=${undo}>Undo</button>
      <button disabled=${!covered} onClick=${clear}>Clear</button></span>
    </div>
    <p class="verdict" role="status">${reply
      ? html`${share(covered)} painted: <b>${percent(reply.before.probability)} → ${percent(reply.probability)}</b>, score ${number(reply.before.score)} → ${number(reply.score)}`
      : "Nothing is painted yet."}</p>
    <${Compare} />`;
}

/** "What this map says" beside "as much at random". */
function Compare() {
  const { area, fill } = state.brush;
  const one = explanation()?.value;
  const [last, keep] = useState(null);
  const body = one?.final && { ...about(one), area, fill };
  useEffect(() => {
    if (!body) return;
    const soon = setTimeout(() => {
      const job = ask("compare-hiding", body);
      changed();
      job.end.then(() => keep(job));
    }, 150);
    return () => clearTimeout(soon);
  }, [one?.key, one?.final, area, fill]);
  const mine = last && one && last.body.explanation === one.key;
  const said = mine && last.value;
  const side = (title, part, extra) => html`<figure>
    <img src=${part.shown} alt=${`The picture without ${title}`} />
    <figcaption>${title}<b>${percent(part.probability)}</b>${extra}</figcaption></figure>`;
  return html`<section class="compare" aria-label="What the map says, and as much at random">
    <h3>Hide what the map says</h3>
    <label class="wide">Area <input type="range" min="0.01" max="0.6" step="0.01" value=${area} aria-valuetext=${share(area)} onInput=${(e) => setBrush({ area: Number(e.target.value) })} /> <output>${share(area)}</output></label>
    ${mine && last.error && html`<p class="note">${last.error}</p>`}
    ${said && html`<div class="pair">
      ${side("what the map says", said.map)}
      ${side("as much at random", said.random, said.random.n > 1 && html`<small>${percent(said.random.low)} to ${percent(said.random.high)} in ${said.random.n} tries</small>`)}
    </div><p class="note">Nothing hidden: ${percent(said.before.probability)}. A map that finds what the network needs takes away more than chance does.</p>`}
    <${Curves} one=${one} />
  </section>`;
}
