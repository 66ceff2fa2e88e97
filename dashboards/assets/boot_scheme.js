// Sets the colour scheme before the first paint; the toggle keeps its choice in localStorage, the system's is the default.
(function () {
  var kept = null;
  try { kept = window.localStorage.getItem("mantine-color-scheme-value"); } catch (error) { kept = null; }
  var dark = kept === "dark" || (kept !== "light" && window.matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.setAttribute("data-mantine-color-scheme", dark ? "dark" : "light");
  document.documentElement.setAttribute("data-ag-theme-mode", dark ? "dark" : "light");
})();
