/** The film strip: pages of thumbnails. */

import { html, useRef } from "../vendor/preact-htm.js";
import { get, post } from "./api.js";
import { NumberField } from "./number.js";
import { changed, choosePicture, fail, state } from "./state.js";
import { number } from "./words.js";

const COUNT = 60;
const film = { first: 0, total: 0, pictures: [] };

let asked = 0;

/** Some of the pictures: of a run in the order that is chosen there, else as they came. */
function pageOf(first) {
  const { order, wrong, method, metric, look } = state.run;
  if (state.strategy !== null) return post("inspection-strip", { model: state.model, strategy: state.strategy, first, count: COUNT });
  if (order === "run" && !wrong) return get(`pictures?first=${first}&count=${COUNT}`);
  return post("run-strip", { model: state.model, order, method: method || null, metric: metric || null, wrong, first, count: COUNT, look });
}

export async function loadFilm(first = 0, page = null) {
  const mine = ++asked;
  try {
    const said = page || (await pageOf(first));
    if (mine !== asked) return; // something else has been asked since
    Object.assign(film, { first, total: said.total, pictures: said.pictures });
    for (const one of said.pictures) state.names[one.id] = one.name;
    state.picture ||= said.pictures[0]?.id || "";
    changed();
  } catch (error) {
    fail(error);
  }
}

export function Film({ take }) {
  const pick = useRef();
  const strip = useRef();
  const go = (first) => {
    const last = Math.floor((film.total - 1) / COUNT) * COUNT;
    loadFilm(Math.min(Math.max(0, first), last)).then(() => (strip.current.scrollLeft = 0));
  };
  const jump = (n) => go(Math.floor((n - 1) / COUNT) * COUNT);
  const last = film.first + film.pictures.length;
  return html`<nav class="film" aria-label="Pictures">
    <button class="open" onClick=${() => pick.current.click()} title="or drop one anywhere, or paste one"><b aria-hidden="true">+</b>Open a picture</button>
    <input type="file" accept="image/*" multiple hidden ref=${pick} aria-label="Open a picture"
      onChange=${(e) => (take(e.target.files), (e.target.value = ""))} />
    <ul ref=${strip}>
      ${film.pictures.map((p) => html`<li key=${p.id}><button aria-pressed=${String(p.id === state.picture)}
        title=${p.label ? `${p.name}: ${p.label}` : p.name} onClick=${() => choosePicture(p.id)}>
        <img src=${`api/pictures/${p.id}/thumb`} alt=${p.name} loading="lazy" width="64" height="64" />${"value" in p && p.value !== undefined && state.run.order !== "run" && html`<span class="mark">${number(p.value)}</span>`}</button></li>`)}
      ${film.total === 0 && html`<li class="note">None of the pictures.</li>`}
    </ul>
    ${film.total > COUNT && html`<div class="pages">
      <button class="quiet" aria-label="Pictures before" disabled=${film.first === 0} onClick=${() => go(film.first - COUNT)}>‹</button>
      <${NumberField} label="First picture shown" hidden value=${film.first + 1} min="1" max=${film.total} take=${jump} />
      <span>– ${last} of ${film.total.toLocaleString("en")}</span>
      <button class="quiet" aria-label="Pictures after" disabled=${last >= film.total} onClick=${() => go(film.first + COUNT)}>›</button>
    </div>`}
  </nav>`;
}
