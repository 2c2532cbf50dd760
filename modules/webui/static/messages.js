// Which words tell which event or error: the server says codes and facts, the page says it in the visitor's language.
import { post } from "./api.js";
import { has, say } from "./boot.js";
import { apply } from "./form.js";
import { notice } from "./notices.js";
import { change } from "./store.js";

const WORDS = {
  set_aside: "set_aside",
  out_of_memory: "out_of_memory",
  not_finite: "not_finite",
  disk_full: "disk_full",
  model: "failed",
};

// The sentence for an error of the server: our words where we have them, else the server's own.
export function sentence(problem) {
  const facts = problem.facts || {};
  if (problem.code === "bad_value" && facts.low !== undefined && facts.high !== undefined) {
    const value = facts.value ?? "";
    return say("notice.bad_value", { field: fieldName(problem.field), v: value, lo: facts.low, hi: facts.high });
  }
  const key = `notice.${WORDS[problem.code] || problem.code}`;
  if (has(key) && !WORDS_NEEDING_FACTS.test(say(key, facts))) return say(key, facts);
  return [problem.message, problem.hint].filter(Boolean).join(" ");
}

const WORDS_NEEDING_FACTS = /\{\w+\}/;

function fieldName(field) {
  const last = (field || "").split(".").pop();
  for (const key of [`control.${last}.label`, `control.${{ checkpoint: "checkpoint" }[last]}.label`]) {
    if (has(key)) return say(key);
  }
  return field || "";
}

// Warnings of a job that goes on.
export function warn(event) {
  const facts = event.facts || {};
  const x = facts.extension || facts.name || "";
  const actions = [];
  let text = sentence({ ...event, facts: { ...facts, x } });
  if (event.code === "extension_failed") {
    text = say("notice.extension_failed", { x });
    actions.push([say("notice.details"), () => notice("details", event.message, { kind: "warn" })]);
    actions.push([say("notice.switch_off"), () => post(`extensions/${x}`, { enabled: false })]);
  }
  notice(`warned-${event.code}-${x}`, text, { kind: "warn", actions });
}

// A job that was stopped before all of its pictures were made.
export function stopped(event) {
  const { done: k, count: n } = event;
  const rest = [say("notice.make_rest"), () => post(`jobs/${event.job}/again`)];
  notice(`stopped-${event.job}`, say("notice.stopped", { k, n }), { actions: k < n ? [rest] : [], forMs: 12000 });
}

export function retried(event) {
  notice(`retried-${event.job}`, say("notice.retried", { k: event.done, n: event.count }), { kind: "warn" });
}

export function pageIsOld() {
  notice("page_old", say("notice.page_old"), {
    kind: "warn",
    closable: false,
    actions: [[say("notice.reload"), () => location.reload()]],
  });
}

// What an error offers to do about it: [text, function] pairs.
export function remedies(problem, job) {
  const offers = [];
  const facts = problem.facts || {};
  if (problem.code === "set_aside") offers.push([say("notice.try_again"), () => post(`jobs/${job}/again`)]);
  else if (problem.code === "out_of_memory" && facts.width && facts.height) {
    const set = { width: facts.width, height: facts.height };
    offers.push([say("notice.use_size", { w: facts.width, h: facts.height }), () => apply({ set })]);
  } else if (problem.code === "disk_full") offers.push([say("notice.save_again"), () => post("queue/resume")]);
  else if (job) offers.push([say("notice.try_again"), () => post(`jobs/${job}/again`)]);
  return offers;
}

export function connection() {
  notice("connection", say("notice.connection_lost"), { kind: "warn", closable: false });
}

export function connected() {
  notice("connection", say("notice.connection_back"), { forMs: 3000 });
  change();
}

// A job that failed while its owner looked elsewhere, or with some pictures made.
export function failed(event) {
  notice(`failed-${event.job}`, sentence(event), { kind: "err", actions: remedies(event, event.job) });
}
