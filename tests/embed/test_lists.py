"""``fecnet embed`` of lists and folders as people have them: every picture is found, whatever wrote the list."""

import numpy as np
import pytest
from PIL import Image

from fecnet.cli.main import main
from fecnet.embed.sources import Sources
from fecnet.faces import decode, picture_files
from fecnet.faces.picture_lists import PATH_COLUMNS, read_paths
from fecnet.utils.errors import DataError, UserError

WANTED = ["a.jpg", "in/b c.PNG", "d.webp"]


def listed(tmp_path, name, text):
    (tmp_path / name).write_bytes(text.encode())
    return list(read_paths(tmp_path / name))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("l.txt", "a.jpg\nin/b c.PNG\nd.webp\n"),
        ("l.txt", '\ufeff\r\n# faces\r\n  a.jpg \r\n"in/b c.PNG"\r\n\r\nd.webp'),
        ("l.txt", "a.jpg\t3\nin/b c.PNG\t1\nd.webp\t2\n"),
        ("l.lst", 'a.jpg 3\n"in/b c.PNG"  1\n d.webp\t2\n'),
        ("l.txt", "path,label\na.jpg,1\nin/b c.PNG,2\nd.webp,3\n"),
        ("l.csv", "path\na.jpg\nin/b c.PNG\nd.webp\n"),
        ("l.csv", "a.jpg\nin/b c.PNG\nd.webp\n"),
        ("l.csv", "a.jpg,glad\nin/b c.PNG,sad\nd.webp,\n"),
        ("l.csv", ',File Name,label\n0,a.jpg,glad\n1,"in/b c.PNG",sad\n2, d.webp ,sad\n'),
        ("l.csv", '"";"image";"note"\r"1";"a.jpg";"1,5"\r"2";"in/b c.PNG";""\r"3";"d.webp";"x;y"\r'),
        ("l.tsv", "label\tpath\n1\ta.jpg\n2\tin/b c.PNG\n3\td.webp\n"),
        ("l.csv", "image,path\nx,a.jpg\ny,in/b c.PNG\nz,d.webp\n"),
        ("l.csv", "path,label\n,\na.jpg,1\nin/b c.PNG,2\nd.webp,3\n,\n"),
    ],
)
def test_the_paths_of_a_list_whatever_wrote_it(tmp_path, name, text):
    assert listed(tmp_path, name, text) == WANTED


@pytest.mark.parametrize("column", PATH_COLUMNS)
def test_the_column_of_paths_has_many_names(tmp_path, column):
    assert listed(tmp_path, "l.csv", f"label,{column.upper().replace('_', ' ')}\n1,a.jpg\n") == ["a.jpg"]


def test_names_of_a_text_file_keep_their_spaces_and_commas(tmp_path):
    names = ["Smith, John.jpg", "my file 1.jpg", "#1.jpg", "no suffix, here"]
    assert listed(tmp_path, "l.txt", "\n".join(names)) == names
    assert listed(tmp_path, "empty.txt", "\n") == []


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("l.csv", "a.jpg,b.jpg,c.jpg,1,ONE_CLASS_TRIPLET\n", "3 pictures in its first line: a.jpg, b.jpg, c.jpg; all"),
        ("l.csv", "image,filename\na,b\n", "several columns of paths in its first line: image, filename; allowed: one"),
        ("l.csv", "label,id\n1,2\n", "without a column 'path'; columns seen: label, id; allowed: path, "),
        ("l.csv", "label,path\n1,a.jpg\n2\n", r"a row of 1 columns: 2; the path is in column 2"),
        ("l.csv", 'path\n"a.jpg\nb.jpg\n', "l.csv: not a list of photos: "),
        ("l.csv", "label,path\n1,a.jpg\n2,\n3,c.jpg\n", r"a row without a path, after a\.jpg"),
        ("l.txt", '""\na.jpg\n', "a row without a path, after the first line"),
        ("l.csv", "a.mp4,b.mp4\n", r"2 videos in its first line: a\.mp4, b\.mp4; allowed: one a line"),
    ],
)
def test_a_list_without_one_path_a_line_is_refused(tmp_path, name, text, said):
    with pytest.raises(DataError, match=rf"{name}: .*{said}" if "not a list" not in said else said):
        listed(tmp_path, name, text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("l.txt", "my video, 1.mp4\nb.jpg\n"),
        ("l.txt", '"my video, 1.mp4" 3\nb.jpg 4\n'),
        ("l.csv", '"my video, 1.mp4",3\nb.jpg,4\n'),
        ("l.tsv", "3\tmy video, 1.mp4\n4\tb.jpg\n"),
        ("l.csv", 'id,Video\n3,"my video, 1.mp4"\n4,b.jpg\n'),
    ],
)
def test_a_list_may_begin_with_a_video(tmp_path, name, text):
    assert listed(tmp_path, name, text) == ["my video, 1.mp4", "b.jpg"]


def test_a_list_of_which_nothing_is_there_is_refused_before_any_work(tmp_path):
    """As where its folder was moved, or its paths are relative to another one."""
    (tmp_path / "list.txt").write_text("in/a.png\nb.png\nvideo.mp4\n")
    said = rf"list\.txt: none of the 3 files in it is there, the first of them {tmp_path}/in/a\.png; allowed: paths rel"
    with pytest.raises(UserError, match=said):
        Sources([tmp_path / "list.txt"]).check()
    (tmp_path / "b.png").write_bytes(b"")
    Sources([tmp_path / "list.txt"]).check()
    (tmp_path / "list.csv").write_text("path,label\nb.png,1\n" + "b.png,2\n" * 2100 + ",3\n")
    with pytest.raises(DataError, match="a row without a path"):  # behind the first piece
        Sources([tmp_path / "list.csv"]).check()


