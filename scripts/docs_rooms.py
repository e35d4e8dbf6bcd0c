"""The rooms of the library as a drawing without a script: a floor for each rank, and an arrow for each import."""

from html import escape

from draw_rooms import RANKS, arrows, rooms

HIGH, GAP, WIDE, PAD = 26, 34, 940, 8


def places() -> dict[str, tuple[float, float, float]]:
    """Left edge, top and width of each room's box; rooms that import the most are at the top."""
    floors = [{"cli"}, *reversed(RANKS), {"reference"}]
    found: dict[str, tuple[float, float, float]] = {}
    top = 0.0
    for floor in floors:
        names = sorted(floor)
        rows = [names[i : i + 9] for i in range(0, len(names), 9)]
        for row in rows:
            widths = [7.2 * len(name) + 2 * PAD for name in row]
            space = (WIDE - sum(widths)) / (len(row) + 1)
            left = space
            for name, width in zip(row, widths, strict=True):
                found[name] = (left, top, width)
                left += width + space
            top += HIGH + GAP
    return found


def drawing() -> str:
    """The SVG element; its lines and letters have the colour of the text around it."""
    found = places()
    lines = []
    for name, to in arrows(rooms()):
        (x, y, w), (x2, y2, w2) = found[name], found[to]
        start, end = (y + HIGH, y2) if y2 > y else (y, y2 + HIGH) if y2 < y else (y + HIGH, y2 + HIGH)
        x, x2 = x + w / 2, x2 + w2 / 2
        bend = GAP if y2 == y else 0
        lines.append(
            f'<path d="M{x:.0f} {start:.0f} C{x:.0f} {start + (bend or (end - start) / 2):.0f} '
            f'{x2:.0f} {end + (bend or (start - end) / 2):.0f} {x2:.0f} {end:.0f}"/>'
        )
    boxes = [
        f'<rect x="{x:.0f}" y="{y:.0f}" width="{w:.0f}" height="{HIGH}" rx="4"/>'
        f'<text x="{x + w / 2:.0f}" y="{y + 17:.0f}">{escape(name)}</text>'
        for name, (x, y, w) in found.items()
    ]
    height = max(y for _, y, _ in found.values()) + HIGH + 2
    return (
        f'<div class="rooms"><svg viewBox="-2 -2 {WIDE + 4} {height + 4:.0f}" role="img" '
        f'aria-label="The rooms of npsnn and their imports"><defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" '
        f'markerWidth="6" markerHeight="6" orient="auto"><path d="M0 0 L8 4 L0 8 z" class="tip"/></marker></defs>'
        f"{''.join(lines)}{''.join(boxes)}</svg></div>"
    )
