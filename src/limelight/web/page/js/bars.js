/** The top classes: click one to explain it, with Shift against it; or search. */

import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { ask, changed, classNow, explainClass, explanation, known, labelOf, modelOf, set, state } from "./state.js";
import { percent } from "./words.js";

/** What is asked now, in a sentence. */
export function Asked() {
  const { class: index, against, kind } = state.target;
  const now = classNow();
  if (now === undefined || now === null) return html`<h2 class="asked">…</h2>`;
  const drop = () => set({ target: { ...state.target, against: null } });
  return html`<h2 class="asked">Why <em>${labelOf(now)}</em>${
    against !== null ? html`, rather than <em>${labelOf(against)}</em>?` : "?"}</h2>
    ${against !== null && html`<div class="against">
      <label>Score <select value=${kind} onChange=${(e) => set({ target: { ...state.target, kind: e.target.value } })}>
        <option value="margin">margin: one less the other</option>
        <option value="finer">finer: one less 0.6 of the other</option></select></label>
      <button class="quiet" onClick=${drop}>Not against</button>
    </div>`}
    ${index !== null && against === null && html`<button class="quiet" onClick=${() => set({ target: { ...state.target, class: null } })}>Back to the ${state.start.run ? "run's" : "top"} class</button>`}`;
}

export function Bars() {
  const [find, search] = useState("");
  const [asked, put] = useState("");
  useEffect(() => {
    const soon = setTimeout(() => put(find.trim()), 150);
    return () => clearTimeout(soon);
  }, [find]);
  const question = { picture: state.picture, model: state.model, top: 12, find: asked };
  useEffect(() => {
    if (asked) (ask("classify", question), changed());
  }, [asked, state.picture, state.model]);

  const found = asked && known("classify", question);
  const first = known("classify", { picture: state.picture, model: state.model, top: 8 });
  const hidden = state.tab === "hide" && state.brush.reply;
  const top = first?.value?.classes;
  const one = explanation()?.value; // whose class may be none of the likeliest
  const all = top && one && !top.some((c) => c.index === one.class) ? [...top, { index: one.class, label: one.label, probability: one.probability }] : top;
  const classes = asked ? found?.value?.classes : hidden ? hidden.classes : all;
  const before = hidden && !asked ? Object.fromEntries((first?.value?.classes || []).map((c) => [c.index, c.probability])) : {};
  const many = modelOf(state.model).classes > 8;
  return html`<section class="bars" aria-label="Classes">
    <div class="head"><div class="why"><${Asked} /></div>
      ${many && html`<input type="search" placeholder=${`Find among ${modelOf(state.model).classes} classes`} aria-label="Find a class" value=${find}
        onInput=${(e) => search(e.target.value)} />`}
    </div>
    ${first?.status === "failed" && html`<p class="note">${first.error}</p>`}
    <ol>${(classes || []).map((c) => html`<${Bar} key=${c.index} one=${c} before=${before[c.index]} />`)}</ol>
    ${asked && found?.value && html`<p class="note">${found.value.total === 0 ? "No class of that name." :
      found.value.total > found.value.classes.length ? `${found.value.total} classes; these are the likeliest.` : ""}</p>`}
    ${!asked && html`<p class="hint">Click a class to see what speaks for it; “vs” (or Shift and click) asks: rather than that one?</p>`}
  </section>`;
}

function Bar({ one, before }) {
  const { index, label, probability } = one;
  const now = classNow();
  const role = index === now ? "now" : index === state.target.against ? "other" : "";
  return html`<li class=${role}>
    <button class="bar" aria-pressed=${String(index === now)} onClick=${(e) => explainClass(index, e.shiftKey)}>
      <span class="label">${label}</span>
      <span class="track"><span class="fill" style=${{ width: `${100 * probability}%` }}></span>
        ${before !== undefined && html`<span class="tick" style=${{ left: `${100 * before}%` }}></span>`}</span>
      <span class="value">${percent(probability)}</span>
      ${before !== undefined && html`<span class="hidden">before: ${percent(before)}</span>`}
    </button>
    <button class="vs quiet" title="rather than this one?" aria-pressed=${String(index === state.target.against)} aria-label=${`against ${label}`} disabled=${index === now} onClick=${() => explainClass(index, true)}>vs</button>
  </li>`;
}