def test_a_folder_whose_name_ends_as_a_video_is_a_folder(tmp_path):
    """As tools call the frames of a video."""
    (tmp_path / "video.mp4").mkdir()
    (tmp_path / "video.mp4" / "0.png").write_bytes(b"")
    assert photos_of(tmp_path / "video.mp4") == [f"{tmp_path}/video.mp4/0.png"]


def photos_of(*sources):
    return [path for piece in Sources(sources).pieces() for path, _ in piece.photos]


def test_backslashes_are_the_folders_of_windows_unless_a_file_is_called_so(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in\\own.png").write_bytes(b"")
    (tmp_path / "list.txt").write_text("in\\a.png\nin\\own.png\n")
    (piece,) = Sources([tmp_path / "list.txt"]).pieces()
    assert piece.photos == ((f"{tmp_path}/in/a.png", "in/a.png"), (f"{tmp_path}/in\\own.png", "in\\own.png"))


def test_every_suffix_of_the_table_is_taken_from_a_folder(tmp_path):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 9, 3), np.uint8))
    kinds = {"jpg": "JPEG", "JPEG": "JPEG", "jpe": "JPEG", "jfif": "JPEG", "webp": "WEBP", "png": "PNG", "apng": "PNG"}
    kinds |= {"tif": "TIFF", "tiff": "TIFF", "bmp": "BMP", "gif": "GIF", "ppm": "PPM", "pnm": "PPM", "mpo": "MPO"}
    kinds |= {"avif": "AVIF"} if "AVIF" in picture_files.decoders() else {}
    for number, (suffix, kind) in enumerate(kinds.items()):
        image.save(tmp_path / f"{number}.{suffix}", kind)
    found = photos_of(tmp_path)
    assert len(found) == len(kinds)
    assert all(decode.decode_image(path).shape == (8, 9, 3) for path in found)


@pytest.fixture
def few_decoders(monkeypatch):
    """An installation that reads JPEG and PNG alone."""
    for module in (decode, picture_files):
        monkeypatch.setattr(module, "decoders", lambda: ("JPEG", "PNG"))


def test_pictures_without_a_decoder_are_counted_by_suffix_with_what_to_install(tmp_path, few_decoders):
    for name in ("a.HEIC", "b.heic", "c.avif", "notes.pdf"):
        (tmp_path / name).write_bytes(b"")
    install = r"install what decodes it: pip install 'fecnet\[photos\]'"
    with pytest.raises(
        UserError, match=rf"no pictures in it; passed over: 1 other files, 1 \.avif, 2 \.heic \({install}"
    ):
        photos_of(tmp_path)
    Image.new("RGB", (8, 8)).save(tmp_path / "d.png")
    sources = Sources([tmp_path])
    assert len(list(sources.pieces())) == 1 and sources.without_decoder == {".heic": 2, ".avif": 1}
    with pytest.raises(UserError, match=rf"a\.HEIC: '\.HEIC' cannot be read here; {install}"):
        Sources([tmp_path / "a.HEIC"])


def test_a_picture_without_a_decoder_is_known_by_its_content(tmp_path, few_decoders):
    """Phones and browsers name them .jpg."""
    for start in (b"\0\0\0\x1cftypheic", b"\0\0\0\x1cftypmif1", b"\0\0\0\x1cftypavif", b"RIFF\x10\0\0\0WEBP"):
        (tmp_path / "a.jpg").write_bytes(start + b"\0" * 40)
        assert decode.read_photo(tmp_path / "a.jpg") == "no_decoder"
    (tmp_path / "a.jpg").write_bytes(b"\0\0\0\x1cftypmp42" + b"\0" * 40)
    assert decode.read_photo(tmp_path / "a.jpg") == "not_an_image"


def test_heic_is_read_where_its_decoder_is_installed(monkeypatch):
    class Plugin:
        @staticmethod
        def register_heif_opener():
            Image.register_open("HEIF", Image.Image)

    monkeypatch.setitem(Image.OPEN, "HEIF", None)
    monkeypatch.setattr(Image, "ID", [*Image.ID])
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", Plugin)
    picture_files.decoders.cache_clear()
    try:
        assert all(picture_files.has_decoder(f"IMG_1{suffix}") for suffix in (".heic", ".HEIF", ".hif"))
    finally:
        picture_files.decoders.cache_clear()


def test_prepare_counts_them_too_and_says_what_to_install(tmp_path, few_decoders, capsys):
    for name in ("glad/a.heic", "sad/b.JFIF", "glad/c.jpe"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("heic"):
            (tmp_path / "in" / name).write_bytes(b"\0\0\0\x1cftypheic" + b"\0" * 40)
        else:
            Image.new("RGB", (8, 8)).save(tmp_path / "in" / name, "JPEG")
    assert main(["prepare", "folder", str(tmp_path / "in"), str(tmp_path / "set")]) == 0
    said = capsys.readouterr().out
    assert "set: 2 faces of" in said and "no_decoder 1" in said and "pip install 'fecnet[photos]'" in said
    for name in ("sad/b.JFIF", "glad/c.jpe"):
        (tmp_path / "in" / name).unlink()
    (tmp_path / "in" / "sad" / "d.heic").write_bytes((tmp_path / "in" / "glad" / "a.heic").read_bytes())
    assert main(["prepare", "folder", str(tmp_path / "in"), str(tmp_path / "other")]) == 2
    assert "no readable picture; no_decoder 2 (install what" in capsys.readouterr().err
