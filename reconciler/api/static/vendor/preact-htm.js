// Ours: the libraries beside it in one place, with `html` for elements.

import htm from "./htm.js";
import { h } from "./preact.js";

export { Component, Fragment, createContext, h, render } from "./preact.js";
export * from "./preact-hooks.js";
export const html = htm.bind(h);
