"""Bars as SVG: one a program, its name before and its value behind it."""
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


def bars(title, unit, values):
    """`values` by name, None where there is none."""
    most = max([value for value in values.values() if value] + [1e-9])
    height = TOP + len(values) * (HEIGHT + GAP) + 8
    width = LEFT + WIDTH + RIGHT
    lines = [bar(line, name, value, most) for line, (name, value) in enumerate(values.items())]
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
        'font-size="13">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="12" y="22" font-weight="bold">{escape(title)}</text>',
        f'<text x="12" y="42" fill="#555">{escape(unit)}</text>',
        *lines, "</svg>", ""])
