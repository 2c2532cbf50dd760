// The header's right side: the queue's chip, the reach, light or dark, and the language.
import { post } from "./api.js";
import { boot, say } from "./boot.js";
import { fill, h, icon } from "./dom.js";
import { onChange } from "./store.js";

const YEAR = 365 * 24 * 3600;
const PHONE = matchMedia("(max-width: 760px)");
const THEMES = ["light", "dark", "system"];

export function start() {
  const theme = document.getElementById("chip_theme");
  theme.append(icon("theme"));
  theme.addEventListener("click", nextTheme);
  document.getElementById("chip_language").addEventListener("click", () => {
    remember("atelier_language", say("header.other_code"));
    location.reload();
  });
  const reach = document.getElementById("chip_reach");
  reach.hidden = boot.local;
  reach.textContent = say("header.reach");
  reach.title = say("header.reach_about");
  document.getElementById("chip_queue").addEventListener("click", pauseOrResume);
  nameTheme();
  onChange(drawQueue);
}

let paused = false;

function pauseOrResume() {
  post(paused ? "queue/resume" : "queue/pause");
}

export function remember(name, value) {
  document.cookie = `${name}=${value}; path=/; max-age=${YEAR}; samesite=strict`;
}

export function showTheme(theme) {
  const root = document.documentElement;
  root.dataset.theme = theme;
  const dark = theme === "dark" || (theme === "system" && matchMedia("(prefers-color-scheme: dark)").matches);
  root.classList.toggle("dark", dark);
  document.body.classList.toggle("dark", dark); // where Gradio looks
}

function nextTheme() {
  const theme = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length];
  remember("atelier_theme", theme);
  showTheme(theme);
  nameTheme();
}

function nameTheme() {
  const name = `${say("header.theme")}: ${say(`header.theme_${document.documentElement.dataset.theme}`)}`;
  const theme = document.getElementById("chip_theme");
  theme.title = name;
  theme.setAttribute("aria-label", name);
}

function drawQueue(state) {
  const chip = document.getElementById("chip_queue");
  const parts = [];
  paused = state.paused;
  if (state.paused) parts.push(say("header.paused"));
  if (state.running) parts.push(progress(state.running));
  const waiting = PHONE.matches ? "header.waiting_short" : "header.waiting";
  if (state.waiting.count) parts.push(say(waiting, { n: state.waiting.count }));
  const text = parts.filter(Boolean).join(PHONE.matches ? " " : " · ");
  chip.hidden = !text;
  if (!text) return;
  const about = say(state.paused ? "header.resume" : "header.pause");
  chip.title = about;
  chip.setAttribute("aria-label", `${text}. ${about}`);
  fill(chip, icon(state.paused ? "play" : "pause"), h("span", {}, text));
}

function progress({ step, phase }) {
  if (step && step.calls) return say("header.working", { call: step.call, calls: step.calls });
  if (step) return say("header.working_unknown", { call: step.call });
  return phase ? say(`phase.${phase.phase === "loading" ? "loading_plain" : phase.phase}`) : "";
}
