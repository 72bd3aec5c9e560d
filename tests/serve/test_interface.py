"""The JSON of ``fecnet serve``: what the encoder says, and what cannot be answered, in words."""

import asyncio
import base64
import io
import threading
from itertools import combinations

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from starlette.exceptions import HTTPException

import fecnet
from fecnet.analysis.three import compare_three
from fecnet.data.packed import PackedDataset
from fecnet.embed.sources import Sources
from fecnet.search.building import build_index
from fecnet.search.index import Index
from fecnet.serve import photos as photos_module
from fecnet.serve import requests, service
from fecnet.serve.app import build_app
from fecnet.serve.gallery import Gallery
from fecnet.serve.worker import Worker
from fecnet.web.guard import Policy
from tests.serve.conftest import STRANGE, picture, png

LINE = "http://127.0.0.1:8000"


def client_of(app):
    return TestClient(app, base_url=LINE, raise_server_exceptions=False)


@pytest.fixture(scope="module")
def client(encoder, parts):
    return client_of(build_app(encoder, **parts))


def send(client, address, *contents, name="photo"):
    return client.post(address, files=[(name, ("../../../etc/passwd", content)) for content in contents])


def said(answer, status):
    assert answer.status_code == status, answer.text
    assert "\n" not in answer.json()["error"]
    return answer.json()["error"]


def opened(uri):
    kind, _, text = uri.partition(";base64,")
    assert kind == "data:image/png"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("L")).astype(int)


def test_each_face_has_what_the_encoder_says(client, encoder, photos):
    found = send(client, "/api/faces", *photos).json()["photos"]
    for content, photo in zip(photos, found, strict=True):
        assert (photo["width"], photo["height"], photo["problem"], photo["more"]) == (300, 200, "", 0)
        results = sorted(encoder.analyze(content), key=lambda face: -np.prod(face.box_4[2:] - face.box_4[:2]))
        assert len(photo["faces"]) == len(results)
        for face, result in zip(photo["faces"], results, strict=True):
            assert face["box"] == result.box_4.tolist() and face["score"] == pytest.approx(0.9)
            assert list(face["probabilities"]) == list(encoder.classes)
            assert list(face["probabilities"].values()) == pytest.approx(result.probability_K.tolist(), abs=1e-6)
            assert face["embedding"] == pytest.approx(result.embedding_D.tolist(), abs=1e-6)
    assert [len(photo["faces"]) for photo in found].count(2) == 1


def test_the_largest_face_comes_first_and_what_the_net_saw_is_shown(client, encoder, photos):
    two = next(content for content in photos if len(encoder.analyze(content)) == 2)
    faces = send(client, "/api/faces", two).json()["photos"][0]["faces"]
    default = encoder.find_faces([two])[0]
    assert faces[0]["box"] == default.box_4.tolist()
    assert np.array_equal(opened(faces[0]["picture"]), default.image_SSC[..., 0])
    assert encoder.embed([two])[0].tolist() == pytest.approx(faces[0]["embedding"], abs=1e-6)


def test_the_odd_one_is_that_of_the_encoder(client, encoder, photos):
    for three in combinations(photos[:4], 3):
        found = send(client, "/api/odd", *three).json()
        assert found["odd"] == encoder.odd_one_out(*three)
        pairs = [encoder.distance(three[a], three[b]) for a, b in ((0, 1), (0, 2), (1, 2))]
        assert found["distances"] == pytest.approx(pairs, abs=1e-6)
        weights = np.exp(-4 * np.array(pairs[::-1]))
        assert found["probabilities"] == pytest.approx((0.95 * weights / weights.sum() + 0.05 / 3).tolist(), abs=1e-5)
        assert int(np.argmax(found["probabilities"])) == found["odd"] and len(found["photos"]) == 3
        by_vectors = client.post(
            "/api/odd", json={"embeddings": [photo["faces"][0]["embedding"] for photo in found["photos"]]}
        ).json()
        assert by_vectors["distances"] == pytest.approx(pairs, abs=1e-6) and by_vectors["photos"] == []
    same = send(client, "/api/odd", *[photos[0]] * 3).json()
    assert same["odd"] is None and same["probabilities"] == pytest.approx([1 / 3] * 3)


