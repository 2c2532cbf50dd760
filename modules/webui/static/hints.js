// What a control means, as the tooltip of its label; folds are told when they are opened.
import { has, say } from "./boot.js";
import { controls } from "./form.js";

export function start(column) {
  const tell = () => {
    for (const row of controls) {
      const label = has(`${row.words}.hint`) && document.querySelector(`#${CSS.escape(row.id)} [data-testid=block-info]`);
      if (label && !label.title) label.title = say(`${row.words}.hint`);
    }
  };
  column.addEventListener("click", () => setTimeout(tell, 100));
  tell();
}
