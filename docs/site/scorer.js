// How the search ranks pages: as Sphinx does by default, but decision records come after the pages that people use.
var Scorer = {
  score: ([page, title, anchor, description, score]) => (page.startsWith("docs/adr/") ? score - 50 : score),
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
