"""Where torchvision's data sets look for their files, so that an error can name the one that is absent."""

from pathlib import Path

from torchvision.datasets.utils import check_integrity


def official_files(data_class: type, root: Path) -> list[tuple[Path, str | None]]:
    """(file, MD5 or None) of every file that `data_class` needs under `root`; empty where the class does not tell.

    Known are the layouts of CIFAR (a folder of batches), MNIST (the unzipped idx files), SVHN (a file a split) and
    CelebA (text files; its images, which come in an archive, are not among them).
    """
    if hasattr(data_class, "base_folder") and hasattr(data_class, "file_list"):
        folder = root / data_class.base_folder
        return [(folder / name, md5) for _, md5, name in data_class.file_list if not name.endswith((".zip", ".7z"))]
    if hasattr(data_class, "base_folder") and hasattr(data_class, "train_list"):
        folder = root / data_class.base_folder
        files = [(folder / name, md5) for name, md5 in [*data_class.train_list, *data_class.test_list]]
        meta = getattr(data_class, "meta", None)
        return files + ([(folder / meta["filename"], meta["md5"])] if meta else [])
    if isinstance(vars(data_class).get("resources"), list):  # its own: relatives of MNIST have other files
        folder = root / data_class.__name__ / "raw"
        return [(folder / Path(name).stem, None) for name, _ in data_class.resources]
    if isinstance(getattr(data_class, "split_list", None), dict):
        splits = [data_class.split_list.get(split, ()) for split in ("train", "test")]
        return [(root / split[1], split[2]) for split in splits if len(split) == 3]
    return []


def absent_file(data_class: type, root: Path) -> Path | None:
    """The first official file that is not under `root`."""
    return next((file for file, _ in official_files(data_class, root) if not file.is_file()), None)


def damaged_file(data_class: type, root: Path) -> Path | None:
    """The first official file under `root` whose MD5 is not the official one. Reads all of them."""
    files = official_files(data_class, root)
    return next((file for file, md5 in files if md5 is not None and not check_integrity(str(file), md5)), None)


def archive(data_class: type) -> str:
    """The official file or files that hold the data, for an error that says what to put there."""
    if isinstance(getattr(data_class, "filename", None), str):
        return f"the unpacked {data_class.filename}"
    names = [file.name for file, _ in official_files(data_class, Path())]
    return f"the official {', '.join(names)}" if names else f"the files of torchvision's {data_class.__name__}"
