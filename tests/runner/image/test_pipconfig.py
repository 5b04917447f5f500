"""pip's settings for a build in a container."""

import tomllib
from pathlib import Path

from runner.image.pipconfig import PipSettings, select_pip_settings, select_proxies

SECRET = "https://user:pa55@mirror.example/simple"


def test_indexes_are_translated_for_uv_and_searched_alike() -> None:
    listed = (
        f"global.index-url='{SECRET}'\n"
        "global.extra-index-url='https://a.example/simple\\nhttps://b.example/simple'\n"
        "global.trusted-host='a.example'\n:env:.timeout='60'\n"
    )

    pip = select_pip_settings(listed, {})

    assert tomllib.loads(pip.to_uv()) == {
        "index-url": SECRET,
        "extra-index-url": ["https://a.example/simple", "https://b.example/simple"],
        "index-strategy": "unsafe-best-match",
        "allow-insecure-host": ["a.example"],
    }
    assert f"index-url = {SECRET}\n" in pip.to_pip()


def test_a_local_folder_of_wheels_is_mounted_and_other_local_sources_are_said(
    tmp_path: Path,
) -> None:
    (tmp_path / "torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl").touch()
    listed = (
        f"global.find-links='{tmp_path} /nowhere https://links.example/'\n"
        "global.extra-index-url='file:///srv/pypi/simple'\n"
    )

    pip = select_pip_settings(listed, {})

    assert pip.wheels == tmp_path
    assert pip.find_links == ("https://links.example/",)
    assert pip.extra_index_urls == ()
    assert pip.left_out == ("file:///srv/pypi/simple",)


def test_the_environment_goes_before_files() -> None:
    listed = ":env:.index-url='https://env.example/'\nglobal.index-url='https://file.example/'\n"

    assert select_pip_settings(listed, {}).index_url == "https://env.example/"


def test_certificates_come_from_pip_or_the_environment(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.crt"
    bundle.touch()

    assert select_pip_settings(f"global.cert='{bundle}'\n", {}).ca == bundle
    assert select_pip_settings("", {"REQUESTS_CA_BUNDLE": str(bundle)}).ca == bundle
    assert select_pip_settings("", {"SSL_CERT_FILE": "/gone"}).ca is None


def test_nothing_set_writes_nothing() -> None:
    assert (PipSettings().to_uv(), PipSettings().to_pip()) == ("", "")


def test_proxies_are_taken_as_the_caller_has_them() -> None:
    environ = {"https_proxy": "http://proxy:3128", "NO_PROXY": "", "PATH": "/bin"}

    assert select_proxies(environ) == {"https_proxy": "http://proxy:3128"}
