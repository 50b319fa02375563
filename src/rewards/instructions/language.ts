import { franc } from "franc";

// The languages that langdetect tells apart but Welsh, with which IFEval checks the language of a response. Chinese is "zh" here,
// whichever its characters.

/** ISO 639-1 code by ISO 639-3 code, which franc uses. */
const codes: Readonly<Record<string, string>> = Object.fromEntries(
  "afr:af arb:ar bul:bg ben:bn cat:ca ces:cs dan:da deu:de ell:el eng:en spa:es ekk:et pes:fa fin:fi fra:fr guj:gu heb:he hin:hi hrv:hr hun:hu ind:id ita:it jpn:ja kan:kn kor:ko lit:lt lvs:lv mkd:mk mal:ml mar:mr npi:ne nld:nl nob:no pan:pa pol:pl por:pt ron:ro rus:ru slk:sk slv:sl som:so als:sq swe:sv swh:sw tam:ta tel:te tha:th tgl:tl tur:tr ukr:uk urd:ur vie:vi cmn:zh"
    .split(" ")
    .map((pair) => pair.split(":")),
);
const only = Object.keys(codes);

/** Detects the language of a text. @returns its ISO 639-1 code; undefined for too little text */
export const detectLanguage = (text: string): string | undefined => codes[franc(text, { only })];