def test_probabilities_of_three():
    square = np.array([[1, 0], [1, 0], [-1, 0]], np.float32)
    found = compare_three(square, 3.0)
    assert (found.odd, found.distances, found.margin) == (2, [0, 4, 4], 4)
    assert found.probabilities == pytest.approx([0.05 / 3, 0.05 / 3, 1 - 0.1 / 3], abs=1e-4)


def test_look_alikes_by_photo_embedding_and_row(client, encoder, index, photos):
    vectors = index.vector_ND
    names = list(index.every_name())
    for place, content in enumerate(photos[:4]):
        found = send(client, "/api/alike", content).json()
        own = found["neighbours"][0]
        assert own["distance"] == pytest.approx(0, abs=1e-6) and names[own["row"]].file.endswith(own["name"])
        apart = np.square(vectors - encoder.embed([content])).sum(1)
        assert [face["distance"] for face in found["neighbours"]] == pytest.approx(sorted(apart), abs=1e-6)
        vector = found["photos"][0]["faces"][0]["embedding"]
        by_vector = client.post("/api/alike", json={"embedding": vector, "k": 3}).json()
        assert by_vector["neighbours"] == found["neighbours"][:3], place
        by_row = client.post("/api/alike", json={"row": own["row"]}).json()["neighbours"]
        assert [face["row"] for face in by_row] == [face["row"] for face in found["neighbours"][1:]]
    assert any(face["name"] == STRANGE for face in found["neighbours"])  # no folder before it
    assert not any("/" in face["name"] for face in found["neighbours"])


def test_pictures_of_the_index_go_by_row_alone(client, index, encoder):
    face = client.get("/api/index/0/face.jpg")
    assert (face.headers["content-type"], Image.open(io.BytesIO(face.content)).size) == ("image/jpeg", (192, 192))
    whole = client.get("/api/index/0/photo.jpg")
    assert Image.open(io.BytesIO(whole.content)).size == (300, 200)
    for row in (-1, len(index), 10**30):
        assert said(client.get(f"/api/index/{row}/photo.jpg"), 404).endswith(f"rows 0 to {len(index) - 1}")
    assert said(client.get("/api/index/%2e%2e%2fphotos/photo.jpg"), 404)
    assert said(client.get("/api/index/0.png/photo.jpg"), 422).startswith("path.row: ")
    for address in ("/photos/0.png", "/static/../../photos/0.png", "/api/index/0/../../../photos/0.png"):
        assert client.get(address).status_code in (400, 404)


def test_an_index_of_a_packed_set_tells_its_rows(encoder, folder, tmp_path):
    build_index(
        encoder, Sources([folder / "moods"], once=True), tmp_path / "set", kind="flat", faces="auto", overwrite=False
    )
    client = client_of(build_app(encoder, gallery=Gallery(Index(tmp_path / "set"))))
    found = client.post("/api/alike", json={"row": 5, "k": 2}).json()["neighbours"]
    assert [face["name"] for face in found] == ["moods"] * 2 and {face["number"] for face in found} <= set(range(64))
    face = Image.open(io.BytesIO(client.get("/api/index/5/face.jpg").content))
    stored = PackedDataset(folder / "moods").faces_NHWC[5, ..., 0]
    assert np.abs(np.asarray(face.convert("L")).astype(int) - stored).mean() < 12


def test_a_picture_that_is_gone_or_none_is_told(encoder, index, monkeypatch, tmp_path):
    gallery = Gallery(index)
    client = client_of(build_app(encoder, gallery=gallery))
    (tmp_path / "secret.txt").write_text("no picture, and nobody's business")
    for path in (tmp_path / "gone.png", tmp_path / "secret.txt", tmp_path):
        monkeypatch.setattr(gallery._pictures, "open", lambda _, path=path: path)
        told = said(client.get("/api/index/1/photo.jpg"), 404)
        assert told == "row 1: its picture is gone, damaged, or another one by now"


