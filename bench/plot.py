"""Bars as SVG, one a program, its name before and its value behind it; and a line over time."""
from xml.sax.saxutils import escape

LEFT, WIDTH, RIGHT = 130, 420, 110
HEIGHT, GAP, TOP = 20, 8, 56
OURS, OTHERS = "#1f6f8b", "#9db4c0"


def bar(line, name, value, most):
    y = TOP + line * (HEIGHT + GAP)
    middle = y + HEIGHT * 0.7
    width = max(1, WIDTH * max(0, value or 0) / most)
    label = "not measured" if value is None else f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return (f'<text x="{LEFT - 8}" y="{middle}" text-anchor="end">{escape(name)}</text>'
            f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{HEIGHT}" '
            f'fill="{OURS if name == "dnseal" else OTHERS}"/>'
            f'<text x="{LEFT + width + 6:.1f}" y="{middle}">{label}</text>')


def page(title, unit, height, shapes):
    width = LEFT + WIDTH + RIGHT
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
        'font-size="13">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="12" y="22" font-weight="bold">{escape(title)}</text>',
        f'<text x="12" y="42" fill="#555">{escape(unit)}</text>',
        *shapes, "</svg>", ""])


def bars(title, unit, values):
    """`values` by name, None where there is none."""
    most = max([value for value in values.values() if value] + [1e-9])
    height = TOP + len(values) * (HEIGHT + GAP) + 8
    return page(title, unit, height,
                [bar(line, name, value, most) for line, (name, value) in enumerate(values.items())])


def timeline(title, unit, values):
    """One value after the other, from 0 to the next power of ten, with a mark in the middle."""
    top, bottom, wide = TOP, TOP + 160, LEFT + WIDTH
    most = 1
    while most < max(values):
        most *= 10
    points = [(LEFT + (number + 0.5) * WIDTH / len(values), bottom - (bottom - top) * value / most)
              for number, value in enumerate(values)]
    middle = LEFT + WIDTH / 2
    return page(title, unit, bottom + 20, [
        f'<path d="M{LEFT} {top}V{bottom}H{wide}" fill="none" stroke="#555"/>',
        f'<text x="{LEFT - 8}" y="{top + 5}" text-anchor="end">{most:,}</text>',
        f'<text x="{LEFT - 8}" y="{bottom}" text-anchor="end">0</text>',
        f'<line x1="{middle}" y1="{top}" x2="{middle}" y2="{bottom}" stroke="#c33" stroke-dasharray="4 4"/>',
        f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}" fill="none" stroke="{OURS}" '
        'stroke-width="2"/>'])
