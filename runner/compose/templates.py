"""The templates of compose.yaml and compose.cpu.yaml.

`@{variables.SWEEP}` is a name of the contract, `@{word}` a part from `file`.
"""

from re import RegexFlag
from string import Template

from runner.agent.contract import labels, limits, paths, servers, variables
from runner.compose import pins


class _Text(Template):
    """A template with the mark `@`: Compose uses `$`."""

    delimiter = "@"
    idpattern = r"[a-z_]+(?:\.[A-Z_]+)?"
    flags = RegexFlag(0)


class _Names(dict[str, str]):
    """The value of each `@{…}`."""

    def __missing__(self, key: str) -> str:
        module, _, name = key.partition(".")
        return str(getattr(_MODULES[module], name))


_MODULES = {
    "labels": labels,
    "limits": limits,
    "paths": paths,
    "pins": pins,
    "servers": servers,
    "variables": variables,
}


def fill(text: str, **parts: str) -> str:
    """Fill in names and parts."""
    return _Text(text).substitute(_Names(parts))


HEADER = """\
# The fleet of this folder by `docker compose up`: a sweep server, a sweep, an agent per GPU.
#
#   @{up} GPU 0, and the sweep of this folder
#   @{pins.NAMED_SWEEP}=abc123 docker compose up                        joins that sweep
#   runner compose --gpus 0,1 && docker compose up        these GPUs, pinned by UUID in `.env`
#   docker compose -f compose.yaml -f compose.cpu.yaml up a machine without a GPU
#
@{images}
#
# On W&B: set @{variables.BASE_URL}, @{pins.KEY_FILE} (path of a file with the key, or of a .netrc),
# and @{pins.CA_FILE} if an authority of your own signed its certificate; `runner compose` finds
# them by itself. The state is in `@{state}/`.
"""
IMAGES = "# Compose uses the images of `runner build` and does not build."
IMAGES_OF_CLONE = """\
# `up` uses images that exist and builds missing ones; `docker compose build` rebuilds both.
# `make generated` makes this file (runner/compose/file.py)."""

BUILD = """
x-build: &build
  context: .
  dockerfile: docker/Dockerfile
  additional_contexts: # a folder of your own wheels
    wheels: ${@{pins.WHEELS}:-docker-image://scratch}
  secrets: [ca, pip, uv]
"""

