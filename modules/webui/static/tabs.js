// Gradio's tabs from outside: which is open, and opening another.
const listeners = new Set();

export function openedTab() {
  return document.querySelector("#tabs [role=tab][aria-selected=true]")?.dataset.tabId ?? "create";
}

export function openTab(name) {
  const tab = [...document.querySelectorAll("#tabs [role=tab], #tabs .overflow-dropdown button")]
    .find((candidate) => candidate.dataset.tabId === name);
  tab?.click();
  return Boolean(tab);
}

export function onTab(listener) {
  listeners.add(listener);
}

export function start() {
  const list = document.querySelector("#tabs [role=tablist]");
  let opened = openedTab();
  new MutationObserver(() => {
    const tab = openedTab();
    if (tab === opened) return;
    opened = tab;
    for (const listener of listeners) listener(tab);
  }).observe(list, { attributes: true, attributeFilter: ["aria-selected"], subtree: true });
}
