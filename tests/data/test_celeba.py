"""CelebA in its official layout: a handful of JPEGs and text files that the tests write; the real set is not needed."""

import pytest
import torch
from PIL import Image
from torchvision.datasets import CelebA

from src.errors import UserError
from src.runtime.build import build
from tests.data.sets import write_celeba
from tests.data.test_config import composed
from tests.preparing import Trained, begin
from tests.preparing import composed as config_of


@pytest.fixture
def faces(tmp_path, monkeypatch):
    """The folder and the labels of all images; torchvision's check of the official MD5s is taken out."""
    return tmp_path, write_celeba(tmp_path, monkeypatch)


def celeba(root, *overrides):
    small = ["batch_size=8", "num_workers=0", "image_size=[32,28]"]
    data = build(composed("celeba", f"root={root}", *small, *overrides).data, "data")
    data.prepare_data()
    data.setup()
    return data


def epoch(loader):
    return tuple(torch.cat(parts) for parts in zip(*loader, strict=True))


def test_the_official_splits_and_attributes(faces):
    root, labels = faces
    data = celeba(root)
    assert (data.train_size, data.val_size, data.num_classes, data.targets) == (24, 8, 3, "attributes")
    assert data.class_names == ["Red", "Green", "Blue"]  # without the empty name at the end of the line
    assert "24 training, 8 validation images 3x32x28, 3 attributes" in str(data)
    assert torch.equal(epoch(data.val_dataloader())[1], labels[24:32])
    assert torch.equal(epoch(data.test_dataloader())[1], labels[32:])


def test_images_carry_their_own_labels(faces):
    """Channel k is bright where attribute k is present: any mix-up of images and rows would show."""
    images, labels = epoch(celeba(faces[0], "mean=0", "std=1").train_dataloader())
    assert (images.shape, labels.dtype) == ((24, 3, 32, 28), torch.int64)
    assert torch.equal((images.mean((2, 3)) > 0.35).long(), labels)


def test_attributes_are_chosen_by_name_and_in_that_order(faces):
    root, labels = faces
    data = celeba(root, "attributes=[Blue,Red]")
    assert (data.num_classes, data.class_names) == (2, ["Blue", "Red"])
    assert torch.equal(epoch(data.val_dataloader())[1], labels[24:32][:, [2, 0]])
    assert celeba(root, "attributes=[Green]").num_classes == 1


def test_without_a_size_images_stay_as_they_are(faces):
    data = celeba(faces[0], "image_size=null", "mean=0", "std=1")
    assert data.input_shape == (3, 218, 178)
    with Image.open(data.folder / "img_align_celeba" / "000025.jpg") as image:
        expected = torch.frombuffer(bytearray(image.convert("RGB").tobytes()), dtype=torch.uint8).view(218, 178, 3)
    assert torch.allclose(epoch(data.val_dataloader())[0][0], expected.permute(2, 0, 1) / 255)


@pytest.mark.parametrize(("size", "least"), [("[64,64]", 64), ("[100,50]", 82), ("[218,178]", 178), ("128", 128)])
def test_the_least_size_that_covers_is_what_images_are_resized_to(faces, size, least):
    """Less would put black borders around every face."""
    data = celeba(faces[0], f"image_size={size}")
    assert data.eval_resize == least
    images = epoch(data.val_dataloader())[0]
    assert images.shape[2:] == data.image_size
    with pytest.raises(UserError, match=rf"eval_resize={least - 1} .* at least {least} to cover"):
        celeba(faces[0], f"image_size={size}", f"eval_resize={least - 1}")


def test_a_search_opens_no_test_image_and_lists_none(faces, monkeypatch):
    root, _ = faces
    for number in range(33, 41):
        (root / "celeba" / "img_align_celeba" / f"{number:06}.jpg").write_bytes(b"poison")
    listed, init = [], CelebA.__init__
    monkeypatch.setattr(CelebA, "__init__", lambda self, *a, **k: listed.append(k["split"]) or init(self, *a, **k))
    data = celeba(root)
    assert len(epoch(data.train_dataloader())[1]) + len(epoch(data.val_dataloader())[1]) == 32
    assert listed == ["train", "valid"]
    with pytest.raises(UserError, match=r"000033\.jpg cannot be read, it is damaged"):
        epoch(data.test_dataloader())


