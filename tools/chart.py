#!/usr/bin/env python3
"""Draws docs/benchmarks.svg from the first table of BENCHMARKS.md: how many times as quick humdinger is as each peer.

    tools/chart.py            writes the picture
    tools/chart.py --check    fails where the picture is not that of the table

Needs nothing but Python.
"""
import math
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent.parent
PEERS = {"PyTorch compiled": "#2f6fb5", "PyTorch eager": "#7aa9d8", "PyTorch cached": "#2f6fb5", "PyTorch as the notebook": "#7aa9d8",
         "Burn": "#c9702c", "candle": "#8a8f3a"}
LEFT, PLOT, WIDTH, BAR, GAP, TOP, MOST = 250, 450, 880, 15, 14, 56, 100
SHOWN = ("training step", "inference", "the notebook")


def table(page):
    """The work, peer and ratio of each row of the first table."""
    lines = iter(page.read_text().splitlines())
    for line in lines:
        if line.startswith("| work "):
            break
    next(lines)
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        work, _, peer, _, ratio, _ = (cell.strip() for cell in line.strip("|").split("|"))
        if work.startswith(SHOWN):
            rows.append((work, peer, float(ratio)))
    return rows


def picture(rows):
    def x(ratio):
        return LEFT + PLOT * math.log(ratio) / math.log(MOST)

    marks, y, before = [], TOP, None
    for work, peer, ratio in rows:
        if work != before:
            y += GAP if before else 0
            marks.append(f'<text x="{LEFT - 10}" y="{y + 12}" text-anchor="end">{work}</text>')
            before = work
        width = x(ratio) - LEFT
        marks.append(f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR - 2}" fill="{PEERS[peer]}"/>')
        marks.append(f'<text x="{LEFT + width + 6:.1f}" y="{y + 11}" class="small">{ratio:g} times {peer}</text>')
        y += BAR
    height = y + 34
    grid = []
    for ratio in (1, 2, 5, 10, 20, 50, 100):
        grid.append(f'<line x1="{x(ratio):.1f}" y1="{TOP - 8}" x2="{x(ratio):.1f}" y2="{y + 4}"/>')
        grid.append(f'<text x="{x(ratio):.1f}" y="{y + 20}" text-anchor="middle" class="small">{ratio}</text>')
    style = ("text { font: 13px sans-serif; fill: #222 } .small { font-size: 11px } .title { font-weight: 600 } line { stroke: #ccc } "
             ".back { fill: #fff } @media (prefers-color-scheme: dark) { text { fill: #ddd } line { stroke: #444 } .back { fill: #16181c } }")
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="How many times as quick '
        'humdinger is as each peer, on two CPU cores; the numbers are in BENCHMARKS.md">',
        f"<style>{style}</style>", f'<rect class="back" width="{WIDTH}" height="{height}"/>',
        '<text x="14" y="26" class="title">How many times as quick humdinger is on two CPU cores (logarithmic)</text>',
        *grid, *marks, "</svg>"]) + "\n"


def main():
    if sys.argv[1:] not in ([], ["--check"]):
        sys.exit(__doc__)
    text, path = picture(table(HERE / "BENCHMARKS.md")), HERE / "docs/benchmarks.svg"
    if not sys.argv[1:]:
        part = path.with_suffix(".part")
        part.write_text(text)
        part.rename(path)
    elif not path.exists() or path.read_text() != text:
        sys.exit("docs/benchmarks.svg is not the picture of BENCHMARKS.md's table: tools/chart.py draws it again")


if __name__ == "__main__":
    main()