def test_the_map_and_its_faces(client, folder, encoder):
    found = client.get("/api/map").json()
    assert (found["name"], found["total"], len(found["faces"])) == ("moods", 64, 64)
    assert len({face["cell"] for face in found["faces"]}) == 64
    assert list(found["labels"]) == list(encoder.classes)
    assert {face["label"] for face in found["faces"]} == {*encoder.classes, ""}
    assert all(face["predicted"] in encoder.classes and 33 <= face["percent"] <= 100 for face in found["faces"])
    sheet = client.get("/api/map/picture")
    assert Image.open(io.BytesIO(sheet.content)).size[0] % found["side"] == 0
    assert sheet.headers["content-type"] in ("image/webp", "image/png")
    assert Image.open(io.BytesIO(client.get("/api/map/3/face.png").content)).size == (192, 192)
    near = client.get("/api/map/3/near").json()["neighbours"]
    assert len(near) == 12 and 3 not in [face["row"] for face in near]
    assert [face["distance"] for face in near] == sorted(face["distance"] for face in near)
    for row in (64, -1):
        assert said(client.get(f"/api/map/{row}/near"), 404) == f"row {row}: not on the map"
        assert said(client.get(f"/api/map/{row}/face.png"), 404)


def test_without_index_map_or_classes_it_says_so(folder):
    client = client_of(build_app(fecnet.load(folder / "result" / "classifier", device="cpu")))
    about = client.get("/api/about").json()
    assert (about["embedding"], about["index"], about["map"], about["classes"]) == (
        False, None, None, ["calm", "glad", "cross"],
    )  # fmt: skip
    face = png(picture(0, (10, 10)))
    assert send(client, "/api/faces", face).json()["photos"][0]["faces"][0]["embedding"] == []
    assert "the net has no 'embedding'" in said(send(client, "/api/odd", face, face, face), 400)
    assert said(send(client, "/api/alike", face), 404) == "no index here; start with: fecnet serve --index INDEX"
    assert said(client.get("/api/index/0/photo.jpg"), 404).startswith("no index here")
    assert said(client.get("/api/map"), 404) == "no map here; start with: fecnet serve --map DATASET"
    assert said(client.get("/api/map/picture"), 404)
    for text in ("fecnet search build", "--map"):
        assert text in client.get("/").text


def test_no_face_several_and_small_ones_are_told_in_words(client):
    empty, one, two = png(picture(0)), png(picture(1, (10, 10))), png(picture(2, (10, 10), (150, 100)))
    told = send(client, "/api/faces", empty)
    assert said(told, 422).startswith("photo 1: no face found; ") and told.json()["photos"][0]["faces"] == []
    mixed = send(client, "/api/faces", empty, two).json()["photos"]
    assert mixed[0]["problem"].startswith("no face found") and len(mixed[1]["faces"]) == 2
    told = send(client, "/api/odd", one, empty, two)
    assert said(told, 422).startswith("photo 2: no face found") and len(told.json()["photos"][2]["faces"]) == 2
    assert said(send(client, "/api/alike", empty), 422).startswith("no face found")
    small = send(client, "/api/faces", png(picture(3, (10, 10), side=24))).json()["photos"][0]["faces"][0]
    assert small["note"].startswith("small: 24 pixels, enlarged to 48; ")
    assert mixed[1]["faces"][0]["note"] == ""


def test_no_face_is_looked_for_twice(client, encoder, monkeypatch):
    asked = []
    before = encoder.find_faces

    def counted(items, *, faces):
        asked.append(faces)
        return before(items, faces=faces)

    monkeypatch.setattr(encoder, "find_faces", counted)
    send(client, "/api/faces", png(picture(0)), png(picture(1, (10, 10))))
    assert asked == ["all", "largest"]  # as fecnet does where one face is meant


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_a_preview_is_upright_as_the_boxes_are(client, form):
    image = Image.fromarray(picture(1, (10, 10)))
    exif, held = Image.Exif(), io.BytesIO()
    exif[0x112] = 6  # a quarter turn
    image.save(held, form, exif=exif.tobytes())
    answer = client.post("/api/faces", files={"photo": held.getvalue()}, data={"preview": "yes"})
    photo = answer.json()["photos"][0]
    assert (photo["width"], photo["height"]) == (200, 300)
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(photo["preview"].partition(";base64,")[2]))))
    x1, y1, x2, y2 = map(round, photo["faces"][0]["box"])
    assert shown.shape == (300, 200, 3) and shown[y1 + 3 : y2 - 3, x1 + 3 : x2 - 3].min() > 60
    assert shown[:, : x1 - 9].max() < 60 and shown[y2 + 9 :].max() < 60
    assert send(client, "/api/faces", held.getvalue()).json()["photos"][0]["preview"] == ""


