"""How the page looks: on a screen, light and dark, and on paper."""

from typing import Final

STYLE: Final = """
:root {
  color-scheme: light dark;
  --page: #f5f6f7; --card: #fff; --ink: #1c2530; --muted: #55616e; --rule: #dfe3e7;
  --accent: #1b6574; --tint: #d7e8eb; --good: #1d6b43; --bad: #a3312a; --bad-tint: #fbeceb; --good-tint: #e6f3ec;
}
@media (prefers-color-scheme: dark) { :root {
  --page: #12171c; --card: #1a2128; --ink: #e4e9ed; --muted: #9eabb6; --rule: #2d3740;
  --accent: #74c0ce; --tint: #22424a; --good: #7cc9a0; --bad: #f09a92; --bad-tint: #3a2122; --good-tint: #1b3327;
} }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", Roboto, sans-serif;
  font-variant-numeric: tabular-nums; }
main { max-width: 1080px; margin: 0 auto; padding: 40px 24px 56px; }
h1 { font-size: 26px; line-height: 1.25; font-weight: 600; margin: 0 0 4px; letter-spacing: -.01em; }
h2 { font-size: 17px; font-weight: 600; margin: 40px 0 12px; }
p { margin: 0 0 8px; }
.muted { color: var(--muted); font-size: 13px; }
.verdict { border-radius: 10px; padding: 14px 18px; margin: 24px 0 16px; font-weight: 600; border-left: 5px solid;
  background: var(--tint); }
.verdict.good { background: var(--good-tint); color: var(--good); }
.verdict.bad { background: var(--bad-tint); color: var(--bad); }
.totals { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin: 0; }
.totals div, .card { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; }
.totals div { padding: 14px 18px; }
.totals dt { color: var(--muted); font-size: 13px; }
.totals dd { margin: 2px 0 0; font-size: 23px; font-weight: 600; letter-spacing: -.01em; }
.totals small { display: block; font-size: 13px; font-weight: 400; letter-spacing: 0; color: var(--muted); }
.totals .bad dd { color: var(--bad); }
.card { overflow-x: auto; margin-bottom: 12px; }
.chart { padding: 18px 18px 10px; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--muted); font-size: 12px; }
.grid { stroke: var(--rule); stroke-width: 1; }
.area { fill: var(--tint); }
.curve { fill: none; stroke: var(--accent); stroke-width: 1.5; }
.mean { stroke: var(--muted); stroke-width: 1; stroke-dasharray: 5 4; }
table { border-collapse: collapse; width: 100%; }
caption { text-align: left; padding: 12px 18px 0; color: var(--muted); font-size: 13px; }
th, td { text-align: left; vertical-align: top; padding: 9px 18px; border-bottom: 1px solid var(--rule); }
tbody tr:last-child > * { border-bottom: 0; }
thead th { color: var(--muted); font-size: 13px; font-weight: 500; white-space: nowrap; }
tbody th { font-weight: 400; }
.n { text-align: right; white-space: nowrap; }
.bad-text { color: var(--bad); font-weight: 600; }
.uid { font: 13px/1.5 ui-monospace, "SF Mono", Consolas, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
.uid .muted { display: block; font-size: 12px; }
.thumb { width: 100px; padding-right: 0; }
.thumb img { display: block; width: 80px; height: 80px; object-fit: contain; background: #000; border-radius: 6px; }
summary { cursor: pointer; padding: 12px 18px; font-weight: 500; }
summary:focus-visible { outline: 2px solid var(--accent); outline-offset: -2px; border-radius: 10px; }
.lost thead th:first-child { width: 50%; }
.group > summary { padding: 12px 0; color: var(--muted); }
details > table { border-top: 1px solid var(--rule); }
details { content-visibility: auto; contain-intrinsic-size: auto 48px; }
footer { margin-top: 40px; }
@media print {
  :root { --page: #fff; --card: #fff; --ink: #000; --muted: #444; --rule: #ccc; --accent: #1b6574; --tint: #d7e8eb;
    --good: #1d6b43; --bad: #a3312a; --bad-tint: #fff; --good-tint: #fff; }
  body { font-size: 10pt; }
  main { max-width: none; padding: 0; }
  .totals { grid-template-columns: repeat(5, 1fr); gap: 6px; }
  .totals div { padding: 8px 10px; }
  .totals dd { font-size: 14pt; }
  th, td { padding: 4px 8px; }
  .card { overflow: visible; }
  .chart, tr, .totals { break-inside: avoid; }
  details { content-visibility: visible; }
  summary { break-after: avoid; }
  h2 { break-after: avoid; margin-top: 20px; }
  thead { display: table-header-group; }
  .area, .verdict { print-color-adjust: exact; }
}
""".strip()
