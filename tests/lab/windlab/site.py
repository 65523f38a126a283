"""Makes small web sites from a seed: pages with style sheets, scripts, pictures and links."""

import os
import struct
import zlib

WORDS = (
    "network traffic sensor report weekly budget travel policy kitchen menu project release "
    "holiday printer ticket order stock museum garden bicycle coffee music winter summer river "
    "bridge station market window letter paper signal record number morning evening"
).split()


def picture(rng, side):
    """A PNG of side x side pixels: flat areas with some noise, as drawings have."""
    rows = []
    for _ in range(side):
        left, right = rng.randrange(256), rng.randrange(256)
        cut = rng.randrange(side)
        noise = bytes(rng.randrange(256) for _ in range(side // 4))
        rows.append(b"\0" + bytes([left]) * cut + noise + bytes([right]) * (side - cut))
    data = b"".join(row[: side + 1] for row in rows)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack("!I", len(body)) + kind + body + struct.pack("!I", zlib.crc32(kind + body))
        for kind, body in (
            (b"IHDR", struct.pack("!IIBBBBB", side, side, 8, 0, 0, 0, 0)),
            (b"IDAT", zlib.compress(data)),
            (b"IEND", b""),
        )
    )


def _sentence(rng):
    return " ".join(rng.choice(WORDS) for _ in range(rng.randrange(6, 16))).capitalize() + "."


def _page(rng, title, links, pictures):
    text = "\n".join(
        f"<p>{' '.join(_sentence(rng) for _ in range(rng.randrange(2, 6)))}</p>"
        for _ in range(rng.randrange(2, 7))
    )
    images = "\n".join(f'<img src="/{name}" alt="">' for name in pictures)
    anchors = "\n".join(f'<li><a href="/{name}">{name}</a>' for name in links)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>\n'
        f'<link rel="stylesheet" href="/style.css"><script src="/app.js" defer></script>\n'
        f"<h1>{title}</h1>\n{text}\n{images}\n<ul>\n{anchors}\n</ul></html>\n"
    )


def _write(root, name, data):
    path = os.path.join(root, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data.encode() if isinstance(data, str) else data)


def make_site(rng, root, size):
    """Write a site; `size` scales pictures and downloads. Returns the names of its pages."""
    pages = ["index.html"] + [f"page{i}.html" for i in range(1, rng.randrange(4, 9))]
    pictures = [f"img/{i}.png" for i in range(rng.randrange(4, 10))]
    for name in pictures:
        _write(root, name, picture(rng, max(8, int(rng.randrange(16, 64) * size**0.5))))
    for name in pages:
        some = rng.sample(pictures, rng.randrange(1, min(5, len(pictures))))
        links = [page for page in pages if page != name]
        _write(root, name, _page(rng, name.removesuffix(".html"), links, some))
    rules = "\n".join(f".c{i} {{ margin: {rng.randrange(20)}px }}" for i in range(40))
    _write(root, "style.css", "body { font-family: sans-serif; max-width: 60em }\n" + rules)
    script = 'fetch("/api/news").then(r => r.text()).then(t => document.title += " " + t.length);'
    _write(root, "app.js", script + "\n// " + _sentence(rng) * 5)
    _write(root, "api/news", '{"items": [' + ", ".join(f'"{_sentence(rng)}"' for _ in "123") + "]}")
    for i in range(3):
        _write(root, f"files/{i}.bin", rng.randbytes(int(rng.randrange(2000, 24000) * size)))
    _write(root, "favicon.ico", picture(rng, 16))
    return pages