SHARED = """
x-own: &own # what runs from the server's image
  image: ${@{pins.SERVER_IMAGE}:-${@{variables.COMPOSE_PROJECT}}-server}
  pull_policy: never
  entrypoint: [@{paths.INTERPRETER}, -m, runner.compose]
  user: ${@{pins.UID}:-0}:${@{pins.GID}:-0} # root becomes the owner of this folder at once
  cap_drop: [ALL]
  cap_add: [SETUID, SETGID, CHOWN] # of no use, and of no harm, where @{pins.UID} is set
  security_opt: ["no-new-privileges:true"]
  userns_mode: host
  init: true
  read_only: true
  tmpfs: ["@{paths.TEMPORARY}:@{limits.SERVICE_TMPFS}"]
  pids_limit: @{limits.SERVICE_PIDS}
  logging: &logging
    driver: json-file
    options: {max-size: @{limits.LOG_SIZE}, max-file: "@{limits.LOG_FILES}"}

x-proxies: &proxies # the caller's
@{proxies}
x-asked: &asked # which server and which sweep
  @{variables.COMPOSE_PROJECT}: ${@{variables.COMPOSE_PROJECT}}
  @{variables.FLEET}: ${@{variables.FLEET}:-}
  @{variables.SERVER}: ${@{variables.SERVER}:-}
  @{variables.AGENTS}: ${@{variables.AGENTS}:-agent-0}
  @{variables.SLOTS}: @{slots}
  @{variables.KEY_IS_GIVEN}: ${@{pins.KEY_FILE}:+yes}
  @{variables.SWEEP}: ${@{pins.NAMED_SWEEP}:-${@{variables.SWEEP}:-}}
  @{variables.BASE_URL}: ${@{variables.BASE_URL}:-}
  @{variables.ENTITY}: ${@{variables.ENTITY}:-}
  @{variables.PROJECT}: ${@{variables.PROJECT}:-}
  NO_PROXY: &direct @{direct},${NO_PROXY:-}
  no_proxy: *direct
  <<: *proxies

x-environment: &environment # of an agent; the run gets it as well
@{environment}  NO_PROXY: *direct
  no_proxy: *direct
  <<: *proxies

x-labels: &labels # the record that `runner ps`, `logs` and `down` read
  @{labels.ROLE}: @{labels.AGENT_ROLE}
  @{labels.FLEET}: ${@{variables.FLEET}:-}
  @{labels.SWEEP}: ${@{pins.NAMED_SWEEP}:-${@{variables.SWEEP}:-}}
  @{labels.SERVER}: ${@{variables.SERVER}:-}
  @{labels.IMAGE}: ${@{pins.IMAGE}:-}
  @{labels.SETTINGS}: @{labels.BY_COMPOSE}
  @{labels.SCHEMA}: "@{labels.SCHEMA_VERSION}"

x-agent: &agent
  image: ${@{pins.IMAGE}:-${@{variables.COMPOSE_PROJECT}}-agent}
  pull_policy: never
  entrypoint: ["${@{variables.PYTHON}:-@{paths.INTERPRETER}}", -I, @{paths.CODE}]
  command: [@{by_compose}]
  working_dir: @{paths.WORKSPACE}
  user: ${@{pins.UID}:-0}:${@{pins.GID}:-0} # root becomes the owner of @{paths.COMPOSE} at once
  cap_drop: [ALL]
  cap_add: [SETUID, SETGID, CHOWN]
  security_opt: ["no-new-privileges:true"]
  userns_mode: host
  init: true
  read_only: ${@{pins.READ_ONLY}:-true}
  tmpfs:
    - @{paths.TEMPORARY}:@{limits.AGENT_TMPFS}
    - @{paths.HOME}:@{limits.AGENT_TMPFS}
    - @{paths.FOR_ROOT}:@{limits.ROOT_TMPFS} # the leases of a GPU that is not pinned
  shm_size: ${@{pins.SHM_SIZE}:-8g}
  mem_limit: ${@{pins.MEMORY}:-0}
  memswap_limit: ${@{pins.MEMORY}:-0} # swap included: the engine would double the memory
  cpus: ${@{variables.CPUS}:-0}
  pids_limit: @{limits.AGENT_PIDS}
  restart: @{limits.RESTART}
  stop_grace_period: ${@{pins.STOP_AFTER}:-@{stop_after}}
  logging: *logging
  depends_on: {sweep: {condition: service_completed_successfully}}
"""

