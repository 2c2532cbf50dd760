// What the document wrote for us: words, form table, saved values, build number.
const data = JSON.parse(document.getElementById("boot").textContent);

export const boot = data;

// One text of the visitor's language with its braces filled; the key itself where there is none, so that it is seen.
export function say(key, facts = {}) {
  const text = data.words[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (brace, name) => (name in facts ? String(facts[name]) : brace));
}

export function has(key) {
  return key in data.words;
}

// Seconds as people say them: 0.4 s, 4 s, 2 min.
export function duration(seconds) {
  if (seconds >= 90) return say("time.minutes", { n: Math.round(seconds / 60) });
  return say("time.seconds", { n: seconds < 10 ? Math.max(0.1, Math.round(seconds * 10) / 10) : Math.round(seconds) });
}

// An estimate: rounded up to what somebody would promise.
export function estimate(seconds) {
  if (seconds >= 90) return say("time.minutes", { n: Math.ceil(seconds / 60) });
  return say("time.seconds", { n: Math.max(1, Math.ceil(seconds)) });
}
