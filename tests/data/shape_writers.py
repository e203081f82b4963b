"""Single shapes in the formats that others publish, written by the tests."""

import json
from pathlib import Path

import h5py
import numpy as np

CUBE = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=np.float64)
SQUARES = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
TRIANGLES = [t for a, b, c, d in SQUARES for t in ((a, b, c), (a, c, d))]


def clouds(count: int, points: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, points, 3)).astype(np.float32)


def write_modelnet_h5(root: Path, *, normals: bool = True, lists: bool = True) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "shape_names.txt").write_text("chair\ntable\nnight_stand\n")
    for name, count in (("train0", 5), ("train1", 4), ("test0", 3)):
        data = clouds(count, 16, seed=count)
        with h5py.File(root / f"ply_data_{name}.h5", "w") as file:
            file.create_dataset("data", data=data, compression="gzip")
            file.create_dataset("label", data=(np.arange(count) % 3).astype("u1")[:, None])
            if normals:
                unit = data / np.linalg.norm(data, axis=2, keepdims=True)
                file.create_dataset("normal", data=unit)
    if lists:
        for split, files in (("train", ("train0", "train1")), ("test", ("test0",))):
            lines = [f"data/modelnet40_ply_hdf5_2048/ply_data_{name}.h5" for name in files]
            (root / f"{split}_files.txt").write_text("\n".join(lines) + "\n")
    return root


def write_scanobjectnn(root: Path) -> Path:
    for folder in ("main_split", "main_split_nobg"):
        (root / folder).mkdir(parents=True)
        for start, count in (("training", 6), ("test", 3)):
            for end in ("objectdataset", "objectdataset_augmentedrot_scale75"):
                with h5py.File(root / folder / f"{start}_{end}.h5", "w") as file:
                    file["data"] = clouds(count, 16, seed=len(folder) + len(end))
                    file["label"] = np.arange(count, dtype=np.int32) * 2
                    file["mask"] = np.full((count, 16), -1, dtype=np.int32)
    return root


def write_modelnet_text(root: Path, points: int = 12) -> Path:
    names = {"train": ("chair_0001", "chair_0002", "night_stand_0001"), "test": ("chair_0003",)}
    root.mkdir(parents=True, exist_ok=True)
    (root / "modelnet40_shape_names.txt").write_text("chair\nnight_stand\n")
    for split, listed in names.items():
        (root / f"modelnet40_{split}.txt").write_text("\n".join(listed) + "\n")
        for number, name in enumerate(listed):
            path = root / name.rpartition("_")[0] / f"{name}.txt"
            path.parent.mkdir(exist_ok=True)
            cloud = clouds(1, points, seed=number)[0]
            unit = cloud / np.linalg.norm(cloud, axis=1, keepdims=True)
            np.savetxt(path, np.hstack([cloud, unit]), fmt="%.6f", delimiter=",")
    return root


def off_text(*, glued: bool = False, squares: bool = False) -> str:
    faces = SQUARES if squares else TRIANGLES
    head = "OFF" + ("" if glued else "\n") + f"{len(CUBE)} {len(faces)} 0\n"
    points = "".join(f"{x:g} {y:g} {z:g}\n" for x, y, z in CUBE)
    return head + points + "".join(f"{len(f)} {' '.join(map(str, f))}\n" for f in faces)


def write_modelnet_off(root: Path) -> Path:
    for split, count in (("train", 3), ("test", 2)):
        for name in ("bed", "chair"):
            folder = root / name / split
            folder.mkdir(parents=True)
            for number in range(count):
                text = off_text(glued=number == 1, squares=number == 2)
                (folder / f"{name}_{split}_{number:04d}.off").write_text(text)
    return root


def write_shapenet55(root: Path) -> Path:
    (root / "shapenet_pc").mkdir(parents=True)
    (root / "ShapeNet-55").mkdir()
    for split, names in (
        ("train", ("02691156-1a04", "03001627-77f3")), ("test", ("03001627-aa12",))
    ):  # fmt: skip
        (root / "ShapeNet-55" / f"{split}.txt").write_text("".join(f"{n}.npy\n" for n in names))
        for number, name in enumerate(names):
            np.save(root / "shapenet_pc" / f"{name}.npy", clouds(1, 32, seed=number)[0])
    return root


def write_shapenet_part(root: Path, points: int = 12) -> Path:
    (root / "train_test_split").mkdir(parents=True)
    (root / "synsetoffset2category.txt").write_text("Airplane\t02691156\nCap\t02954340\n")
    lists = {
        "train": [("02691156", "a1"), ("02954340", "c1")],
        "val": [("02954340", "c2")],
        "test": [("02691156", "a2")],
    }
    for split, listed in lists.items():
        path = root / "train_test_split" / f"shuffled_{split}_file_list.json"
        path.write_text(json.dumps([f"shape_data/{offset}/{model}" for offset, model in listed]))
        for offset, model in listed:
            cloud = clouds(1, points, seed=len(model))[0]
            first = 0 if offset == "02691156" else 6
            part = first + np.arange(points)[:, None] % 2
            (root / offset).mkdir(exist_ok=True)
            table = np.hstack([cloud, cloud, part.astype(np.float64)])
            np.savetxt(root / offset / f"{model}.txt", table, fmt="%.6f")
    return root


def write_npz_split(root: Path, **changed: np.ndarray) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "classes.txt").write_text("bathtub\nchair\n")
    arrays = {
        "points": clouds(4, 16),
        "label": np.array([0, 1, 1, 0], dtype="u1"),
        "name": np.array(["bathtub_0001", "chair_0001", "chair_0002", "bathtub_0002"]),
    }
    np.savez_compressed(root / "train.npz", **{**arrays, **changed})
    return root


def write_npz_singles(root: Path) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for number in range(3):
        cloud = clouds(1, 10 + number, seed=number)[0]
        part = (np.arange(len(cloud)) % 2).astype("u1")
        np.savez_compressed(root / f"cap_{number:02d}.npz", points=cloud, normals=cloud, part=part)
    return root
