// Asking our own server; an error carries its code, message, hint and facts as the server said them.
export class Refused extends Error {
  constructor(said, status) {
    super(said.message || `${status}`);
    Object.assign(this, { code: said.code || "error", hint: said.hint || "", facts: said.facts || {}, status });
  }
}

async function ask(method, path, body) {
  const options = { method, headers: { accept: "application/json" } };
  if (body instanceof Blob) {
    options.headers["content-type"] = "application/octet-stream";
    options.body = body;
  } else if (body !== undefined) {
    options.headers["content-type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  const answer = await fetch(path, options);
  const text = await answer.text();
  let said = {};
  try {
    said = text ? JSON.parse(text) : {};
  } catch {
    said = {};
  }
  if (!answer.ok) throw new Refused(said, answer.status);
  return said;
}

export const get = (path) => ask("GET", `/api/v1/${path}`);
export const post = (path, body = {}) => ask("POST", `/api/v1/${path}`, body);
export const put = (path, body) => ask("PUT", `/api/v1/${path}`, body);
export const patch = (path, body) => ask("PATCH", `/api/v1/${path}`, body);

// A picture's bytes, as they are; answers {sha256}.
export const putBlob = (blob) => ask("PUT", "/api/v1/blobs", blob);

export const media = (id) => `/media/${id}`;
export const thumbnail = (id) => `/media/${id}/thumb`;

// The number of the page's newest build.
export async function newestBuild() {
  const answer = await fetch("/page.json", { cache: "no-store" });
  return (await answer.json()).build;
}
