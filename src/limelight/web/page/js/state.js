/** What the page shows, and what has been asked of the server: each question once. */

import { post, stream } from "./api.js";

export const state = {
  start: null, // models, methods, metrics
  error: "",
  picture: "",
  names: {}, // of pictures
  model: "",
  second: "", // model of the last tab
  method: "grad-cam",
  target: { class: null, against: null, kind: "margin" },
  options: {}, // by method: those that differ from the default
  tab: "methods",
  look: { colours: "viridis", opacity: 0.75, threshold: 0, signed: null, on: true },
  run: { metric: "", method: "", order: "run", wrong: false, look: 0 }, // of a run that is looked at
  strategy: null, // of an inspection, whose pictures are in the strip
  measured: {}, // class that the run or the inspection has explained, by model and picture
  brush: { mode: "hide", fill: "blur", size: 10, tool: "paint", area: 0.1, painted: 0, busy: false, reply: null },
};

const listeners = new Set();
let waiting = false;

/** Draws again, soon, and once for all changes until then. */
export function changed() {
  if (waiting) return;
  waiting = true;
  queueMicrotask(() => {
    waiting = false;
    for (const listener of listeners) listener();
  });
}
export const listen = (listener) => (listeners.add(listener), () => listeners.delete(listener));

export function set(patch) {
  Object.assign(state, patch);
  changed();
}
export const setLook = (patch) => set({ look: { ...state.look, ...patch } });
/** How a method's maps are drawn: where they speak for and against by nature, in two colours, unless someone says otherwise. */
export const lookOf = (method) => ({
  ...state.look,
  signed: state.look.signed ?? (state.target.against !== null || ["pixel gradient", "propagation"].includes(methodOf(method).family)),
});
export const setBrush = (patch) => set({ brush: { ...state.brush, ...patch } });
export const fail = (error) => set({ error: error.message || String(error) });

/* Questions: {status: running | done | failed | stopped, value, progress, ahead, error, stop}. */

const STREAMS = new Set(["explain", "curves", "layers", "tokens", "trust", "evaluate"]);
const MOST = 300;
const LONG = 2; // streams at once that take long: a browser opens six connections to a host, for all its pages
const jobs = new Map();

const keyOf = (name, body) => name + JSON.stringify(body);

export const known = (name, body) => jobs.get(keyOf(name, body));

/** Asks, unless this has been asked already; with `anew`, also if it failed or was stopped. */
export function ask(name, body, anew = false) {
  const key = keyOf(name, body);
  const before = jobs.get(key);
  if (before && !(anew && ["failed", "stopped"].includes(before.status))) return before;
  const control = new AbortController();
  const job = { name, body, status: "running", value: null, progress: null, ahead: 0, error: "", began: Date.now() };
  job.stop = () => {
    if (job.status !== "running") return;
    job.status = "stopped";
    control.abort();
    changed();
  };
  jobs.set(key, job);
  for (const [old, one] of jobs) {
    if (jobs.size <= MOST) break;
    if (one.status !== "running") jobs.delete(old);
  }
  job.end = run(job, control.signal);
  return job;
}

async function run(job, signal) {
  try {
    if (takesLong(job)) await inTurn(signal, () => follow(job, signal));
    else if (STREAMS.has(job.name)) await follow(job, signal);
    else job.value = await post(job.name, job.body, signal);
    job.status = "done";
  } catch (error) {
    if (job.status === "running") Object.assign(job, { status: "failed", error: error.message });
  }
  changed();
}

async function follow(job, signal) {
  for await (const [kind, said] of stream(job.name, job.body, signal)) {
    if (kind === "queued") job.ahead = said.ahead;
    else if (kind === "progress") job.progress = said;
    else job.value = said;
    changed();
  }
}

const takesLong = ({ name, body }) =>
  ["curves", "trust", "evaluate"].includes(name) || (name === "explain" && !methodOf(body.method).cheap);

let long = 0;
const waitingLong = [];

/** Does something when few others of its kind are done. */
async function inTurn(signal, work) {
  if (long < LONG) long++;
  else {
    await new Promise((go, giveUp) => {
      waitingLong.push(go);
      signal.addEventListener("abort", () => (waitingLong.splice(waitingLong.indexOf(go) >>> 0, 1), giveUp(signal.reason)));
    });
  }
  try {
    await work();
  } finally {
    const next = waitingLong.shift(); // takes this one's place
    if (next) next();
    else long--;
  }
}

/** Stops what nobody looks at any more. */
export function stopOthers(wanted) {
  for (const [key, job] of jobs) {
    if (job.status === "running" && !wanted(job)) {
      job.stop();
      jobs.delete(key);
    }
  }
}

/* The question that is on the page now, and its parts. */

export const methodOf = (name) => state.start.methods.find((m) => m.name === name);
export const modelOf = (name) => state.start.models.find((m) => m.name === name);
/** The model beside the first: the one that was chosen, or any other. */
export const secondOf = () =>
  [state.second, ...state.start.models.map((m) => m.name)].find((name) => name && name !== state.model) || "";
export const optionsOf = (method) => state.options[method] || {};
export const labelOf = (index, model = state.model) => modelOf(model)?.labels?.[index] ?? `class ${index}`;

export const question = (method = state.method, model = state.model) => ({
  picture: state.picture,
  model,
  target: targetFor(model),
  method,
  options: optionsOf(method),
});

const recorded = (model = state.model) => `${model}/${state.picture}`;
export const ofRun = () => ({ picture: state.picture, model: state.model, look: state.run.look });

export const ofInspection = () => ({ picture: state.picture, model: state.model });

/** Asks what a run or an inspection knows of the picture; tells whether the class that it explained is known, if it has any. */
export function askRecorded() {
  const { run, inspection } = state.start;
  if (!run && state.model !== inspection?.model) return true;
  const job = run ? ask("run-picture", ofRun()) : ask("inspection-picture", ofInspection());
  if (job.value) state.measured[recorded()] = job.value.target;
  return job.status !== "running" || recorded() in state.measured;
}

/** The class that is asked for: if none is, that of the run or the inspection; as another model numbers it: by its label. */
function targetFor(model) {
  const { against, kind } = state.target;
  const index = state.target.class ?? (model === state.model ? (state.measured[recorded()] ?? null) : null);
  const other = modelOf(model);
  const same = (i) => {
    if (i === null || model === state.model) return i;
    const at = other.labels ? other.labels.indexOf(labelOf(i)) : -1;
    return at < 0 ? null : at;
  };
  return { class: same(index), against: same(against), kind };
}

export const explanation = (method, model) => known("explain", question(method, model));

/** How a request names a map that was made before. */
export const about = (one) => ({
  picture: one.picture,
  model: one.model,
  explanation: one.key,
  again: { method: one.method, target: question().target, options: optionsOf(one.method) },
});

export const classesOf = (model = state.model) =>
  known("classify", { picture: state.picture, model, top: 8 })?.value;

/** The class that is explained. */
export const classNow = () => question().target.class ?? explanation()?.value?.class ?? classesOf()?.predicted;

export function explainClass(index, against = false) {
  const now = classNow();
  if (!against) set({ target: { ...state.target, class: index, against: index === state.target.against ? null : state.target.against } });
  else if (index !== now) set({ target: { ...state.target, class: state.target.class ?? now, against: index } });
}

export function choosePicture(id) {
  set({ picture: id, target: { class: null, against: null, kind: state.target.kind }, error: "" });
}
