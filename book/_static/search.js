// Below each search result, an excerpt of the page's text (EXCERPTS, written
// by book/website/search.py) around the words that were searched for.
"use strict";

(() => {
  const LENGTH = 220;
  const query = new URLSearchParams(location.search).get("q") ?? "";
  // An ending may differ: "kernels" finds "kernel", and "losses" "loss".
  const stems = query
    .toLowerCase()
    .split(/[^\p{L}\p{N}_]+/u)
    .filter((word) => word)
    .map((word) => word.replace(/(?<=\p{L}{3})(es|s|ing|ed)$/u, ""));

  const places = (text) => {
    const lower = text.toLowerCase();
    return stems.map((stem) => lower.indexOf(stem)).filter((at) => at >= 0);
  };

  // The section with the most of the words; among equals the first one.
  const best = (sections) =>
    sections.reduce(
      (a, b) => (places(b[1]).length > places(a[1]).length ? b : a),
      sections[0],
    );

  const excerpt = (text) => {
    const first = Math.min(...places(text), text.length);
    const from = first === text.length ? 0 : Math.max(0, first - LENGTH / 3);
    const begin = from ? text.indexOf(" ", from) + 1 : 0;
    const part = text.slice(begin, begin + LENGTH);
    const short = begin + LENGTH < text.length;
    const end = short ? part.replace(/\s+\S*$/, "") + " …" : part;
    return (begin ? "… " : "") + end;
  };

  const marked = (text) => {
    const line = document.createElement("p");
    line.className = "context";
    for (const word of text.split(/([^\p{L}\p{N}_]+)/u)) {
      const hit = stems.some((stem) => word.toLowerCase().startsWith(stem));
      const node = hit && word ? document.createElement("mark") : null;
      if (node) node.textContent = word;
      line.append(node ?? word);
    }
    return line;
  };

  const explain = (item) => {
    const link = item.querySelector?.("a[href]");
    if (!link) return;
    const [path, anchor] = link.getAttribute("href").split("#");
    const page = path.replace(/^\.\//, "").replace(/\.html.*$/, "");
    const sections = (window.EXCERPTS ?? {})[page];
    if (!sections?.length) return;
    const here = sections.filter(([id]) => anchor && id === anchor);
    item.append(marked(excerpt(best(here.length ? here : sections)[1])));
  };

  document.addEventListener("DOMContentLoaded", () => {
    const results = document.getElementById("search-results");
    if (!results) return;
    new MutationObserver((changes) => {
      for (const change of changes)
        for (const node of change.addedNodes)
          if (node.nodeName === "LI") explain(node);
    }).observe(results, { childList: true, subtree: true });
  });
})();
