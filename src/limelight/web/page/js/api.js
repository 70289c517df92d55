/** Asks the server. Every failure is an Error whose message is one plain line. */

const LOST = "Limelight does not answer any more. Is it still running in the terminal?";

async function send(path, init) {
  let reply;
  try {
    reply = await fetch(path, init);
  } catch (error) {
    throw error.name === "AbortError" ? error : new Error(LOST);
  }
  if (reply.ok) return reply;
  const said = await reply.json().catch(() => ({}));
  throw new Error(said.error || `This failed (${reply.status}).`);
}

const asJson = (body, signal) => ({
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify(body),
  signal,
});

export const get = async (path) => (await send(`api/${path}`)).json();
export const post = async (name, body, signal) => (await send(`api/${name}`, asJson(body, signal))).json();
export const file = async (name, body) => (await send(`api/${name}`, asJson(body))).blob();

export async function upload(blob, name) {
  const headers = { "content-type": "application/octet-stream", "x-name": encodeURIComponent(name) };
  return (await send("api/pictures", { method: "POST", headers, body: blob })).json();
}

/** Yields [event, data] of a stream until it ends; one that ends without a result throws. */
export async function* stream(name, body, signal) {
  const reply = await send(`api/${name}`, asJson(body, signal));
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = ""; ; ) {
    const { done, value } = await reader.read().catch((error) => {
      throw error.name === "AbortError" ? error : new Error(LOST);
    });
    if (done) throw new Error(LOST);
    text += value;
    const events = text.split("\n\n");
    text = events.pop();
    for (const event of events) {
      const [, kind, data] = event.match(/^event: (\w+)\ndata: (.*)$/s) || [];
      if (!kind) continue;
      const said = JSON.parse(data);
      if (kind === "failed") throw new Error(said.error);
      yield [kind, said];
      if (kind === "result") return;
    }
  }
}
