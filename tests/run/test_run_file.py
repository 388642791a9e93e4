from __future__ import annotations

from topwork.run.run_file import run_name


def test_a_run_is_called_after_its_images_and_what_differs_from_the_default() -> None:
    assert run_name("flowers", {"params": {"images": "/a/flowers", "data": "/b"}}, None) == "flowers"
    params = {"images": "/a/flowers", "image_size": 128, "finetune": {"minutes": 5}, "new_images": None}
    assert run_name("flowers", {"params": params}, None) == "flowers · image_size=128, finetune.minutes=5"
    command = {"pipelines": ["prediction", "export"], "params": {"model": "flowers"}}
    assert run_name("flowers", command, None) == "flowers · prediction+export"
    assert run_name("flowers", {}, {"seed": 1}) == "flowers · seed=1"  # a session without our command


def test_a_long_name_is_cut() -> None:
    name = run_name("flowers", {"params": {"backbone": "+".join(["resnet18"] * 40)}}, None)
    assert len(name) == 120
    assert name.endswith("…")
