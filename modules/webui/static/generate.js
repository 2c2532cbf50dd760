// The Generate bar: the button that queues, its estimate, Stop beside it, and what a press was answered.
import { post } from "./api.js";
import { boot, estimate, say } from "./boot.js";
import { announce, h } from "./dom.js";
import { apply, controls, element, generate, isOld, onForm, onOutlook, saveSoon, values } from "./form.js";
import { on } from "./live.js";
import { pageIsOld, sentence } from "./messages.js";
import { notice } from "./notices.js";
import { showJob } from "./stage.js";
import { onVerb, verb } from "./start.js";
import { change, job, now, onChange } from "./store.js";

let button = null;
let stop = null;
let seconds = null;
let pictures = 1; // how many a press would make
let bad = null; // the name of the value that was refused

export function start() {
  button = document.getElementById("txt2img_generate");
  button.addEventListener("click", () => press());
  stop = h("button", { id: "stop", type: "button", class: "stop", hidden: true, onclick: stopOwn }, say("generate.stop"));
  button.after(stop);
  onOutlook((said) => {
    seconds = said.estimate_s;
    pictures = said.pictures ?? 1;
    name();
  });
  onVerb(name);
  on("finished", saveSoon); // every finished job teaches what the next one takes
  onForm((names) => names.includes(bad) && clearErrors());
  on("form", (event) => event.workspace === boot.workspace && event.accepted && accepted(event.accepted));
  onChange((state) => {
    const own = ownRunning(state);
    stop.hidden = !own;
  });
}

// What a press would do, and how long that may take.
function name() {
  const does = say(`generate.${verb()}`);
  const facts = { verb: does, n: pictures, time: seconds && estimate(seconds) };
  const sheet = values.script && pictures > 1;
  if (sheet) button.textContent = say(seconds ? "generate.about_many" : "generate.many", facts);
  else button.textContent = seconds ? say("generate.about", facts) : does;
}

export function ownRunning(state = now()) {
  return state.running && job(state.running.job).workspace === boot.workspace ? state.running.job : null;
}

export function stopOwn() {
  const own = ownRunning();
  if (own) post(`jobs/${own}/cancel`);
  return Boolean(own);
}

export async function press(front = false) {
  let answer;
  try {
    answer = await generate(front);
  } catch {
    if (await isOld()) pageIsOld();
    else notice("not_sent", say("notice.not_sent"), { kind: "err", forMs: 8000 });
    return;
  }
  if (answer.error) showError(answer.error);
  else {
    clearErrors();
    announce(say("announce.queued"));
  }
}

function accepted(id) {
  const state = now();
  const showing = state.view.kind === "job" ? job(state.view.job) : null;
  const busy = showing && showing.state === "running" && showing.workspace === boot.workspace && state.following;
  change({ following: true });
  if (!busy) showJob(id);
  // on a phone the stage is above the form
  document.getElementById("create").scrollTo({ top: 0, behavior: "smooth" });
}

// An error is told beside its field; one without a field as a message.
export function showError(problem) {
  const row = controls.find((candidate) => problem.field && candidate.field === problem.field)
    ?? controls.find((candidate) => problem.field && candidate.name === problem.field);
  const host = row && row.kind !== "hidden" && element(row.name);
  if (!host) {
    notice("error", sentence(problem), { kind: "err" });
    return;
  }
  clearErrors();
  const nearest = problem.facts?.nearest;
  bad = row.name;
  host.classList.add("bad");
  host.append(
    h(
      "p",
      { class: "error", role: "alert" },
      sentence(problem),
      nearest !== undefined && nearest !== "" &&
        h(
          "button",
          { class: "link", type: "button", onclick: () => (clearErrors(), apply({ set: { [row.name]: nearest } })) },
          say("notice.use_value", { nearest }),
        ),
    ),
  );
  host.scrollIntoView({ block: "nearest" });
}

function clearErrors() {
  bad = null;
  for (const line of document.querySelectorAll("#controls .error")) line.remove();
  for (const host of document.querySelectorAll("#controls .bad")) host.classList.remove("bad");
}
