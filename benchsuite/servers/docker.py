"""Engines from images: what a driver says of its image becomes a `docker run`, after a pull if need be.

The container listens on 127.0.0.1 alone, sees this machine's models read-only and downloads nothing. Its
name is ours, so that `docker stop` ends it even where the client that started it was killed.
"""

import json
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from benchsuite.driver import Launch, is_variable
from benchsuite.errors import TargetError, UsageError
from benchsuite.servers.hub import cache_folder
from benchsuite.servers.launch import LaunchModel, Server, prepared
from benchsuite.shown import shown_image

DOCKER: Final = "docker"
MODELS: Final = "/models"
"""Where a model of this machine's stands in the container."""
_VOLUME: Final = "benchsuite-models"
_STOP_S: Final = 5
_ASK_S: Final = 30.0
_KEPT_VARIABLES: Final = ("CUDA_VISIBLE_DEVICES",)
"""Of the user's own environment: which GPUs to use. Keys and tokens stay outside."""
_PULLED: Final = ("Pull complete", "Already exists")


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """An image that is here: as it was asked for, as it may be shown, and its content's digest."""

    name: str
    shown: str
    digest: str

    def of(self, server: Server) -> Server:
        """A server that runs from it, and says so."""
        command = server.command_masked.replace(self.name, self.shown)
        return replace(server, command_masked=command, image=f"{self.shown}@{self.digest}")


def way(
    launch: Launch, *, title: str, environment: str, python: str = "", docker: bool = False, image: str = ""
) -> tuple[Launch, str]:
    """The way of starting that can be gone here, and the Python for it; an empty `argv`: from its image.

    `docker` or an `image` asks for that; by itself it is done only with an image that is here already.
    `environment` and `python` are as `prepared` takes them. TargetError or UsageError: there is no way.
    """
    if docker or image:
        if python:
            raise UsageError("--engine-python and --docker are two ways of starting: give one of them")
        return _from_image(launch, title, image), sys.executable
    found, interpreter = prepared(launch, environment, python)
    if not found.argv:
        here = None
        with suppress(TargetError):
            here = inspected(found.image)
        if here is None:
            raise TargetError(launch.missing)
    return found, interpreter


def _from_image(launch: Launch, title: str, image: str) -> Launch:
    if not launch.image:
        raise UsageError(f"benchsuite knows no image of {title}: leave --docker and --image out")
    if shutil.which(DOCKER) is None:
        raise UsageError(
            f"docker isn't on the PATH: install it, or start {title} yourself and say --url http://…"
        )
    return msgspec.structs.replace(
        launch, argv=(), image=image or launch.image, needs=(DOCKER,), module="", otherwise=None
    )


def fetched(name: str, on_stage: Callable[[str], None]) -> Image:
    """The image, pulled if need be; `on_stage` hears how far that is. TargetError: it can't be had."""
    digest = inspected(name)
    if digest is None:
        on_stage(f"pulling {name}")
        _pull(name, on_stage)
        digest = inspected(name)
    if digest is None:
        raise TargetError(f"docker pulled {name} and doesn't have it; is it an image of this machine's kind?")
    return Image(name=name, shown=shown_image(name), digest=digest)


def inspected(image: str) -> str | None:
    """The digest of an image that is here; None: it isn't. TargetError: Docker itself doesn't answer."""
    try:
        done = subprocess.run(
            [DOCKER, "image", "inspect", "--format", "{{.Id}} {{json .RepoDigests}}", image],
            capture_output=True,
            text=True,
            timeout=_ASK_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TargetError(f"docker doesn't answer: {error}") from None
    if done.returncode != 0:
        if "daemon" in done.stderr and "No such" not in done.stderr:
            raise TargetError(f"docker doesn't answer: {_last(done.stderr)}")
        return None
    own, _, listed = done.stdout.strip().partition(" ")
    digests = json.loads(listed or "null") or []
    return str(digests[0]).rpartition("@")[2] if digests else own


def contained(
    launch: Launch, model: LaunchModel, image: str, *, gpus: bool, environ: Mapping[str, str]
) -> tuple[Launch, LaunchModel]:
    """A launch of `docker run`, and the model as the engine in the container sees it.

    `gpus`: this machine has NVIDIA GPUs to give it.
    """
    name = f"benchsuite-{secrets.token_hex(6)}"
    inside, mounts = model.argument, _cache(launch, environ)
    path = Path(model.argument)
    if path.is_absolute():
        inside = f"{MODELS}/{path.name}"
        mounts += _mount(path, inside)
    variables = [word for word in launch.image_argv if is_variable(word)]
    variables += [name for name in _KEPT_VARIABLES if name in environ]
    argv = (
        # What runs is what was looked at before.
        *(DOCKER, "run", "--rm", "--init", "--pull", "never", "--name", name, "--shm-size", "1g"),
        *(("--gpus", "all") if gpus else ()),
        *("--publish", f"127.0.0.1:{{port}}:{launch.image_port}"),
        *mounts,
        # A name alone takes its value from the client's environment, where the user's own goes before ours.
        *(word for variable in (*launch.env, *variables) for word in ("--env", variable)),
        image,
        *(
            word.replace("{port}", str(launch.image_port)).replace("{model}", inside)
            for word in launch.image_argv
            if not is_variable(word)
        ),
    )
    started = msgspec.structs.replace(launch, argv=argv, end=(DOCKER, "stop", "-t", str(_STOP_S), name))
    return started, msgspec.structs.replace(model, argument=inside)


def _cache(launch: Launch, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Mounts of where the image looks for models, and the variables that say so."""
    if launch.image_volume:
        return (
            "--mount",
            f"type=volume,src={_VOLUME}{launch.image_cache.replace('/', '-')},dst={launch.image_cache}",
        )
    hub, inner = cache_folder(environ), f"{launch.image_cache}/hub"
    if not hub.is_dir():
        return ()
    home = {"HF_HOME": launch.image_cache, "HF_HUB_CACHE": inner, "HUGGINGFACE_HUB_CACHE": inner}
    told = [word for name, value in home.items() for word in ("--env", f"{name}={value}")]
    return (*_mount(hub.resolve(), inner), *told)


def _mount(path: Path, inside: str) -> tuple[str, ...]:
    if "," in str(path):
        raise UsageError(f"docker can't be given a folder with a comma in its name: {path.name}")
    return ("--mount", f"type=bind,src={path},dst={inside},readonly")


def _pull(image: str, on_stage: Callable[[str], None]) -> None:
    """`docker pull`, its lines counted as layers."""
    process = subprocess.Popen(
        [DOCKER, "pull", image],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    assert process.stdout
    layers: set[str] = set()
    done: set[str] = set()
    last = ""
    try:
        for line in process.stdout:
            last = line.strip() or last
            layer, colon, what = last.partition(": ")
            if colon and what.startswith(("Pulling fs layer", *_PULLED)):
                layers.add(layer)
                if what.startswith(_PULLED):
                    done.add(layer)
                on_stage(f"pulling {image}: {len(done)} of {len(layers)} layers")
        code = process.wait()
    finally:
        process.stdout.close()
        if process.poll() is None:
            process.terminate()
            process.wait()
    if code:
        raise TargetError(f"docker can't pull {image}: {last}")


def _last(text: str) -> str:
    return (text.strip().splitlines() or ["it says nothing"])[-1]
