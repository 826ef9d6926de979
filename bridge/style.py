"""How the page looks, and the few lines that keep it current."""

from collections.abc import Mapping
from types import MappingProxyType

STYLE = """
:root{color-scheme:light dark;
--paper:#f4f3f0;--card:#fff;--ink:#1c1d21;--soft:#5b5e66;--faint:#e7e5e0;--ring:rgb(0 0 0/.06);
--good:#17693a;--good-bg:#e3f3e8;--wait:#85500a;--wait-bg:#fbeecd;--bad:#a81e2d;--bad-bg:#fbe3e4;--idle:#4c5566;--idle-bg:#e8eaef;
--meter:#a86400;--heatpump:#cf3d24;--sensor:#1b74c5;--thermostat:#7250c8;--cool:#2f7fd0}
@media (prefers-color-scheme:dark){:root{
--paper:#121317;--card:#1c1e24;--ink:#eceae6;--soft:#a4a8b2;--faint:#2d3038;--ring:rgb(255 255 255/.05);
--good:#7fd8a0;--good-bg:#14301f;--wait:#f2c46d;--wait-bg:#35290f;--bad:#ff9c9f;--bad-bg:#3c1a1d;--idle:#b6bfd0;--idle-bg:#242933;
--meter:#f0a83c;--heatpump:#ff7a5c;--sensor:#62aef5;--thermostat:#ad94f7;--cool:#6db2f2}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1.25rem 1rem 3rem;max-width:78rem;background:var(--paper);color:var(--ink);
font:1rem/1.45 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;font-variant-numeric:tabular-nums;overflow-wrap:anywhere;-webkit-text-size-adjust:100%}
h1,h2,h3,p,dl,dd,ul,figure{margin:0;padding:0}
ul{list-style:none}
code{font:.8125rem/1.4 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;color:var(--soft)}
a{color:inherit;text-underline-offset:.2em}
:focus-visible{outline:2px solid var(--sensor);outline-offset:3px;border-radius:4px}
.top{margin:0 .25rem 1rem}
h1{font-size:1.375rem;line-height:1.25;letter-spacing:-.01em}
#lost{margin-top:.5rem;color:var(--bad);font-weight:600}
.verdict{display:flex;gap:.875rem;align-items:flex-start;padding:1.125rem 1.25rem;border-radius:1.125rem}
.verdict svg{flex:none;width:2rem;height:2rem;margin-top:.05rem;fill:none;stroke:currentColor;stroke-width:2;stroke-linecap:round;stroke-linejoin:round}
.verdict h2{text-wrap:balance;font-size:1.25rem;line-height:1.3;letter-spacing:-.01em}
.verdict p{margin-top:.2rem;color:var(--ink)}
.good{background:var(--good-bg);color:var(--good)}
.wait.verdict{background:var(--wait-bg);color:var(--wait)}
.bad{background:var(--bad-bg);color:var(--bad)}
.idle.verdict{background:var(--idle-bg);color:var(--idle)}
.grid{display:grid;gap:1rem;margin-top:1rem}
.large{grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr))}
.small{grid-template-columns:repeat(auto-fill,minmax(min(100%,17rem),1fr))}
.parts{grid-template-columns:repeat(auto-fill,minmax(min(100%,15rem),1fr))}
.card,.part{min-width:0;background:var(--card);border-radius:1.125rem;box-shadow:0 0 0 1px var(--ring),0 1px 3px var(--ring)}
.card{display:flex;flex-direction:column;padding:1.125rem 1.25rem;--own:var(--sensor)}
.card.meter{--own:var(--meter)}.card.heatpump{--own:var(--heatpump)}.card.thermostat{--own:var(--thermostat)}
.card header,.part header{display:flex;flex-wrap:wrap;gap:.25rem .75rem;justify-content:space-between;align-items:baseline}
.kind{color:var(--own);font-size:.8125rem;font-weight:600}
h3{font-size:1.0625rem;line-height:1.3;font-weight:600}
.status{color:var(--soft);font-size:.875rem;white-space:nowrap}
.status::before{content:"";display:inline-block;width:.5rem;height:.5rem;margin-right:.4rem;border-radius:50%;background:var(--soft)}
.status.on::before{background:var(--good)}.status.off::before{background:var(--bad)}.status.wait::before{background:var(--wait)}
.status.off{color:var(--bad)}
.lead{margin-top:.75rem}
.what{display:block;color:var(--soft);font-size:.875rem}
.number{font-size:2.75rem;line-height:1.1;font-weight:600;letter-spacing:-.03em}
.unit{font-size:1.375rem;font-weight:500;letter-spacing:0;color:var(--soft)}
.small .number{font-size:2.25rem}.small .unit{font-size:1.125rem}
.none{color:var(--soft);font-weight:400}
.held{color:var(--wait);font-size:.8125rem;font-weight:400;letter-spacing:0;white-space:nowrap}
.absence{margin-top:.75rem;color:var(--soft)}
.flags{display:flex;flex-wrap:wrap;gap:.375rem;margin-top:.75rem}
.flags li{padding:.125rem .625rem;border-radius:1rem;font-size:.875rem;background:var(--faint);color:var(--soft)}
.flags b{font-weight:600}
.flags .on,.flags .word{background:color-mix(in srgb,var(--own) 15%,var(--card));color:var(--ink)}
.flags .word{font-weight:600}
.flags .word::first-letter{text-transform:uppercase}
.flags .alarm{background:var(--bad-bg);color:var(--bad);font-weight:600}
.figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(8.5rem,1fr));gap:.625rem 1rem;margin-top:.875rem}
.small .figures{grid-template-columns:repeat(2,1fr)}
.figures dt{color:var(--soft);font-size:.8125rem}
.figures dd{font-size:1.0625rem;font-weight:500}
.history{margin-top:auto;padding-top:1rem}
.history svg{display:block;width:100%;overflow:visible}
.chart{height:4.5rem;border-bottom:1px solid var(--faint)}
.small .chart{height:3.25rem}
.strip{height:.5rem;margin-top:.375rem}
.line{fill:none;stroke-width:1.75;stroke-linecap:round;stroke-linejoin:round;vector-effect:non-scaling-stroke}
.line.first{stroke:var(--own)}.area.first{fill:var(--own);opacity:.13}
.line.second{stroke:var(--cool)}
.thermostat .line.second{stroke:var(--soft);stroke-dasharray:3 4}
.known{fill:var(--faint)}.strip .on{fill:var(--own)}
.legend{display:flex;flex-wrap:wrap;gap:0 1rem;margin-bottom:.375rem;color:var(--soft);font-size:.8125rem}
.key::before{content:"";display:inline-block;width:.75rem;height:.1875rem;margin:0 .375rem .2rem 0;border-radius:2px;background:var(--own)}
.key.second::before{background:var(--cool)}.thermostat .key.second::before{background:var(--soft)}
.key.on::before{height:.5rem;margin-bottom:0}
figcaption{display:flex;justify-content:space-between;gap:.5rem;margin-top:.25rem;color:var(--soft);font-size:.75rem}
.range{text-align:center}
details{margin-top:auto;padding-top:.75rem}
.history+details{margin-top:0}
summary{padding:.25rem 0;color:var(--soft);font-size:.875rem;cursor:pointer}
.scroll{overflow-x:auto}
table{width:100%;border-collapse:collapse;font-size:.9375rem}
thead{color:var(--soft);font-size:.8125rem}
th,td{padding:.375rem 0;border-top:1px solid var(--faint);text-align:left;vertical-align:top;font-weight:400}
thead th{border:0}
td,th+th{padding-left:1rem;text-align:right;white-space:nowrap}
.origin{margin-top:.5rem;color:var(--soft);font-size:.8125rem}
.works{margin-top:2rem}
.works>h2{margin:0 .25rem;font-size:1.0625rem}
.works .grid{margin-top:.75rem}
.part{padding:.875rem 1rem}
.part h3{font-size:1rem}
.part>p{margin-top:.25rem;color:var(--soft);font-size:.875rem}
.empty{margin:1rem .25rem;color:var(--soft)}
nav{display:flex;gap:1rem;margin:1rem .25rem 0;font-size:.875rem;color:var(--soft)}
footer{margin:2rem .25rem 0;color:var(--soft);font-size:.8125rem}
"""

