// What runs in the browser: the address kept in step with the controls, figures given their theme, keys.
// Belongs here: nothing that decides or computes a number; that is done by the server.
(function () {
  "use strict";
  var none = function () { return window.dash_clientside.no_update; };
  var written = null; // the last query string that we wrote ourselves
  var PAPER_PX = 630; // width between the margins of A4
  var sought = null; // the part of the page that the address named, once it was shown
  var shown = null; // snapshot that the page was made from

  function fill(value, palette) {
    if (typeof value === "string") { return value.indexOf("token:") === 0 ? palette[value.slice(6)] : value; }
    if (Array.isArray(value)) { return value.map(function (v) { return fill(v, palette); }); }
    if (value && typeof value === "object" && !ArrayBuffer.isView(value)) {
      var out = {};
      Object.keys(value).forEach(function (key) { out[key] = fill(value[key], palette); });
      return out;
    }
    return value;
  }

  var drawn = {}; // figures as they came, by the id of their graph: paper gets them anew

  function themed(figure, theme, palette) {
    var filled = fill(figure, palette);
    filled.layout.template = fill(theme.template, palette);
    return filled;
  }

  // Paper is white and of its own width, whatever the screen is.
  function redraw(onPaper) {
    var dark = document.documentElement.getAttribute("data-mantine-color-scheme") === "dark" && !onPaper;
    Object.keys(drawn).forEach(function (id) {
      var holder = document.getElementById(id), graph = holder && holder.querySelector(".js-plotly-plot");
      if (!graph || !window.Plotly) { return; }
      var made = themed(drawn[id].figure, drawn[id].theme, drawn[id].theme.palette[dark ? "dark" : "light"]);
      made.layout.width = onPaper ? PAPER_PX : graph.parentElement.clientWidth;
      made.layout.autosize = !onPaper;
      window.Plotly.react(graph, made.data, made.layout);
    });
  }
  window.addEventListener("beforeprint", function () { redraw(true); });
  window.addEventListener("afterprint", function () { redraw(false); });

  function controls() { // [{name, value}] of the callback under way
    var list = (window.dash_clientside.callback_context.inputs_list || [])[2] || [];
    return list.map(function (entry) { return { name: entry.id.name, value: entry.value }; });
  }

  function query(entries) {
    var params = new URLSearchParams(window.location.search);
    entries.forEach(function (entry) {
      var value = Array.isArray(entry.value) ? entry.value.join(",") : entry.value;
      if (value === null || value === undefined || value === "" || value === false) { params.delete(entry.name); } else { params.set(entry.name, value); }
    });
    var text = params.toString().replace(/%2C/g, ",");
    return text ? "?" + text : "";
  }

  window.dash_clientside = window.dash_clientside || {};
  window.dash_clientside.cellfleet = {
    // Where we are, for the server; a control inside a page changes the address only.
    place: function (pathname, search, values, snapshot) {
      var triggered = (window.dash_clientside.callback_context.triggered || []).map(function (t) { return t.prop_id; });
      var byAddress = triggered.length === 0 || triggered.some(function (id) { return id.indexOf("location.") === 0; });
      var bySnapshot = triggered.indexOf("snapshot.data") >= 0;
      if (byAddress && !(window.location.search === written && pathname === (shown || {}).path)) {
        shown = { path: pathname };
        written = null;
        return { path: pathname, search: window.location.search, why: "address" };
      }
      if (bySnapshot) {
        if (snapshot === null || snapshot === undefined || snapshot.first) { return none(); }
        return { path: window.location.pathname, search: window.location.search, why: "snapshot", snapshot: snapshot.name };
      }
      var now = controls();
      if (byAddress || now.length === 0) { return none(); }
      var before = new URLSearchParams(window.location.search).get("sites") || "";
      var next = query(now);
      if (next !== window.location.search) {
        window.history.replaceState(window.history.state, "", window.location.pathname + next + window.location.hash);
        written = next;
        // With the old href beside the new search, the first change after loading would be taken back.
        window.dash_clientside.set_props("location", { search: next, href: window.location.href });
      }
      var after = new URLSearchParams(next).get("sites") || "";
      return before === after ? none() : { path: window.location.pathname, search: next, why: "sites" };
    },

    // Asks for the newest snapshot's name; told only when it is another.
    poll: function (beats, known) {
      return window.fetch("/snapshot", { cache: "no-store" })
        .then(function (answer) {
          // The session has ended: what is on the screen goes, and one comes back to it after signing in.
          if (answer.status === 401) { window.location.assign("/sign-in?next=" + encodeURIComponent(window.location.pathname + window.location.search)); }
          return answer.ok ? answer.json() : null;
        })
        .then(function (told) {
          if (!told || (known && told.snapshot === known.name)) { return none(); }
          return { name: told.snapshot, first: !known };
        })
        .catch(function () { return none(); });
    },

    // A figure with the template and colours of the scheme in force.
    draw: function (figure, _scheme, theme) {
      if (!figure) { return none(); }
      // The document's attribute is what the style sheet follows; the toggle's property lags behind it on load.
      var dark = document.documentElement.getAttribute("data-mantine-color-scheme") === "dark";
      var palette = theme.palette[dark ? "dark" : "light"];
      document.documentElement.setAttribute("data-ag-theme-mode", dark ? "dark" : "light");
      drawn[JSON.stringify(window.dash_clientside.callback_context.outputs_list.id, ["name", "type"])] = { figure: figure, theme: theme };
      return themed(figure, theme, palette);
    },

    navigation: function (place, ids) {
      var sites = new URLSearchParams((place || {}).search || "").get("sites");
      Array.prototype.forEach.call(document.querySelectorAll(".cf-nav a"), function (link) {
        var path = link.getAttribute("href").split("?")[0];
        var here = (place || {}).path || "/";
        if (path === here || (path !== "/" && here.indexOf(path) === 0)) { link.setAttribute("aria-current", "page"); } else { link.removeAttribute("aria-current"); }
      });
      return ids.map(function (id) { return id.path + (sites ? "?sites=" + sites : ""); });
    },

    // A cell of the matrix chooses its attribute.
    picked: function () {
      var told = window.dash_clientside.callback_context.triggered_id;
      var clicked = (window.dash_clientside.callback_context.triggered || []).some(function (t) { return t.value; });
      if (!told || !clicked) { return none(); }
      Array.prototype.forEach.call(document.querySelectorAll("tr[data-attribute]"), function (row) {
        row.classList.toggle("cf-chosen", row.getAttribute("data-attribute") === told.attribute);
      });
      var panel = document.getElementById("forest");
      if (panel && panel.getBoundingClientRect().top > window.innerHeight - 120) { panel.scrollIntoView({ block: "start" }); }
      return told.attribute;
    },

    // A point of any chart whose customdata is ["batch", site, id] opens that batch, ["lot", site, id] that lot,
    // ["sensors", "site/batch", from, to] the sensors of that batch between two hours, ["step", code] that interval.
    opened_point: function () {
      var triggered = (window.dash_clientside.callback_context.triggered || [])[0];
      var clicked = triggered && triggered.value;
      var told = clicked && clicked.points && clicked.points[0] && clicked.points[0].customdata;
      if (told && told[0] === "step") {
        window.dash_clientside.set_props({ type: "control", page: "vein", name: "step" }, { value: told[1] });
        return none();
      }
      if (!told || ["batch", "lot", "sensors"].indexOf(told[0]) < 0) { return none(); }
      var sites = new URLSearchParams(window.location.search).get("sites"), next = new URLSearchParams();
      if (sites) { next.set("sites", sites); }
      if (told[0] === "sensors") { next.set("batches", told[1]); next.set("from", told[2]); next.set("to", told[3]); }
      var search = next.toString().replace(/%2C/g, ",").replace(/%2F/g, "/");
      window.dash_clientside.set_props("location", { search: search ? "?" + search : "" });
      if (told[0] === "sensors") { return "/sensors"; }
      return "/" + told[0] + "/" + encodeURIComponent(told[1]) + "/" + encodeURIComponent(told[2]);
    },

    // A drag across the traces sets the hours that are shown, a double click empties them.
    zoomed: function (told) {
      if (!told) { return [none(), none()]; }
      if (told["xaxis.autorange"]) { return ["", ""]; }
      var from = told["xaxis.range[0]"], to = told["xaxis.range[1]"];
      if (typeof from !== "number" || typeof to !== "number") { return [none(), none()]; }
      return [Math.round(from * 100) / 100, Math.round(to * 100) / 100];
    },

    // A page comes after its address was read, so the part that the address names is sought when it is there.
    arrived: function () {
      var name = window.location.hash.slice(1);
      if (!name || name === sought) { return; }
      window.setTimeout(function () {
        var part = document.getElementById(name);
        if (part) { sought = name; part.scrollIntoView({ block: "start" }); }
      }, 80);
    },

    copied: function () {
      return window.navigator.clipboard.writeText(window.location.href).then(function () { return "Copied"; }, function () { return "Copy failed"; });
    },

    opened: function (clicks) { return Boolean(clicks); },
  };

  // Numbers as numbers, everything else as text; a cell with a link sorts by its text.
  window.dashAgGridFunctions = window.dashAgGridFunctions || {};
  window.dashAgGridFunctions.cellfleetCompare = function (a, b) {
    var left = a && a.text !== undefined ? a.text : a, right = b && b.text !== undefined ? b.text : b;
    if (left === right) { return 0; }
    if (left === null || left === undefined || left === "") { return 1; }
    if (right === null || right === undefined || right === "") { return -1; }
    return left < right ? -1 : 1;
  };
  window.dashAgGridComponentFunctions = window.dashAgGridComponentFunctions || {};
  window.dashAgGridComponentFunctions.CellLink = function (props) {
    if (props.value && !props.value.href) { return props.value.text; }
    return props.value ? window.React.createElement("a", { href: props.value.href }, props.value.text) : "";
  };

  // Arrows go from cell to cell of the verdicts; another row chooses its attribute.
  function step(cell, key) {
    var row = cell.closest("tr"), column = cell.closest("td").cellIndex, rows = row.parentElement.rows;
    var place = Array.prototype.indexOf.call(rows, row) + (key === "ArrowDown" ? 1 : key === "ArrowUp" ? -1 : 0);
    var to = rows[place] && rows[place].cells[column + (key === "ArrowRight" ? 1 : key === "ArrowLeft" ? -1 : 0)];
    var next = to && to.querySelector("button");
    if (!next) { return; }
    next.focus();
    if (rows[place] !== row) { next.click(); }
  }

  // Keys: g and a letter go to a page, / to the sites, ? lists the keys. Never while something is typed.
  var going = false;
  document.addEventListener("keydown", function (event) {
    var target = event.target;
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) || target.isContentEditable) { return; }
    if (/^Arrow/.test(event.key) && target.classList.contains("cf-cell")) { event.preventDefault(); step(target, event.key); return; }
    if (going) {
      going = false;
      var pages = JSON.parse((document.querySelector(".cf-nav") || { dataset: {} }).dataset.keys || "{}");
      var link = pages[event.key] && document.querySelector('.cf-nav a[href="' + pages[event.key] + '"], .cf-nav a[href^="' + pages[event.key] + '?"]');
      if (link) { event.preventDefault(); link.click(); }
      return;
    }
    if (event.key === "g") { going = true; window.setTimeout(function () { going = false; }, 1500); }
    if (event.key === "/") { var sites = document.querySelector(".cf-scope input"); if (sites) { event.preventDefault(); sites.focus(); } }
    if (event.key === "?") { var keys = document.getElementById("keys-open"); if (keys) { keys.click(); } }
  });
})();