def test_limit_and_augmentation(faces):
    data = celeba(faces[0], "limit=16", "augment.flip=true", "augment.scale=[0.5,1.0]", "augment.jitter=[0.1,0.1,0.1]")
    loader = data.train_dataloader()
    assert (data.train_size, data.val_size) == (16, 8)
    assert torch.equal(data._train.labels.sum(0), torch.tensor([8, 8, 8]))
    first, again = epoch(loader)[0], epoch(loader)[0]
    assert torch.equal(first, again)
    loader.sampler.set_epoch(1)
    assert not torch.equal(first.sort(0).values, epoch(loader)[0].sort(0).values)


def test_absent_files_are_named_with_what_to_do(tmp_path, monkeypatch):
    remedy = r"does not exist; put CelebA's text files and .*data\.root .*data\.download=true"
    with pytest.raises(UserError, match=rf"data celeba: {tmp_path}/celeba/list_attr_celeba\.txt {remedy}"):
        celeba(tmp_path)
    write_celeba(tmp_path, monkeypatch)
    (tmp_path / "celeba" / "img_align_celeba" / "000001.jpg").unlink()
    with pytest.raises(UserError, match=r"img_align_celeba/000001\.jpg does not exist; put CelebA's"):
        celeba(tmp_path)
    (tmp_path / "celeba" / "img_align_celeba").rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=rf"img_align_celeba {remedy}"):
        celeba(tmp_path)


def test_a_damaged_file_is_named(tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        write_celeba(tmp_path, patched)
    with pytest.raises(
        UserError, match=r"list_attr_celeba\.txt is damaged or incomplete \(its MD5 is not the official"
    ):
        celeba(tmp_path)


def test_a_failed_download_is_one_sentence(tmp_path, monkeypatch):
    def no_network(*arguments, **options):
        raise RuntimeError("no network\nat all")

    monkeypatch.setattr("torchvision.datasets.celeba.download_file_from_google_drive", no_network)
    with pytest.raises(
        UserError, match=r"train data cannot be downloaded \(RuntimeError: no network at all\)"
    ) as error:
        celeba(tmp_path, "download=true")
    assert "\n" not in str(error.value)
    assert "download=true" not in str(error.value)


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("attributes=[Blu]", r"data\.attributes: 'Blu' is no attribute of celeba; did you mean 'Blue'\?"),
        ("attributes=[Red,Red]", r"data\.attributes has 'Red' twice"),
        ("attributes=Red", r"data\.attributes='Red' is not allowed; it must be null \(all\) or a list"),
        ("attributes=[]", r"data\.attributes=\[\] is not allowed"),
        ("attributes=[1]", r"data\.attributes=\[1\] is not allowed"),
        ("num_classes=40", r"data\.num_classes=40 is not allowed; data celeba has 3 attributes"),
        ("download=maybe", r"data\.download='maybe' is not allowed; it must be true or false"),
        ("eval_resize=big", r"data\.eval_resize='big' is not allowed"),
    ],
)
def test_a_wrong_option_is_named(faces, option, sentence):
    with pytest.raises(UserError, match=sentence):
        celeba(faces[0], option)


def test_the_config_trains_with_the_multilabel_task_and_no_other(tmp_path, monkeypatch):
    write_celeba(tmp_path, monkeypatch, counts=(80, 8, 8), size=(54, 44))
    small = ["data=celeba", f"data.root={tmp_path}", "data.image_size=16", "data.num_workers=0"]
    with pytest.raises(Trained):
        begin("train", config_of("train", *small, "task=multilabel"), tmp_path / "run")
    with pytest.raises(UserError, match=r"^data celeba has several labels an image: give task=multilabel$"):
        begin("train", config_of("train", *small), tmp_path / "other")
