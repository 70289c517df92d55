"""Images of any number of bands, volumes and signals, from arrays and files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import limelight as ll
from limelight.data.bands import load_values
from limelight.errors import InvalidImage, InvalidOption

RNG = np.random.default_rng(0)


def network(channels: int, convolve: type[nn.Module] = nn.Conv2d, pool: type[nn.Module] = nn.AdaptiveAvgPool2d) -> Any:
    torch.manual_seed(0)
    first: Any = convolve
    return nn.Sequential(first(channels, 4, 3, padding=1), nn.ReLU(), pool(1), nn.Flatten(), nn.Linear(4, 2)).eval()


@pytest.mark.parametrize(("kind", "most"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1), (np.int32, 1)])
def test_numbers_of_arrays(kind: Any, most: int) -> None:
    values = (RNG.random((3, 4, 5)) * most).astype(kind)
    np.testing.assert_allclose(load_values(values, 5), values / most, rtol=1e-6)


def test_files_of_every_kind(tmp_path: Path) -> None:
    import nibabel
    import tifffile

    bands = RNG.integers(0, 255, (8, 9, 6)).astype(np.uint8)
    np.save(tmp_path / "a.npy", bands)
    tifffile.imwrite(tmp_path / "last.tif", bands, photometric="minisblack", planarconfig="contig")
    tifffile.imwrite(tmp_path / "pages.tif", np.moveaxis(bands, -1, 0), photometric="minisblack")
    for name in ("a.npy", "last.tif", "pages.tif"):
        np.testing.assert_allclose(load_values(tmp_path / name, 6), bands / 255, rtol=1e-6)
    volume = RNG.random((4, 5, 6)).astype(np.float32)
    nibabel.Nifti1Image(volume, np.eye(4)).to_filename(tmp_path / "v.nii.gz")
    np.testing.assert_allclose(load_values(tmp_path / "v.nii.gz", 1, 3)[..., 0], volume, rtol=1e-6)


def test_a_scan_is_seen_through_its_window(tmp_path: Path) -> None:
    """Centre 50, width 20: what is below 40 is black, what is above 60 white; inverted in MONOCHROME1."""
    pydicom = pytest.importorskip("pydicom", reason="reads DICOM, of the extra medical")
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    for photometric in ("MONOCHROME2", "MONOCHROME1"):
        scan = pydicom.Dataset()
        scan.file_meta = FileMetaDataset()
        scan.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        scan.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        scan.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        scan.Rows, scan.Columns, scan.SamplesPerPixel, scan.PhotometricInterpretation = 1, 4, 1, photometric
        scan.BitsAllocated = scan.BitsStored = 16
        scan.HighBit, scan.PixelRepresentation, scan.WindowCenter, scan.WindowWidth = 15, 0, 50, 20
        scan.PixelData = np.array([[0, 40, 50, 90]], np.uint16).tobytes()
        scan.save_as(tmp_path / "x.dcm", enforce_file_format=True)
        (seen,) = load_values(tmp_path / "x.dcm", 1)[..., 0]
        wanted = np.array([0, 0, 0.5, 1])
        np.testing.assert_allclose(seen, wanted if photometric == "MONOCHROME2" else 1 - wanted, atol=0.05)


def test_grey_pictures_of_a_grey_network() -> None:
    c = ll.Classifier(network(1), size=16, mean=(0.5,), std=(0.5,))
    picture = Image.fromarray(RNG.integers(0, 255, (16, 16, 3), dtype=np.uint8))
    grey = np.asarray(picture.convert("L")) / 255
    e = ll.explain(c, picture)
    torch.testing.assert_close(e.image[0], torch.from_numpy(grey).float(), atol=1e-5, rtol=0)
    seen = np.asarray(e.view("image"))
    assert (seen == seen[..., :1]).all()


def test_a_picture_is_resized_and_cropped_in_the_middle() -> None:
    c = ll.Classifier(network(4), size=(8, 8))
    wide = np.zeros((16, 48, 4), np.float32)
    wide[:, 16:32] = 1  # the middle, which is all that a square sees
    assert c.inputs.normalise(wide).shape == (4, 8, 8)
    assert float(c.inputs.normalise(wide)[:, :, 1:-1].min()) > 0.9


def test_bands_are_named_and_said() -> None:
    x = torch.rand(1, 6, 16, 16)
    e = ll.explain(ll.Classifier(network(6), size=16, bands=(5, 0, 1)), x)[0]
    want = np.rint(x[0, [5, 0, 1]].permute(1, 2, 0).numpy() * 255)
    np.testing.assert_allclose(np.asarray(e.view("image")), want, atol=1)
    with pytest.raises(InvalidOption, match="give three channels from 0 to 5"):
        ll.Classifier(network(6), bands=(0, 1, 6))


def test_a_map_of_a_scan_lies_where_the_scan_does(tmp_path: Path) -> None:
    import nibabel

    affine = np.diag([2.0, 3, 4, 1])
    nibabel.Nifti1Image(RNG.random((8, 9, 10)).astype(np.float32), affine).to_filename(tmp_path / "scan.nii.gz")
    c = ll.Classifier(network(1, nn.Conv3d, nn.AdaptiveAvgPool3d))
    e = ll.explain(c, tmp_path / "scan.nii.gz", "gradient")
    for name in ("map.nii", "map.nii.gz"):
        written: Any = nibabel.load(e.save(tmp_path / name))
        np.testing.assert_allclose(written.affine, affine)
        np.testing.assert_allclose(np.asarray(written.dataobj), e.map.numpy())
    for name in ("x.png", "x.gif", "x.html"):
        assert e.save(tmp_path / name).stat().st_size > 500
    with pytest.raises(InvalidOption, match=r"saved as \.nii or \.nii\.gz"):
        e.save(tmp_path / "map.gz")


def test_signals_from_files(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", RNG.random((40, 2)).astype(np.float32))
    e = ll.explain(ll.Classifier(network(2, nn.Conv1d, nn.AdaptiveAvgPool1d)), tmp_path / "s.npy", "gradient")
    assert e.map.shape == (40,)
    assert e.save(tmp_path / "s.png").stat().st_size > 500


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((8, 8, 3)), r"has shape \(8, 8, 3\); the network takes images \(H, W, 6\), channels last"),
        (np.full((8, 8, 6), np.nan), "NaN or infinite"),
        (np.full((8, 8, 6), "x"), "no numbers of an image"),
        ("missing.npy", "there is no file missing.npy"),
        ("broken.tif", "broken.tif can't be read as an image"),
    ],
)
def test_images_that_cannot_be(image: Any, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.tif").write_bytes(b"no TIFF at all")
    with pytest.raises(InvalidImage, match=said):
        ll.explain(ll.Classifier(network(6), size=8), image)
