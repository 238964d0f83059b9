"""Folders that programs expect beside them: unpacked data that a book's build would have fetched."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

from tools.books.standins import archives, pictures

# what a program mentions -> the archive that is unpacked, and where
UNPACKED = {
    "data/names": ("names.zip", "."),
    "data/eng-": ("eng-fra.zip", "."),
    "hymenoptera_data": ("hymenoptera_data.zip", "data"),
    "data/faces": ("faces.zip", "data"),
    "celeba": ("celeba.zip", "data"),
    "movie-corpus": ("movie-corpus.zip", "data"),
}
PICTURES = {"dancing.jpg": "data/images", "picasso.jpg": "data/images", "catdog.jpg": "img", "cat.jpg": "img"}


def place(program: str) -> None:
    """Puts into the current folder what the text of a program mentions."""
    for words, (name, folder) in UNPACKED.items():
        if words in program:
            unpack(name, Path(folder))
    for name, folder in PICTURES.items():
        if name in program and not Path(folder, name).exists():
            Path(folder).mkdir(parents=True, exist_ok=True)
            Path(folder, name).write_bytes(pictures.files(1, 128, seed=len(name), form="JPEG")[0])


def unpack(name: str, folder: Path) -> None:
    """Unpacks one of the archives."""
    data = io.BytesIO(archives.FILES[name]())
    if zipfile.is_zipfile(data):
        zipfile.ZipFile(data).extractall(folder)
    else:
        data.seek(0)
        tarfile.open(fileobj=data).extractall(folder, filter="data")
