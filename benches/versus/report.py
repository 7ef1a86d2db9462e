"""The table and the plot of a run of versus.py."""

from html import escape

OURS = "pipeline summarize"
BAR, LINE, LEFT, WIDTH = 14, 18, 270, 900
COLOURS = {True: "#8aa4c8", False: "#c9c9c9", None: "#2f6f4f"}


def ratio(programs: dict) -> float | None:
    """How many times longer the fastest of the same full work takes."""
    others = [p["seconds"] for name, p in programs.items() if name != OURS and p["full"] and p["runs"]]
    ours = programs[OURS]
    return min(others) / ours["seconds"] if others and ours["runs"] else None


def speed(table: dict, program: dict) -> tuple:
    """Files a second where there are many, else MB a second."""
    if table["files"] > 1:
        return table["files"] / program["seconds"], "files/s"
    return table["megabytes"] / program["seconds"], "MB/s"


def markdown(results: dict) -> str:
    lines = ["# Side by side", "",
             "Page cache warm; medians of interleaved rounds. MB are those of the uncompressed text. Written by `../versus.py`;",
             "every single run is in `runs.json`.", "", "![speeds](plot.svg)", ""]
    for name, table in results.items():
        programs = table["programs"]
        ours = programs[OURS].get("seconds")
        shown = ratio(programs)
        lines += [f"## {name}", "",
                  f"{table['megabytes']:.0f} MB in {table['files']:,} file{'s' * (table['files'] > 1)}. "
                  + (f"**{shown:.1f} ×** the fastest of the same full work. " if shown else "No ratio. ")
                  + f"{table['day']}, {table['machine']}, {table['rounds']} round{'s' * (table['rounds'] > 1)}.", "",
                  "| program | full work | speed | takes as long as ours, times | peak memory | answers |",
                  "|---|---|---|---|---|---|"]
        for program, facts in sorted(programs.items(), key=lambda item: item[1].get("seconds", 1e9)):
            note = facts["note"] or "–"
            if not facts["runs"]:
                lines.append(f"| {program} | {'yes' if facts['full'] else 'no'} | – | – | – | {note} |")
                continue
            value, unit = speed(table, facts)
            times = f"{facts['seconds'] / ours:.1f}" if ours else "–"
            lines.append(f"| {program} | {'yes' if facts['full'] else 'no'} | {value:,.0f} {unit} | {times} | "
                         f"{facts['peak']:,.0f} MiB | {note} |")
        lines.append("")
    return "\n".join(lines)


def svg(results: dict) -> str:
    """Horizontal bars, one group a table: ours green, the same full work blue, less work grey."""
    parts, y = [], 10
    for name, table in results.items():
        ran = {p: facts for p, facts in table["programs"].items() if facts["runs"]}
        if not ran:
            continue
        unit = speed(table, next(iter(ran.values())))[1]
        parts.append(f'<text x="4" y="{y + BAR}" font-weight="bold">{escape(name)}, {unit}</text>')
        y += LINE
        most = max(speed(table, facts)[0] for facts in ran.values())
        for program, facts in sorted(ran.items(), key=lambda item: item[1]["seconds"]):
            value = speed(table, facts)[0]
            length = max(1, round(value / most * (WIDTH - LEFT - 70)))
            colour = COLOURS[None if program == OURS else facts["full"]]
            parts += [f'<text x="{LEFT - 6}" y="{y + BAR - 3}" text-anchor="end">{escape(program)}</text>',
                      f'<rect x="{LEFT}" y="{y}" width="{length}" height="{BAR}" fill="{colour}"/>',
                      f'<text x="{LEFT + length + 5}" y="{y + BAR - 3}">{value:,.0f}</text>']
            y += LINE
        y += LINE // 2
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}" '
            'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>')
    return "\n".join([head, *parts, "</svg>", ""])