def test_whole_photos_as_faces(encoder):
    client = client_of(build_app(encoder, whole=True))
    content = png(picture(0))
    face = send(client, "/api/faces", content).json()["photos"][0]["faces"][0]
    assert face["box"] is None and face["embedding"] == pytest.approx(
        encoder.embed([content], faces="whole")[0].tolist(), abs=1e-6
    )


def test_two_hundred_faces_are_bounded(client, monkeypatch):
    image = np.zeros((40, 200 * 50, 3), np.uint8)
    for n in range(200):
        image[5:35, 50 * n : 50 * n + 21 + n % 10] = 200
    photo = send(client, "/api/faces", png(image)).json()["photos"][0]
    assert (len(photo["faces"]), photo["more"]) == (photos_module.MAX_FACES, 180)
    assert all(face["box"][3] - face["box"][1] == 30 for face in photo["faces"])


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"%PDF-1.4 no picture", "not an image in a known format"),
        (b"", "not an image in a known format"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image in a known format"),
        (png(picture(0, (10, 10)))[:900], "PNG: image file is truncated"),
    ],
)
def test_what_is_no_picture(client, content, problem):
    assert problem in said(send(client, "/api/faces", content), 422)


def bomb(side):
    """A PNG of a few bytes that claims ``side`` squared pixels; there are none behind it."""
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_a_decompression_bomb_is_refused_by_its_header(client):
    told = said(send(client, "/api/faces", bomb(30_000)), 422)
    assert told == "photo 1: 30000×30000 pixels; allowed: 100,000,000 in all"


def test_large_many_and_other_parts_are_refused(client, monkeypatch):
    face = png(picture(1, (10, 10)))
    answer = client.post("/api/faces", content=iter([b"x"]), headers={"content-length": "100000000"})
    assert said(answer, 413) == "too large: allowed are 64,000,000 bytes in all"
    assert "20,000,001 bytes; allowed: 20,000,000" in said(send(client, "/api/faces", bytes(20_000_001)), 413)
    assert said(send(client, "/api/odd", face, face), 400) == "photo: 2 sent; expected 3, each a part named photo"
    assert "0 sent; expected 1 to 10" in said(client.post("/api/faces", files={}, data={}, headers={
        "content-type": "multipart/form-data; boundary=b"}, content=b"--b--\r\n"), 400)  # fmt: skip
    assert "Too many files" in said(send(client, "/api/faces", *[face] * 11), 400)
    for files, fields, text in (
        ("file", {}, "form: unknown part 'file'; allowed: photo (a file), preview"),
        ("photo", {"x": "1"}, "form: unknown part 'x'"),
        ("photo", {"photo": "a.png"}, "form: unknown part 'photo'"),
        ("photo", {"preview": "1"}, "preview: '1'; allowed: yes, no"),
        ("photo", {"preview": "no", "x": "1"}, "form: Too many fields"),
    ):
        assert said(client.post("/api/faces", files={files: face}, data=fields), 400).startswith(text)
    assert said(client.post("/api/faces", content=face), 415)


def test_wrong_methods_and_addresses(client):
    assert said(client.get("/api/faces"), 405) == "Method Not Allowed"
    assert said(client.delete("/api/index/0/photo.jpg"), 405)
    assert said(client.put("/api/odd", content=b""), 405)
    assert said(client.get("/api/nothing"), 404)


UNIT = [1.0] + [0.0] * 15


