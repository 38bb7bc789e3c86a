"""QR codes for the pages."""

import io

import segno


def qr_svg(text: str) -> str:
    """A QR code as an inline SVG: dark on white in dark mode too, because some scanners read no inverted codes."""
    out = io.BytesIO()
    segno.make(text, error="m", micro=False).save(
        out, kind="svg", xmldecl=False, scale=6, border=4, dark="#000", light="#fff", svgclass="qr", omitsize=True
    )
    return out.getvalue().decode()
