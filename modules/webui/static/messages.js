// Which words tell which event or error: the server says codes and facts, the page says it in the visitor's language.
import { post } from "./api.js";
import { boot, has, say } from "./boot.js";
import { apply, controls } from "./form.js";
import { notice } from "./notices.js";
import { change } from "./store.js";

// The sentence for an error of the server: our words where we have them, else the server's own.
export function sentence(problem) {
  const facts = problem.facts || {};
  if (problem.code === "bad_value" && facts.low !== undefined && facts.high !== undefined) {
    const value = facts.value ?? "";
    return say("notice.bad_value", { field: fieldName(problem.field), v: value, lo: facts.low, hi: facts.high });
  }
  const key = `error.${problem.code}`;
  const text = has(key) ? say(key, facts) : "";
  if (text && !/\{\w+\}/.test(text)) return text;
  return [problem.message, problem.hint].filter(Boolean).join(" ");
}

function fieldName(field) {
  const name = controls.find((row) => row.field === field)?.words;
  return name ? say(`${name}.label`) : field || "";
}

// Warnings of a job that goes on.
export function warn(event) {
  const name = (event.facts || {}).extension;
  const why = [say("notice.details"), () => notice("details", event.message, { kind: "warn" })];
  const off = [say("notice.switch_off"), () => post(`extensions/${name}`, { enabled: false })];
  const actions = event.code === "extension_failed" ? [why, off] : [];
  notice(`warned-${event.code}-${name ?? ""}`, sentence(event), { kind: "warn", actions });
}

// What went wrong before the page was opened, as a damaged database; once it was closed it is not told again.
export function tellStart() {
  for (const problem of boot.notices) {
    const key = `start-${problem.code}-${problem.facts?.at}`;
    if (localStorage.getItem(key)) continue;
    notice(key, sentence(problem), { kind: "warn", onClosed: () => localStorage.setItem(key, "told") });
  }
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
  const again = [say("notice.try_again"), () => post(`jobs/${job}/again`)];
  const why = [say("notice.show_why"), () => notice("why", problem.facts?.reason || problem.message, { kind: "warn" })];
  const offers = {
    set_aside: [why, again],
    disk_full: [[say("notice.save_again"), () => post("queue/resume")]],
    unknown_model: [[say("notice.use_starter"), () => apply({ set: { checkpoint: "" } })]],
    model_missing: [[say("notice.use_starter"), () => apply({ set: { checkpoint: "" } })]],
  };
  return offers[problem.code] ?? (job ? [again] : []);
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
