"""Files by the names under which books fetch them: small, synthetic, of the same form."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import random
import tarfile
import zipfile
from collections.abc import Callable, Mapping

import numpy as np

from tools.books.standins import pictures
from tools.books.standins.words import sentences, vocabulary

FILES: dict[str, Callable[[], bytes]] = {}


def file(*names: str) -> Callable[[Callable[[], bytes | str]], Callable]:
    """Registers what makes the files of these names."""

    def register(make: Callable[[], bytes | str]) -> Callable:
        def content() -> bytes:
            made = make()
            return made.encode() if isinstance(made, str) else made

        FILES.update(dict.fromkeys(names, content))
        return make

    return register


def zipped(files: Mapping[str, bytes | str]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return data.getvalue()


def tarred(files: Mapping[str, bytes | str], mode: str = "w") -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=mode) as archive:  # type: ignore[call-overload]
        for name, text in files.items():
            body = text.encode() if isinstance(text, str) else text
            entry = tarfile.TarInfo(name)
            entry.size = len(body)
            archive.addfile(entry, io.BytesIO(body))
    return data.getvalue()


# Dive into Deep Learning: texts


@file("timemachine.txt")
def time_machine() -> str:
    return "\n".join(["The Time Machine, by H. G. Wells [1898]", "", *sentences(600, seed=1)])


@file("fra-eng.zip")
def french() -> bytes:
    english = sentences(700, seed=2, size=60, low=1, high=5)
    pairs = [f"{text.capitalize()}.\t{' '.join(word[::-1] for word in text.split()).capitalize()} !" for text in english]
    return zipped({"fra-eng/fra.txt": "\n".join(pairs)})


@file("ptb.zip")
def penn_treebank() -> bytes:
    return zipped(
        {f"ptb/ptb.{part}.txt": "\n".join(sentences(800, seed=i, size=150)) for i, part in enumerate(("train", "valid", "test"))}
    )


@file("wikitext-2-v1.zip")
def wikitext() -> bytes:
    def text(seed: int) -> str:
        lines = sentences(400, seed, size=150)
        return "\n".join(f" {a} . {b} . {c} . " for a, b, c in zip(lines[::3], lines[1::3], lines[2::3]))

    return zipped({f"wikitext-2/wiki.{part}.tokens": text(i) for i, part in enumerate(("train", "valid", "test"))})


@file("aclImdb_v1.tar.gz")
def reviews() -> bytes:
    files = {}
    for part in ("train", "test"):
        for mood, word in (("pos", "great"), ("neg", "bad")):
            for i, text in enumerate(sentences(64, seed=len(part) + len(word), high=40)):
                files[f"aclImdb/{part}/{mood}/{i}_7.txt"] = f"{text} {word}"
    return tarred(files, "w:gz")


@file("snli_1.0.zip")
def inference() -> bytes:
    files = {}
    for part, count in (("train", 384), ("dev", 64), ("test", 128)):
        stream, lines = random.Random(count), sentences(2 * count, seed=count, size=120)
        rows = ["gold_label\tsentence1_binary_parse\tsentence2_binary_parse"]
        for first, second in zip(lines[::2], lines[1::2]):
            label = stream.choice(["entailment", "contradiction", "neutral"])
            rows.append(f"{label}\t( {first} )\t( {second} )")
        files[f"snli_1.0/snli_1.0_{part}.txt"] = "\n".join(rows) + "\n"
    return zipped(files)


def _vectors(folder: str, width: int) -> Callable[[], bytes]:
    def make() -> bytes:
        stream = np.random.RandomState(width)
        words = vocabulary(400) + [
            "chip",
            "baby",
            "beautiful",
            "man",
            "woman",
            "son",
            "daughter",
            "beijing",
            "china",
            "tokyo",
            "japan",
        ]
        words += ["bad", "worst", "big", "bigger", "biggest", "do", "did", "go", "went", "unk", "<unk>"]
        lines = [word + "".join(f" {x:.4f}" for x in stream.standard_normal(width)) for word in dict.fromkeys(words)]
        return zipped({f"{folder}/vec.txt": "\n".join(lines)})

    return make


for _name, _width in (("glove.6B.50d", 50), ("glove.6B.100d", 100), ("glove.42B.300d", 300), ("wiki.en", 300)):
    FILES[f"{_name}.zip"] = _vectors(_name, _width)


# Dive into Deep Learning: tables


@file("airfoil_self_noise.dat")
def airfoil() -> str:
    stream = np.random.RandomState(0)
    return "\n".join("\t".join(f"{x:.5f}" for x in row) for row in stream.standard_normal((1503, 6)))


def _houses(count: int, first: int, priced: bool) -> str:
    stream = random.Random(first)
    columns = [
        "Id",
        "MSSubClass",
        "MSZoning",
        "LotFrontage",
        "LotArea",
        "Street",
        "YearBuilt",
        "SaleType",
        "SaleCondition",
    ]
    rows = [",".join(columns + ["SalePrice"] * priced)]
    for number in range(first, first + count):
        front, area = stream.randint(20, 120), stream.randint(2000, 20000)
        row = [
            number,
            stream.choice([20, 30, 60]),
            stream.choice(["RL", "RM", "FV"]),
            stream.choice([front, "NA"]),
            area,
            "Pave",
        ]
        row += [stream.randint(1900, 2010), stream.choice(["WD", "New"]), stream.choice(["Normal", "Abnorml"])]
        rows.append(",".join(map(str, row + [50_000 + 8 * area + 300 * front] * priced)))
    return "\n".join(rows) + "\n"


FILES["kaggle_house_pred_train.csv"] = lambda: _houses(400, 1, True).encode()
FILES["kaggle_house_pred_test.csv"] = lambda: _houses(200, 401, False).encode()


# Dive into Deep Learning: pictures


def _pictures(folder: str, names: list[str], side: int, seed: int, form: str = "PNG") -> dict[str, bytes]:
    return {f"{folder}/{name}": data for name, data in zip(names, pictures.files(len(names), side, seed, form))}


@file("banana-detection.zip")
def bananas() -> bytes:
    files: dict[str, bytes | str] = {}
    for part, count in (("train", 40), ("val", 16)):
        names = [f"{i}.png" for i in range(count)]
        files |= _pictures(f"banana-detection/bananas_{part}/images", names, 256, seed=count)
        stream = random.Random(count)
        rows = ["img_name,label,xmin,ymin,xmax,ymax"]
        for name in names:
            x, y = stream.randint(0, 190), stream.randint(0, 190)
            rows.append(f"{name},0,{x},{y},{x + stream.randint(30, 60)},{y + stream.randint(30, 60)}")
        files[f"banana-detection/bananas_{part}/label.csv"] = "\n".join(rows) + "\n"
    return zipped(files)


@file("VOCtrainval_11-May-2012.tar")
def voc() -> bytes:
    from PIL import Image

    root, files = "VOCdevkit/VOC2012", {}
    colours = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128]], np.uint8)
    for part, count in (("train", 40), ("val", 20)):
        names = [f"2007_{part}{i:03}" for i in range(count)]
        files[f"{root}/ImageSets/Segmentation/{part}.txt"] = "\n".join(names).encode()
        stream = np.random.RandomState(count)
        for name in names:
            picture = stream.randint(0, 255, (330, 490, 3)).astype(np.uint8)
            small = Image.fromarray(colours[stream.randint(0, 5, (6, 8))]).resize((490, 330), Image.Resampling.NEAREST)
            files[f"{root}/JPEGImages/{name}.jpg"] = pictures.encoded(picture, "JPEG")
            files[f"{root}/SegmentationClass/{name}.png"] = pictures.encoded(np.asarray(small))
    return tarred(files)


@file("hotdog.zip")
def hotdogs() -> bytes:
    files = {}
    for part, count in (("train", 24), ("test", 8)):
        for kind in ("hotdog", "not-hotdog"):
            files |= _pictures(f"hotdog/{part}/{kind}", [f"{i}.png" for i in range(count)], 256, seed=count + len(kind))
    return zipped(files)


@file("kaggle_cifar10_tiny.zip")
def cifar_tiny() -> bytes:
    kinds = "airplane automobile bird cat deer dog frog horse ship truck".split()
    files: dict[str, bytes | str] = dict(_pictures("kaggle_cifar10_tiny/train", [f"{i}.png" for i in range(1, 201)], 32, seed=1))
    files |= _pictures("kaggle_cifar10_tiny/test", [f"{i}.png" for i in range(1, 6)], 32, seed=2)
    files["kaggle_cifar10_tiny/trainLabels.csv"] = "id,label\n" + "".join(f"{i},{kinds[i % 10]}\n" for i in range(1, 201))
    return zipped(files)


@file("kaggle_dog_tiny.zip")
def dogs_tiny() -> bytes:
    names = [f"{i:04x}" for i in range(40)]
    files: dict[str, bytes | str] = dict(_pictures("kaggle_dog_tiny/train", [f"{name}.jpg" for name in names], 128, 1, "JPEG"))
    files |= _pictures("kaggle_dog_tiny/test", [f"t{i}.jpg" for i in range(6)], 128, 2, "JPEG")
    files["kaggle_dog_tiny/labels.csv"] = "id,breed\n" + "".join(f"{name},breed{i % 5}\n" for i, name in enumerate(names))
    return zipped(files)


@file("pokemon.zip")
def pokemon() -> bytes:
    return zipped(_pictures("pokemon/abra", [f"{i}.png" for i in range(300)], 64, seed=3))


# PyTorch's tutorials


@file("names.zip")
def names() -> bytes:
    languages = "Arabic Chinese Dutch English French German Japanese Russian Spanish Irish".split()
    stream, words = random.Random(3), vocabulary(400)
    return zipped(
        {f"data/names/{name}.txt": "\n".join(word.capitalize() for word in stream.sample(words, 60)) for name in languages}
    )


@file("eng-fra.zip")
def english_french() -> bytes:
    begins = ["i am ", "he is ", "she is ", "you are ", "we are ", "they are "]
    lines = [begins[i % 6] + text for i, text in enumerate(sentences(400, seed=4, size=80, low=1, high=4))]
    return zipped({"data/eng-fra.txt": "\n".join(f"{line}\t{' '.join(w[::-1] for w in line.split())} ." for line in lines)})


@file("movie-corpus.zip")
def films() -> bytes:
    rows = []
    for i, text in enumerate(sentences(600, seed=8, size=40, low=2, high=7)):
        row = {
            "id": f"L{i}",
            "conversation_id": f"L{i - i % 4}",
            "speaker": f"u{i % 2}",
            "text": text,
            "meta": {"movie_id": "m0"},
        }
        rows.append(json.dumps(row))
    return zipped({"movie-corpus/utterances.jsonl": "\n".join(rows[::-1])})


@file("hymenoptera_data.zip")
def insects() -> bytes:
    files = {}
    for part, count in (("train", 12), ("val", 8)):
        for kind in ("ants", "bees"):
            files |= _pictures(
                f"hymenoptera_data/{part}/{kind}", [f"{i}.jpg" for i in range(count)], 260, count + len(kind), "JPEG"
            )
    return zipped(files)


@file("celeba.zip")
def people() -> bytes:
    return zipped(_pictures("celeba/img_align_celeba", [f"{i}.jpg" for i in range(96)], 80, 5, "JPEG"))


@file("faces.zip")
def faces() -> bytes:
    names, stream = [f"person{i}.jpg" for i in range(70)], np.random.RandomState(6)
    head = "image_name," + ",".join(f"part_{i}_x,part_{i}_y" for i in range(68))
    rows = [name + "".join(f",{value}" for value in stream.randint(20, 280, 136)) for name in names]
    files: dict[str, bytes | str] = dict(_pictures("faces", names, 300, 6, "JPEG"))
    return zipped(files | {"faces/face_landmarks.csv": "\n".join([head, *rows]) + "\n"})


@file("mnist.pkl.gz")
def mnist() -> bytes:
    parts = [pictures.arrays(count, 28, 1, 10, count) for count in (256, 64)]
    pairs = tuple((data.reshape(len(data), -1).astype(np.float32) / 255, labels.astype(np.int64)) for data, labels in parts)
    return gzip.compress(pickle.dumps((*pairs, pairs[1])))


@file("imagenet_class_index.json")
def classes() -> str:
    return json.dumps({str(i): [f"n{i:08}", f"class{i}"] for i in range(1000)})
