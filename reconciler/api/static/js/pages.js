// The pages, in the order of the navigation. `key` goes there after `g`; a page is loaded when it is first opened.
// Each module's default export is a component that is given `{params, query}`.

export const pages = [
  { path: "/", title: "Servers", key: "s", icon: "servers", nav: true, load: () => import("./pages/servers.js") },
  { path: "/servers/:name", title: "Server", parent: "/", load: () => import("./pages/server.js") },
  { path: "/events", title: "Events", key: "e", icon: "events", nav: true, load: () => import("./pages/events.js") },
  {
    path: "/profiles",
    title: "Profiles",
    key: "p",
    icon: "profiles",
    nav: true,
    load: () => import("./pages/profiles.js"),
  },
  { path: "/models", title: "Models", key: "m", icon: "models", nav: true, load: () => import("./pages/models.js") },
  {
    path: "/manifests",
    title: "Manifests",
    key: "f",
    icon: "manifests",
    nav: true,
    load: () => import("./pages/manifests.js"),
  },
  {
    path: "/sources",
    title: "Sources",
    key: "o",
    icon: "sources",
    nav: true,
    load: () => import("./pages/sources.js"),
  },
  {
    path: "/settings",
    title: "Settings",
    key: "t",
    icon: "settings",
    nav: true,
    load: () => import("./pages/settings.js"),
  },
  { path: "/help", title: "Help", key: "h", icon: "help", nav: true, load: () => import("./pages/help.js") },
];
