"""The style sheet of the report: light, readable on a phone and on paper."""

from castile.report import style

STYLESHEET = f"""
:root {{ --ink: {style.INK}; --muted: {style.MUTED}; --line: {style.GRID}; --model: {style.MODEL};
  --good: {style.GOOD}; --bad: {style.REFERENCE}; }}
* {{ box-sizing: border-box; }}
html {{ scroll-behavior: smooth; -webkit-text-size-adjust: 100%; }}
body {{ margin: 0; background: #f5f7f9; color: var(--ink);
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }}
.inner {{ max-width: 1080px; margin: 0 auto; padding: 0 20px; }}
header {{ background: linear-gradient(150deg, #ffffff 0%, #e9f1f8 100%); padding: 40px 0 32px; }}
.brand {{ margin: 0 0 6px; color: var(--model); font-weight: 700; font-size: 13px; letter-spacing: 0.14em;
  text-transform: uppercase; }}
h1 {{ margin: 0; font-size: clamp(26px, 4.5vw, 38px); line-height: 1.2; letter-spacing: -0.015em; }}
.subtitle {{ margin: 10px 0 0; color: var(--muted); font-size: 17px; max-width: 48em; }}
.tiles {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr));
  gap: 14px; margin-top: 28px; }}
.tile {{ background: #fff; border: 1px solid var(--line); border-radius: 12px; padding: 16px 18px;
  box-shadow: 0 1px 2px rgba(29, 39, 51, 0.04); }}
.tile .value {{ font-size: 24px; font-weight: 650; line-height: 1.25; letter-spacing: -0.01em;
  font-variant-numeric: tabular-nums; }}
.tile .unit {{ font-size: 14px; font-weight: 500; color: var(--muted);
  letter-spacing: 0; white-space: nowrap; }}
.tile .label {{ font-size: 14px; font-weight: 600; margin-top: 4px; }}
.tile .remark {{ font-size: 13px; line-height: 1.4; color: var(--muted); margin-top: 3px; }}
.mark {{ display: inline-block; padding: 0 8px; border-radius: 999px; font-size: 12px; font-weight: 600;
  line-height: 1.6; vertical-align: 1px; }}
.mark.good {{ color: var(--good); background: #e3f4ee; }}
.mark.bad {{ color: var(--bad); background: #fbeae4; }}
nav {{ position: sticky; top: 0; z-index: 2; background: rgba(255, 255, 255, 0.95);
  border-bottom: 1px solid var(--line); border-top: 1px solid var(--line); }}
nav .inner {{ display: flex; gap: 22px; overflow-x: auto; scrollbar-width: none; }}
nav a {{ color: var(--muted); text-decoration: none; font-size: 14px; font-weight: 500; padding: 11px 0;
  white-space: nowrap; }}
nav a:hover, nav a:focus-visible {{ color: var(--model); }}
main {{ padding-top: 12px; }}
section {{ background: #fff; border: 1px solid var(--line); border-radius: 14px; padding: 26px 28px 28px;
  margin: 22px 0; scroll-margin-top: 60px; }}
h2 {{ margin: 0 0 4px; font-size: 22px; line-height: 1.3; letter-spacing: -0.01em; }}
h3 {{ margin: 24px 0 8px; font-size: 15px; font-weight: 650; }}
p {{ margin: 10px 0; max-width: 48em; }}
.lead {{ color: var(--muted); margin: 4px 0 14px; }}
.note {{ color: var(--muted); font-size: 13.5px; margin: 8px 0 0; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; width: 100%; font-size: 14px; line-height: 1.45; }}
th {{ text-align: left; vertical-align: bottom; font-weight: 600; color: var(--muted); font-size: 13px;
  border-bottom: 1.5px solid #cfd6de; padding: 7px 18px 7px 0; }}
td {{ border-bottom: 1px solid var(--line); padding: 7px 18px 7px 0; vertical-align: top; }}
tr:last-child td {{ border-bottom: 0; }}
tbody tr:hover td {{ background: #f7f9fb; }}
.number {{ text-align: right; padding-right: 0; padding-left: 14px; font-variant-numeric: tabular-nums;
  white-space: nowrap; }}
.number + :not(.number) {{ padding-left: 28px; }}
th.number {{ white-space: normal; }}
.figures {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(290px, 1fr)); gap: 22px;
  margin-top: 14px; }}
.tables {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 380px), 1fr));
  gap: 0 40px; }}
.tables > div {{ min-width: 0; }}
figure + div {{ margin-top: 18px; }}
figure {{ margin: 14px 0 0; }}
.figures figure {{ margin: 0; }}
figure svg {{ display: block; width: 100%; height: auto; }}
figcaption {{ color: var(--muted); font-size: 13.5px; line-height: 1.45; margin-top: 6px; }}
footer {{ color: var(--muted); font-size: 13.5px; padding-top: 4px; padding-bottom: 44px; }}
@media (max-width: 640px) {{
  .inner {{ padding: 0 14px; }} header {{ padding: 26px 0 22px; }}
  section {{ padding: 18px 16px 20px; border-radius: 12px; }}
  .tiles {{ grid-template-columns: 1fr 1fr; gap: 10px; }} .tile {{ padding: 12px 13px; }}
  .tile .value {{ font-size: 19px; }}
  figure.wide {{ overflow-x: auto; }} figure.wide svg {{ min-width: 560px; }}
}}
@media print {{ nav {{ display: none; }} body {{ background: #fff; }}
  section {{ break-inside: avoid; border: 0; padding: 8px 0; }} }}
"""
