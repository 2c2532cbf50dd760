// Segmented rows as one stop for Tab, moved by the arrow keys: Gradio gives every option a name of its own.
export function start(column) {
  column.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const row = event.target.closest("fieldset.segments");
    if (!step || !row || event.target.type !== "radio") return;
    event.preventDefault();
    const options = [...row.querySelectorAll("input")];
    const next = options[(options.indexOf(event.target) + step + options.length) % options.length];
    next.click();
    next.focus(); // at once: the next key may come before the next frame
  });
  new MutationObserver(tidy).observe(column, { attributes: true, attributeFilter: ["aria-checked"], subtree: true });
  tidy();

  function tidy() {
    for (const row of column.querySelectorAll("fieldset.segments")) {
      row.setAttribute("role", "radiogroup");
      const label = row.querySelector("[data-testid=block-info]");
      if (label && !label.id) row.setAttribute("aria-labelledby", (label.id = `${row.id}_label`));
      const options = [...row.querySelectorAll("input")];
      const stop = options.find((option) => option.checked) || options[0];
      for (const option of options) option.tabIndex = option === stop ? 0 : -1;
    }
  }
}
