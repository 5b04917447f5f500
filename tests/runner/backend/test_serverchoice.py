"""Which server is taken, and whose key goes where."""

from pathlib import Path

import pytest

from runner.backend.choice import ServerChoice, choose_server
from runner.backend.keys import find_key
from runner.backend.wandb_files import find_netrc_trouble, find_wandb_claims, read_wandb_settings
from runner.errors import RunnerError
from runner.settings.model import Settings
from runner.state.folder import State
from runner.user.accepted import accept

CLOUD, FORGE = "https://api.wandb.ai", "https://api.forge.coreweave.com"


def choose(
    home: Path,
    *,
    flag: str | None = None,
    setting: str | None = None,
    environ: dict[str, str] | None = None,
    state: State | None = None,
) -> ServerChoice:
    origins = {"server": "runner.toml"} if setting else {}
    settings = Settings(server=setting, origins=origins)
    return choose_server(
        flag=flag,
        environ=environ or {},
        settings=settings,
        home=home,
        state=state,
        folder=home / "project",
    )


def write_netrc(home: Path, host: str, key: str, name: str = ".netrc") -> None:
    (home / name).write_text(f"machine {host}\n  login user\n  password {key}\n")


def write_wandb(folder: Path, **values: str) -> None:
    folder.mkdir(parents=True)
    lines = [f"{key} = {value}" for key, value in values.items()]
    (folder / "settings").write_text("\n".join(["[default]", *lines]))


def test_each_origin_gives_way_to_the_one_before_it(tmp_path: Path) -> None:
    write_netrc(tmp_path, "api.wandb.ai", "k" * 40)
    assert choose(tmp_path).url == CLOUD

    write_wandb(tmp_path / ".config/wandb", base_url="https://files.example")
    assert choose(tmp_path).url == "https://files.example"

    environ = {"WANDB_BASE_URL": "https://env.example/"}
    assert choose(tmp_path, environ=environ).url == "https://env.example"

    assert choose(tmp_path, environ=environ, setting="https://file.example") == ServerChoice(
        "https://file.example", "runner.toml"
    )
    assert choose(tmp_path, environ=environ, setting="https://x", flag="local") == ServerChoice(
        None, "--server"
    )


def test_without_a_key_it_is_local(tmp_path: Path) -> None:
    assert choose(tmp_path) == ServerChoice(None, "no W&B key was found")


@pytest.mark.parametrize("host", [CLOUD, FORGE])
def test_the_cloud_is_the_host_that_a_key_is_for(tmp_path: Path, host: str) -> None:
    write_netrc(tmp_path, host.removeprefix("https://"), "k" * 40, name="_netrc")

    assert choose(tmp_path).url == host
    assert "_netrc" in choose(tmp_path).why


def test_a_key_for_another_host_is_no_key_for_the_cloud(tmp_path: Path) -> None:
    write_netrc(tmp_path, "github.com", "secret")

    assert choose(tmp_path).own


def test_netrc_elsewhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    write_netrc(tmp_path / "other", "api.wandb.ai", "k" * 40)

    environ = {"NETRC": str(tmp_path / "other" / ".netrc")}

    assert choose(tmp_path, environ=environ).url == CLOUD


def test_the_folders_own_wandb_settings_win_over_the_homes(tmp_path: Path) -> None:
    write_wandb(tmp_path / ".config/wandb", base_url="https://home.example")
    write_wandb(tmp_path / "project/wandb", base_url="https://folder.example")
    write_netrc(tmp_path, "folder.example", "key")

    assert choose(tmp_path).url == "https://folder.example"


def test_the_folders_own_wandb_settings_name_no_strangers_server_or_key(tmp_path: Path) -> None:
    """They may have come with a repository; W&B's own client would believe them."""
    environ = {"WANDB_API_KEY": "of the user", "XDG_STATE_HOME": str(tmp_path / "state")}
    folder = tmp_path / "project"
    write_wandb(folder / "wandb", base_url="https://folder.example", api_key="a stranger's")
    claims = find_wandb_claims(tmp_path, folder, environ)

    before = read_wandb_settings(tmp_path, folder, environ)
    choice = choose(tmp_path, environ=environ)
    accept(claims, environ, remember=True)

    assert before == {}
    assert choice.url in (CLOUD, FORGE)
    assert [claim.key for claim in claims] == ["wandb.base_url", "wandb.api_key"]
    assert "stranger" not in "".join(map(str, claims))
    assert choose(tmp_path, environ=environ).url == "https://folder.example"


def test_a_word_that_is_no_url_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunnerError, match="neither `local` nor a URL"):
        choose(tmp_path, flag="locale")