SERVICES = """
services:
  init: # folders, keys, the agents' code
    <<: *own
@{build}    command: [@{labels.INIT_ROLE}]
    environment: *asked
    network_mode: none
    labels: {@{labels.ROLE}: @{labels.INIT_ROLE}}
    volumes:
      - .:@{paths.HOST_PROJECT}:z
      - /var/tmp:/var/tmp
      - ${@{pins.KEY_FILE}:-/dev/null}:@{paths.GIVEN_KEY}:ro
      - ${@{pins.CA_FILE}:-/dev/null}:@{paths.GIVEN_CA}:ro

  server: # idle where the server is W&B
    <<: *own
    command: [@{labels.SERVER_ROLE}]
    container_name: ${@{pins.SERVER_NAME}:-${@{variables.COMPOSE_PROJECT}}-server-1} # Compose's own
    labels:
      @{labels.ROLE}: @{labels.SERVER_ROLE}
      @{labels.FLEET}: ${@{variables.FLEET}:-}
      @{labels.NETWORK}: &network ${@{pins.NETWORK}:-${@{variables.COMPOSE_PROJECT}}_default}
      @{labels.IMAGE}: ${@{pins.SERVER_IMAGE}:-}
      @{labels.SCHEMA}: "@{labels.SCHEMA_VERSION}"
    environment: {@{pins.MIN_FREE}: "${@{pins.MIN_FREE}:-}"}
    mem_limit: ${@{pins.SERVER_MEMORY}:-@{limits.SERVER_MEMORY}}
    memswap_limit: ${@{pins.SERVER_MEMORY}:-@{limits.SERVER_MEMORY}}
    networks: {default: {aliases: [@{servers.HOST}]}}
    ports: ["127.0.0.1:${@{pins.PORT}:-}:@{servers.PORT}"] # without @{pins.PORT} a free one
    volumes:
      - ${@{pins.DATA}:-./@{server_data}}:@{paths.DATA}:z
      - ./@{server_key}:@{paths.KEY}:ro,z
      - &compose @{shared}:@{paths.COMPOSE}:ro,z
    healthcheck:
      test: [CMD, @{paths.INTERPRETER}, -m, runner.compose, health]
      interval: 10s
      timeout: 10s
    restart: @{limits.RESTART}
    stop_grace_period: @{limits.SERVER_GRACE_S}s
    depends_on: {init: {condition: service_completed_successfully}}

  sweep: # takes this folder's unfinished sweep, else creates one; or joins @{pins.NAMED_SWEEP}
    <<: *own
    command: [@{labels.SWEEP_ROLE}]
    environment: *asked
    labels: {@{labels.ROLE}: @{labels.SWEEP_ROLE}}
    volumes:
      - .:@{paths.HOST_PROJECT}:z
      - @{keys}:@{paths.SECRETS}:ro,z
    depends_on: {server: {condition: service_started}} # it asks by itself whether it answers
"""

AGENT = """
  @{name}:
    <<: *agent
@{head}    container_name: ${@{container}:-${@{variables.COMPOSE_PROJECT}}-@{name}-1}
    environment:
      <<: *environment
      @{variables.AGENT}: ${@{agent}:-@{name}}
      @{variables.SLOT}: ${@{slot}:-}
      @{variables.NVIDIA_DEVICES}: ${@{slot}:-${@{device}:-@{number}}}
    labels:
      <<: *labels
      @{labels.AGENT}: ${@{agent}:-@{name}}
      @{labels.SLOT}: ${@{slot}:-}
    volumes:
@{volumes}
    deploy:
      resources:
        reservations:
          devices:
            - driver: ${@{pins.GPU_DRIVER}:-nvidia}
              device_ids: ["${@{device}:-@{number}}"]
              capabilities: [gpu]
"""

SECRETS = """
secrets: # of a build: certificates, and where packages are found
  ca: {file: "${@{pins.CA_FILE}:-/dev/null}"}
  pip: {file: "${@{pins.PIP_CONF}:-/dev/null}"}
  uv: {file: "${@{pins.UV_TOML}:-/dev/null}"}
"""

NETWORKS = """
networks:
  default: {name: *network, labels: {@{labels.FLEET}: "${@{variables.FLEET}:-}"}}
"""

CPU_HEADER = """\
# Over compose.yaml on a machine without a GPU; `runner compose --gpus cpu:2` enters it in `.env`.
@{made}
x-cpu: &cpu
  @{variables.CUDA_DEVICES}: ""
  @{variables.NVIDIA_DEVICES}: @{variables.NO_DEVICES}

services:
"""
CPU_MADE = "# `make generated` makes it (runner/compose/file.py).\n"
CPU_SWEEP = """\
  sweep: # the search of the settings wants GPUs
    environment:
      @{variables.SWEEP}: ${@{pins.NAMED_SWEEP}:-${@{variables.SWEEP}:-@{sweep}}}
"""
CPU_AGENT = """\
  @{name}:
@{head}    deploy: !reset null
    environment: {<<: *cpu, @{variables.SLOT}: @{slot}}
    volumes: [/dev/null:@{paths.ALL_LEASES}:ro] # there is no GPU to lease
    labels: {@{labels.SLOT}: @{slot}}
"""
