"""Pictures over HTTP: pages, recipes, trash, files with their true type, and nothing but pictures."""

import json

import numpy as np
import pytest

from modules.core.request import GenerationRequest


def save(desk, count=1, prompt="a red fox"):
    made = []
    for index in range(count):
        pixels = np.full((64, 64, 3), index, np.uint8)
        request = GenerationRequest(seed=index, prompt=prompt)
        made.append(
            desk.outputs.save(pixels, request=request, facts={}, picture=0, seed=index, job="j", elapsed_s=0.1).id
        )
    return made


def test_pages_run_from_the_newest_to_the_oldest(see, desk):
    ids = save(desk, 5)
    first = see("/api/v1/images?limit=3").json()
    second = see(f"/api/v1/images?limit=3&before={first['next']}").json()
    assert [row["id"] for row in first["items"] + second["items"]] == ids[::-1]
    assert second["next"] is None
    assert see("/api/v1/images/count").json() == {"count": 5}


def test_search_finds_by_prompt(see, desk):
    save(desk, prompt="a green house")
    fox = save(desk, prompt="a red fox")
    assert [row["id"] for row in see("/api/v1/images?q=fox").json()["items"]] == fox


def test_one_picture_tells_its_recipe_and_no_path(see, desk, tmp_path):
    (id,) = save(desk)
    answer = see(f"/api/v1/images/{id}")
    told = answer.json()
    assert GenerationRequest.from_data(told["request"]).prompt == "a red fox"
    assert "a red fox" in told["infotext"]
    assert str(tmp_path) not in answer.body.decode()
    assert "path" not in told


def test_trash_and_back(see, tell, desk):
    ids = save(desk, 2)
    assert tell("/api/v1/images/trash", {"ids": [ids[0], "nobody"]}).json() == {"ids": [ids[0]]}
    assert [row["id"] for row in see("/api/v1/images").json()["items"]] == [ids[1]]
    assert [row["id"] for row in see("/api/v1/images?trashed=1").json()["items"]] == [ids[0]]
    assert tell("/api/v1/images/restore", {"ids": [ids[0]]}).json() == {"ids": [ids[0]]}
    assert see("/api/v1/images/count").json() == {"count": 2}
    assert tell("/api/v1/images/purge", {"ids": ids}).json() == {"purged": 0}
    tell("/api/v1/images/trash", {"ids": ids[:1]})
    assert tell("/api/v1/images/purge", {"ids": ids}).json() == {"purged": 1}
    assert see(f"/media/{ids[0]}").status == 404


def test_seen_pictures_are_no_longer_new(see, tell, desk):
    (id,) = save(desk)
    assert see(f"/api/v1/images/{id}").json()["new"] is True
    tell("/api/v1/images/seen", {"ids": [id]})
    assert see(f"/api/v1/images/{id}").json()["new"] is False


@pytest.mark.parametrize("ids", ["x", ["a"] * 1_001, [3], None])
def test_bad_ids_are_422(tell, ids):
    assert tell("/api/v1/images/trash", {"ids": ids}).json()["field"].startswith("ids")


def test_media_is_the_file_kept_for_good(see, desk):
    (id,) = save(desk)
    answer = see(f"/media/{id}")
    assert answer.status == 200
    assert answer.body == desk.gallery.path(id).read_bytes()
    assert answer.header("content-type") == "image/png"
    assert answer.header("cache-control") == "private, max-age=31536000, immutable"
    assert "sandbox" in answer.header("content-security-policy")
    assert answer.header("content-disposition") is None
    again = see(f"/media/{id}", headers={"if-none-match": answer.header("etag")})
    assert (again.status, again.body) == (304, b"")


def test_download_saves_under_a_plain_name(see, desk):
    (id,) = save(desk)
    assert see(f"/media/{id}?download=1").header("content-disposition") == f'attachment; filename="atelier-{id}.png"'


def test_a_copy_to_give_away_says_nothing(see, desk):
    (id,) = save(desk)
    assert b"parameters" in see(f"/media/{id}").body
    answer = see(f"/media/{id}/share")
    assert (answer.status, answer.header("content-type")) == (200, "image/png")
    assert answer.header("content-disposition") == 'attachment; filename="picture.png"'
    assert b"parameters" not in answer.body
    assert b"atelier" not in answer.body
    assert see("/media/nothing/share").status == 404


def test_the_thumbnail_is_a_small_webp(see, desk):
    (id,) = save(desk)
    answer = see(f"/media/{id}/thumb")
    assert (answer.status, answer.header("content-type")) == (200, "image/webp")
    assert answer.body[8:12] == b"WEBP"


@pytest.mark.parametrize(
    "content", [b"<html><script>alert(1)</script>", b"<svg xmlns='x' onload='y'/>", b"%PDF-1.7", b""]
)
def test_what_is_no_picture_is_never_sent(see, desk, content):
    (id,) = save(desk)
    desk.gallery.path(id).write_bytes(content)
    answer = see(f"/media/{id}")
    assert answer.status == 415
    assert content[:8] not in answer.body or not content


def test_a_link_out_of_the_folder_leads_nowhere(see, desk, tmp_path):
    (id,) = save(desk)
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"\x89PNG\r\n\x1a\ncanary")
    file = desk.gallery.path(id)
    file.unlink()
    file.symlink_to(secret)
    answer = see(f"/media/{id}")
    assert answer.status == 404
    assert b"canary" not in answer.body


def test_a_file_deleted_outside_is_404_and_the_row_says_missing(see, desk):
    (id,) = save(desk)
    desk.gallery.path(id).unlink()
    answer = see(f"/media/{id}")
    assert (answer.status, answer.json()["code"]) == (404, "picture_missing")
    assert see(f"/api/v1/images/{id}").json()["state"] == "missing"


@pytest.mark.parametrize(
    "text", ["../../etc/passwd", "%2e%2e%2fetc", "..\\..\\x", "\\\\?\\C:\\x", "C:/x", "/etc/passwd", "~", "a%00b"]
)
def test_no_parameter_is_a_path(see, tell, text, tmp_path):
    (tmp_path / "canary").write_text("canary")
    answers = [
        see(f"/media/{text}"),
        see(f"/media/{text}/thumb"),
        see(f"/api/v1/images/{text}"),
        see(f"/api/v1/jobs/{text}"),
    ]
    answers.append(tell("/api/v1/images/trash", {"ids": [text]}))
    answers.append(see(f"/api/v1/images?before={text}"))
    assert {answer.status for answer in answers} <= {404, 422}
    assert not any(b"canary" in answer.body or b"root:" in answer.body for answer in answers)


def test_no_route_has_a_parameter_for_paths(see):
    document = see("/openapi.json").json()
    names = [
        row["name"].lower()
        for path in document["paths"].values()
        for verb in path.values()
        for row in verb.get("parameters", ())
    ]
    names += [
        name.lower() for kind in document["components"]["schemas"].values() for name in kind.get("properties", ())
    ]
    assert len(names) > 20
    assert not [name for name in names if any(word in name for word in ("path", "file", "dir", "folder"))]
    assert json.dumps(document).count("#/components/schemas/GenerationRequest") >= 1
