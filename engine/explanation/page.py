"""The page that shows the pictures of explanations from disk: image, boxes, heat and gates side by side."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from engine.explanation.saved_pictures import Corners, Section, Shown
from files.atomic import write_atomically

_SAYS = {
    "cam": "<b>Heat</b> of a detection (LayerCAM, where the neck begins): bright where what the backbone found there "
    "raises the confidence of that box. It says where the score comes from, not that the model would fail without it. "
    "Each map is scaled to its own maximum: two maps do not compare in strength.",
    "gates": "<b>Gates</b>: what an attention layer multiplied its map with, from its lowest value (clear) to its "
    "highest (bright). A gate near one everywhere changes nothing, however bright its brightest place: read the "
    "numbers.",
    "features": "<b>Feature sheets</b>: the first channels of every row, each from its lowest value to its highest.",
}
_STYLE = (
    "body{font:15px system-ui,sans-serif;margin:1.5em auto;max-width:1500px;padding:0 1em;color:#222}"
    "h2{font-size:17px;word-break:break-all;margin:2em 0 .3em}p{max-width:100ch;margin:.5em 0}"
    ".row{display:grid;grid-auto-columns:minmax(0,1fr);grid-auto-flow:column;gap:10px}figure{margin:0}"
    "@media (max-width:700px){.row{grid-auto-flow:row}}"
    "figcaption,select{font-size:13px;min-height:24px;width:100%}.wide img{max-width:100%}"
    ".over{position:relative;line-height:0}.over>img,.over>a>img{width:100%}.layer{position:absolute;inset:0}"
    ".layer[hidden]{display:none}.layer img,.layer svg{position:absolute;inset:0;width:100%;height:100%}"
    ".heat img{opacity:var(--heat,.75)}.bars{background:#fff}.bars img{object-fit:contain}"
    "rect{fill:none;stroke:#fff;stroke-width:2;filter:drop-shadow(0 0 1px #000)}"
    ".bar{position:sticky;top:0;background:#fffd;padding:6px 0;z-index:1}.bar input{width:220px;vertical-align:middle}"
    "@media (prefers-color-scheme:dark){body{background:#161616;color:#ddd}.bar{background:#161616dd}a{color:#8ab4f8}}"
)
_SCRIPT = (
    "addEventListener('input',e=>{if(e.target.type==='range')"
    "document.documentElement.style.setProperty('--heat',e.target.value/100);"
    "else{const f=e.target.closest('figure'),n=e.target.selectedIndex;"
    "f.querySelectorAll('.layer').forEach((one,i)=>{one.hidden=i!==n});"
    "f.querySelector('figcaption').textContent=e.target.options[n].text}})"
)


def write_page(folder: Path, sections: Sequence[Section]) -> Path:
    """Write `index.html`, which shows the pictures of images below `folder` and needs no network."""
    used = {shown.place for one in sections for shown in one.shown}
    says = "".join(f"<p>{text}</p>" for kind, text in _SAYS.items() if kind in used)
    body = "\n".join(_section(one, folder) for one in sections)
    slider = script = ""
    if used & {"cam", "gates"}:
        slider = (
            '<p class="bar"><label>Strength of the heat <input type="range" min="0" max="100" value="75" '
            'autocomplete="off"></label></p>'
        )
        script = f"<script>{_SCRIPT}</script>"
    file = folder / "index.html"
    write_atomically(
        file,
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>What the model looks at</title><style>{_STYLE}</style><h1>What the model looks at</h1>{says}"
        f"{slider}{body}\n{script}</html>\n",
    )
    return file


def _section(one: Section, page_folder: Path) -> str:
    where = quote(one.folder.relative_to(page_folder).as_posix())
    places = {place: [shown for shown in one.shown if shown.place == place] for place in dict.fromkeys(
        shown.place for shown in one.shown
    )}  # fmt: skip
    figures = "".join(_plain(shown, where) for place in ("image", "boxes") for shown in places[place])
    figures += "".join(_layers(places[place], where) for place in ("cam", "gates") if place in places)
    wide = "".join(_wide(shown, where) for shown in places.get("features", ()))
    if "layer" in places:
        gates = "".join(_wide(shown, where) for shown in places["layer"])
        is_open = "" if "cam" in places else " open"
        wide += f"<details{is_open}><summary>Gates, layer by layer</summary>{gates}</details>"
    return f'<h2>{html.escape(one.heading)}</h2><p>{html.escape(one.told)}</p><div class="row">{figures}</div>{wide}'


def _plain(one: Shown, where: str) -> str:
    """The image or its boxes, and the file at a click."""
    return f'<figure><figcaption>{one.caption}</figcaption><div class="over">{_linked(one, where)}</div></figure>'


def _wide(one: Shown, where: str) -> str:
    return f'<figure class="wide"><figcaption>{html.escape(one.caption)}</figcaption>{_linked(one, where)}</figure>'


def _linked(one: Shown, where: str) -> str:
    file = f"{where}/{quote(one.picture)}"
    return f'<a href="{file}"><img src="{file}" alt="{html.escape(one.caption)}" loading="lazy"></a>'


def _layers(shown: Sequence[Shown], where: str) -> str:
    """One figure with a list of what may lie over the image, the first of them shown."""
    options = "".join(f"<option>{html.escape(one.caption)}</option>" for one in shown)
    layers = "".join(_layer(one, where, hidden=number > 0) for number, one in enumerate(shown))
    label = {"cam": "heat of", "gates": "gate of"}[shown[0].place]
    return (
        f'<figure><select autocomplete="off" aria-label="{label}">{options}</select><div class="over">'
        f'<img src="{where}/image.png" alt="" loading="lazy">{layers}</div>'
        f"<figcaption>{html.escape(shown[0].caption)}</figcaption></figure>"
    )


def _layer(one: Shown, where: str, *, hidden: bool) -> str:
    file, look = (one.layer, "heat") if one.layer else (one.picture, "bars")
    text = html.escape(one.caption)
    picture = f'<img src="{where}/{quote(file)}" alt="{text}" loading="lazy">' if file else ""
    href = f' href="{where}/{quote(one.picture)}"' if one.picture else ""
    boxes = f"<svg>{''.join(map(_rect, one.boxes))}</svg>" if one.boxes else ""
    return f'<a class="layer {look if file else ""}"{href} title="{text}"{" hidden" * hidden}>{picture}{boxes}</a>'


def _rect(corners: Corners) -> str:
    x1, y1, x2, y2 = (100 * one for one in corners)
    return f'<rect x="{x1:.2f}%" y="{y1:.2f}%" width="{x2 - x1:.2f}%" height="{y2 - y1:.2f}%"/>'
