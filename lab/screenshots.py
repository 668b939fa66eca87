"""Takes the pictures of the page that the documentation shows: `python -m lab.screenshots docs/screenshots`."""

from __future__ import annotations

import sys
from pathlib import Path

from lab.browser import Browser
from lab.past import SERVER_ERROR, Past, many_targets, one_target

#: Width and height in CSS pixels, and whether it is a phone's.
_DESKTOP, _PHONE, _SMALL_PHONE = (1280, 900, False), (390, 844, True), (320, 640, True)

#: The pictures by the past that they show: a name, the screen, the colours, what is asked for.
_PICTURES = {
    "one-up": (
        ("one-up-desktop", _DESKTOP, "light", ""),
        ("one-up-phone", _PHONE, "dark", ""),
    ),
    "one-down": (
        ("one-down-desktop", _DESKTOP, "dark", ""),
        ("one-down-phone", _PHONE, "light", ""),
    ),
    "many-up": (
        ("many-up-desktop", _DESKTOP, "light", ""),
        ("many-up-phone", _SMALL_PHONE, "dark", ""),
    ),
    "many-down": (
        ("many-down-desktop", _DESKTOP, "light", ""),
        ("many-down-desktop-dark", _DESKTOP, "dark", ""),
        ("many-down-phone", _PHONE, "light", ""),
        ("many-down-small-phone", _SMALL_PHONE, "dark", ""),
    ),
}


def a_past(name: str) -> Past:
    """Given the name of a past, return it."""
    if name.startswith("one"):
        return one_target(*[SERVER_ERROR] * name.endswith("down"))
    return many_targets(failing=name.endswith("down"))


def main(folder: Path) -> None:
    """Given a folder, take all pictures into it."""
    folder.mkdir(parents=True, exist_ok=True)
    with Browser() as browser:
        for name, pictures in _PICTURES.items():
            with a_past(name).served() as url:
                for file, (width, height, mobile), colours, asked in pictures:
                    browser.set_screen(width, height, mobile=mobile)
                    browser.set_colours(colours)
                    browser.open(url + asked)
                    browser.picture(folder / f"{file}.png", most_height=1000)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
