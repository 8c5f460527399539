// A component whose module is loaded when it is first shown.

import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { Loading, ProblemBox } from "./components.js";

export function later(load) {
  let Part = null;
  return function Later(given) {
    const [, again] = useState(0);
    const [failed, setFailed] = useState(null);
    useEffect(() => {
      if (Part) return;
      load().then((module) => ((Part = module.default), again(1)), setFailed);
    }, []);
    if (Part) return html`<${Part} ...${given} />`;
    if (!failed) return html`<${Loading} />`;
    const problem = { message: `This part could not be loaded: ${failed.message}`, canDo: ["load the page again"] };
    return html`<${ProblemBox} problem=${problem} again=${() => location.reload()} />`;
  };
}