@pytest.mark.parametrize(
    ("address", "body", "text"),
    [
        ("odd", {"embeddings": [UNIT] * 2}, "embeddings: expected a list of three"),
        ("odd", {}, "embeddings: expected a list of three"),
        ("odd", {"embeddings": [UNIT, UNIT, UNIT[:3]]}, "embeddings[2]: expected a list of 16 numbers"),
        ("odd", {"embeddings": [UNIT, UNIT, ["1"] * 16]}, "embeddings[2]: expected a list of 16 numbers"),
        ("odd", {"embeddings": [UNIT, UNIT, [True] * 16]}, "embeddings[2]: expected a list of 16 numbers"),
        ("odd", {"embeddings": [UNIT, UNIT, [10**400, *UNIT[1:]]]}, "embeddings[2]: not of length 1"),
        ("odd", {"photos": []}, "JSON: unknown key 'photos'; allowed: embeddings"),
        ("alike", {}, "JSON: expected one of embedding and row"),
        ("alike", {"row": 0, "embedding": UNIT}, "JSON: expected one of embedding and row"),
        ("alike", {"row": 9}, "row: expected a whole number, 0 to 8"),
        ("alike", {"row": "0"}, "row: expected a whole number"),
        ("alike", {"row": True}, "row: expected a whole number"),
        ("alike", {"row": 0, "k": 101}, "k: expected a whole number, 1 to 100"),
        ("alike", {"embedding": [0.0] * 16}, "embedding: not of length 1"),
    ],
)
def test_json_that_is_not_meant(client, address, body, text):
    assert said(client.post(f"/api/{address}", json=body), 400).startswith(text)


def test_huge_json(client):
    answer = client.post("/api/odd", json={"embeddings": [[0.123456789] * 20_000] * 3})
    assert said(answer, 413) == "JSON: too large; allowed: 262,144 bytes"
    deep = client.post("/api/odd", content='{"embeddings":' + "[" * 60_000 + "]" * 60_000 + "}", headers={
        "content-type": "application/json"})  # fmt: skip
    assert said(deep, 400).startswith("JSON: ")


def test_a_full_queue_is_told_before_a_body_is_read(encoder, monkeypatch):
    monkeypatch.setattr(service, "PLACES", 0)
    monkeypatch.setattr(service, "read_photos", None)
    answer = send(client_of(build_app(encoder)), "/api/faces", png(picture(1, (10, 10))))
    assert said(answer, 503) == "busy: 0 requests are being answered; ask again in a moment"
    assert (answer.headers["retry-after"], answer.headers["connection"]) == ("2", "close")


def test_one_works_and_others_wait_in_their_places():
    worker, worked = Worker("test", 2), []

    def work(number):
        worked.append((number, threading.current_thread().name))
        return 1 / number

    async def ask(number):
        with worker.place():
            return await worker.run(work, number)

    async def together():
        return await asyncio.gather(*map(ask, (1, 2, 3)), return_exceptions=True)

    for _ in range(2):  # places are given back
        *done, refused = asyncio.run(together())
        assert done == [1, 0.5] and isinstance(refused, HTTPException) and refused.status_code == 503
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            asyncio.run(ask(0))
    assert {name for _, name in worked} == {"test_0"} and [number for number, _ in worked] == [1, 2, 1, 2, 0, 0, 0]


def test_a_slow_upload_gives_its_place_back(encoder, monkeypatch):
    monkeypatch.setattr(requests, "_UPLOAD_S", 0.05)

    async def never(*_, **__):
        await asyncio.sleep(30)

    monkeypatch.setattr(requests, "read_form", never)
    client = client_of(build_app(encoder))
    for _ in range(service.PLACES + 1):
        assert said(send(client, "/api/faces", b"x"), 408) == "photo: not sent within 0 seconds"


def test_the_interface_is_described_and_its_page_loads_nothing_from_elsewhere(client):
    schema = client.get("/api/openapi.json").json()
    assert set(schema["paths"]["/api/odd"]["post"]["requestBody"]["content"]) == {
        "multipart/form-data", "application/json",
    }  # fmt: skip
    assert schema["paths"]["/api/index/{row}/photo.jpg"]["get"]["responses"]["200"]["content"] == {"image/jpeg": {}}
    for address in ("/", "/api"):
        text = client.get(address).text
        assert "http://" not in text.replace("http://127.0.0.1:8000", "").replace("http://www.w3.org", "")
        assert "https://" not in text and "style=" not in text and " onclick" not in text
    page = client.get("/api").text
    for path in schema["paths"]:
        assert path in page
    assert "photos[].faces[].probabilities" in page


def test_a_token_is_needed_beyond_this_machine(encoder):
    app = build_app(encoder, policy=Policy(10**6, hosts=(), token="secret"))
    client = TestClient(app, base_url="http://192.0.2.1")
    assert said(client.get("/"), 401) and said(client.get("/api/about"), 401)
    assert said(send(client, "/api/faces", b"x"), 401)
    assert client.get("/?token=secret").status_code == 200 and client.get("/api/about").status_code == 200