@pytest.mark.parametrize(
    "named", ["https://wandb.ai", "http://api.wandb.ai/", "https://wandb.ai/home"]
)
def test_the_clouds_page_and_plain_http_mean_its_api(tmp_path: Path, named: str) -> None:
    assert choose(tmp_path, environ={"WANDB_BASE_URL": named}).url == CLOUD


def test_a_url_without_its_scheme_is_completed_in_the_hint(tmp_path: Path) -> None:
    with pytest.raises(RunnerError) as caught:
        choose(tmp_path, environ={"WANDB_BASE_URL": "wandb.example:8080"})

    assert caught.value.hint == "did you mean `https://wandb.example:8080`?"


def test_a_keys_line_break_is_no_part_of_it(tmp_path: Path) -> None:
    environ = {"WANDB_API_KEY": " env-key\n"}

    assert find_key(CLOUD, environ=environ, home=tmp_path, state=None) == "env-key"


def test_keys_go_to_their_own_host_only(tmp_path: Path) -> None:
    write_netrc(tmp_path, "wandb.example", "netrc-key")
    environ = {"WANDB_API_KEY": "env-key", "WANDB_BASE_URL": "https://self.example"}

    def key(url: str, environ: dict[str, str]) -> str | None:
        return find_key(url, environ=environ, home=tmp_path, state=None, folder=tmp_path)

    assert key("https://wandb.example", {}) == "netrc-key"
    assert key("https://self.example", environ) == "env-key"
    assert key(CLOUD, environ) is None
    assert key(CLOUD, {"WANDB_API_KEY": "env-key"}) == "env-key"
    assert key("https://self.example", {"WANDB_API_KEY": "env-key"}) is None


def test_the_clouds_two_names_share_a_key(tmp_path: Path) -> None:
    write_netrc(tmp_path, "api.wandb.ai", "cloud-key")

    assert find_key(FORGE, environ={}, home=tmp_path, state=None, folder=tmp_path) == "cloud-key"


def test_a_damaged_netrc_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine\nmachine machine")

    assert choose(tmp_path).own
    assert find_netrc_trouble({}, tmp_path) == f"`{tmp_path}/.netrc` cannot be read: it is damaged"


def test_a_netrcs_default_entry_is_told_and_not_used(tmp_path: Path) -> None:
    assert find_netrc_trouble({}, tmp_path) is None
    (tmp_path / ".netrc").write_text("default login user password anybodys\n")

    assert find_key(CLOUD, environ={}, home=tmp_path, state=None) is None
    assert "does not send its key" in str(find_netrc_trouble({}, tmp_path))


OWN_KEY = "0123456789" * 4


@pytest.fixture
def own(tmp_path: Path) -> State:
    """A state folder with a server of its own at port 4711."""
    state = State(tmp_path / ".runner", "own")
    state.secrets.mkdir(parents=True)
    (state.secrets / "server").write_text(OWN_KEY + "\n")
    state.server_file.write_text('{"port": 4711}')
    return state


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_a_url_of_this_folders_own_server_means_local(
    tmp_path: Path, own: State, host: str
) -> None:
    url = f"http://{host}:4711"

    by_flag = choose(tmp_path, flag=url, state=own)
    by_settings = choose(tmp_path, setting=url, state=own)
    by_environment = choose(tmp_path, environ={"WANDB_BASE_URL": url + "/"}, state=own)

    assert by_flag == ServerChoice(None, "--server names it")
    assert by_settings == ServerChoice(None, "runner.toml names it")
    assert by_environment == ServerChoice(None, "WANDB_BASE_URL names it")
    assert choose(tmp_path, flag=f"http://{host}:4712", state=own).own is False
    assert choose(tmp_path, flag="http://elsewhere:4711", state=own).own is False


def test_the_own_servers_key_goes_nowhere_else(tmp_path: Path, own: State) -> None:
    """Neither is a cloud chosen for it, nor is it sent to a server that is named."""
    environ = {"WANDB_API_KEY": OWN_KEY}
    write_netrc(tmp_path, "api.wandb.ai", OWN_KEY)

    def key(url: str, **environ: str) -> str | None:
        return find_key(url, environ=environ, home=tmp_path, state=own, folder=tmp_path)

    assert choose(tmp_path, environ=environ, state=own).own
    assert key(CLOUD) is None
    assert key(CLOUD, WANDB_API_KEY=OWN_KEY) is None
    self_hosted = "https://self.example"
    assert key(self_hosted, WANDB_API_KEY=OWN_KEY, WANDB_BASE_URL=self_hosted) is None
    write_wandb(tmp_path / ".config" / "wandb", api_key="another key")
    assert key(CLOUD, WANDB_API_KEY=OWN_KEY) == "another key"