SCRIPT = """
const lost = document.getElementById('lost');
const refresh = async () => {
  if (document.hidden) return;
  try {
    const answer = await fetch('/', {cache: 'no-store', signal: AbortSignal.timeout(8000)});
    if (!answer.ok) throw 0;
    const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
    const old = document.querySelector('main'), main = page.querySelector('main');
    for (const one of old.querySelectorAll('details[open]')) {
      const same = main.querySelector('#' + CSS.escape(one.id));
      if (same) same.open = true;
    }
    const focused = document.activeElement.id;
    old.replaceWith(main);
    if (focused) document.getElementById(focused)?.focus({preventScroll: true});
    document.title = page.title;
    lost.hidden = true;
  } catch { lost.hidden = false; }
};
setInterval(refresh, 10000);
document.addEventListener('visibilitychange', refresh);
"""

ICONS: Mapping[str, str] = MappingProxyType(
    {
        tone: f'<svg viewBox="0 0 24 24" aria-hidden="true"><circle cx="12" cy="12" r="10"/><path d="{path}"/></svg>'
        for tone, path in (
            ("good", "m7.5 12.5 3 3 6-7"),
            ("wait", "M12 6.5V12l3.5 2.5"),
            ("bad", "M12 7v6M12 16.5v.01"),
            ("idle", "M8 12h.01M12 12h.01M16 12h.01"),
        )
    }
)
