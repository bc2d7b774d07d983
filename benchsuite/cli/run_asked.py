"""What the options of `run` ask of the library."""

import math
import os
import shlex
from pathlib import Path
from typing import Any

from benchsuite.cli.run_checks import check_of, dataset_of
from benchsuite.cli.run_files import check_bodies, replayed, spec_text
from benchsuite.cli.run_passing import passed_on
from benchsuite.cli.run_sweep import check_resume, check_zip, engine_of
from benchsuite.cli.settings import repeatable, without


def workload_of(given: dict[str, Any]) -> Any:
    """The workload asked for, changed as the options say."""
    import msgspec

    from benchsuite.errors import UsageError
    from benchsuite.workload.load import load, overridden
    from benchsuite.workload.slo import parse_slo
    from benchsuite.workload.stages import parse_stages

    if given["duration"] == 0:
        raise UsageError("--duration must be more than 0")
    workload = overridden(
        load(given["workload"] or ("trace" if given["trace"] else "quick")),
        prompt_tokens=given["prompt_tokens"],
        output_tokens=given["output_tokens"],
        text=given["text"],
        concurrency=given["concurrency"],
        rate=given["rate"],
        arrivals=given["arrivals"],
        arrivals_cv=_cv_of(given),
        burst_size=given["burst_size"],
        stages=parse_stages(given["stages"]) if given["stages"] else None,
        batch=given["batch_api"] or None,
        requests=given["requests"],
        seconds=given["duration"],
        trials=given["trials"],
        sweep=given["sweep"],
        order=given["order"],
        engine=engine_of(given, several=True) or None,
        cache=given["cache"],
        trace=_trace_of(given),
        time_scale=given["time_scale"],
        hit_ratio=given["hit_ratio"],
        shared_tokens=given["shared_tokens"],
        groups=given["groups"],
        zipf=given["zipf"],
        reasoning=given["reasoning"],
        turns=given["turns"],
        user_tokens=given["user_tokens"],
        think_s=given["think"],
        replies=given["replies"],
        dataset=dataset_of(given),
        check=check_of(given),
        slo=parse_slo(given["slo"]) if given["slo"] else None,
    )
    workload = passed_on(workload, given)
    if given["warm_up"] is None:
        return workload
    return msgspec.structs.replace(workload, warm_up_seconds=given["warm_up"])


def _used(given: dict[str, Any]) -> dict[str, Any]:
    """The options without a settings file's `text` where prompts are a dataset's, texts of their own."""
    from benchsuite.workload.load import load

    if not given["text"] or given["trace"]:
        return given
    own = given["workload"] and load(given["workload"]).dataset is not None
    return without(given, "text") if own or given["dataset"] else given


def _trace_of(given: dict[str, Any]) -> Any:
    """The trace named, which counts from the current folder; None: none."""
    from benchsuite.errors import UsageError
    from benchsuite.types import Source

    if given["trace"] and given["bodies"]:
        raise UsageError("--bodies are sent word for word, --trace makes up prompts: give one of them")
    return Source(file=str(Path(given["trace"]).absolute())) if given["trace"] else None


def _cv_of(given: dict[str, Any]) -> float | None:
    """The cv asked for; vLLM's burstiness is the gamma distribution's shape, 1/cv²."""
    from benchsuite.errors import UsageError

    burstiness: float | None = given["burstiness"]
    if burstiness is None:
        cv: float | None = given["cv"]
        return cv
    if given["cv"] is not None:
        raise UsageError("--burstiness B is --cv 1/√B: give one of them")
    if not 0 < burstiness < float("inf"):
        raise UsageError("--burstiness must be more than 0: 1 is Poisson, below it requests come in bursts")
    return 1 / math.sqrt(burstiness)


def connection_of(given: dict[str, Any]) -> Any:
    """How to connect; missing files are usage errors here, not failures of every request later."""
    from benchsuite.errors import UsageError
    from benchsuite.types import Connection, Timeouts

    for option in ("ca_cert", "client_cert", "client_key"):
        if given[option] and not Path(given[option]).is_file():
            raise UsageError(f"--{option.replace('_', '-')}: there is no file {given[option]}")
    if given["client_key"] and not given["client_cert"]:
        raise UsageError("--client-key needs --client-cert beside it")
    limits = {
        "connect_s": given["connect_timeout"],
        "first_byte_s": given["first_byte_timeout"],
        "silence_s": given["silence_timeout"],
        "total_s": given["timeout"],
    }
    if 0 in limits.values():
        raise UsageError("a timeout must be more than 0")
    return Connection(
        ca_cert=given["ca_cert"],
        client_cert=given["client_cert"],
        client_key=given["client_key"],
        insecure=given["insecure"],
        proxy=given["proxy"],
        timeouts=Timeouts(**{name: limit for name, limit in limits.items() if limit is not None}),
    )


def headers_of(given: dict[str, Any]) -> dict[str, str]:
    """Extra headers, from the command line and from the environment."""
    from benchsuite.errors import UsageError

    headers = dict(given["header"])
    for name, variable in given["header_env"]:
        if variable not in os.environ:
            raise UsageError(f"--header-env {name}: the environment variable {variable} isn't set")
        headers[name] = os.environ[variable]
    for name, value in headers.items():
        if not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
            raise UsageError("--header: a header's name has letters, digits and '-' only")
        if not value.isprintable():
            raise UsageError(f"--header {name}: its value has a character that HTTP doesn't allow")
    return headers


def labels_of(given: dict[str, Any]) -> dict[str, str]:
    """The labels; `commit=git` and `branch=git` are asked of the repository, or of a CI's variables."""
    labels = dict(given["label"])
    for name in ("commit", "branch"):
        if labels.get(name) == "git":
            from benchsuite.repository import branch, commit

            labels[name] = commit(Path.cwd()) if name == "commit" else branch(Path.cwd())
    return labels


def driver_options_of(given: dict[str, Any]) -> dict[str, str]:
    """The driver's own options, the door and the text of a specification among them."""
    from benchsuite.errors import UsageError

    options = dict(given["option"])
    if given["endpoint"]:
        options["endpoint"] = given["endpoint"]
    if "spec" in options:
        raise UsageError("a specification is a file, whose text isn't kept in any history: --spec FILE")
    if given["spec"]:
        options["spec"] = spec_text(given["spec"])
    return options


def options_of(given: dict[str, Any], command: str) -> Any:
    """What the library is asked to do; backend, URL and model are filled in for each target."""
    from benchsuite.asked import Options
    from benchsuite.errors import UsageError
    from benchsuite.workload.load import folder_of
    from benchsuite.workload.material import opened

    if given["launch"] and given["attach"]:
        raise UsageError("--launch starts a server and --attach forbids it: give one of them")
    if (given["token_price"] or given["price_as"]) and (given["gpu"] or given["gpu_price"] is not None):
        raise UsageError("--gpu prices hours, --token-price and --price-as price tokens: give one of them")
    if given["token_price"] and given["price_as"]:
        raise UsageError("--token-price states prices, --price-as looks them up: give one of them")
    try:
        engine_args = tuple(shlex.split(given["engine_args"] or ""))
    except ValueError:
        raise UsageError("--engine-args: a quotation mark isn't closed") from None
    check_bodies(given)
    given = _used(given)
    workload, bodies = replayed(workload_of(given), given)
    check_zip(given, workload)
    workload, material = opened(workload, folder_of(given["workload"] or ""))
    check_resume(given, workload.batch)
    return Options(
        backend="",
        workload=workload,
        bodies=bodies,
        material=material,
        key_variable=given["api_key_env"] or "",
        token_command=given["token_command"] or "",
        headers=headers_of(given),
        options=driver_options_of(given),
        extra_body=given["extra_body"] or {},
        reset_cache=given["reset_cache"],
        connection=connection_of(given),
        seed=given["seed"],
        nonce=given["nonce"] or "",
        workers=given["workers"],
        threads=given["threads"],
        engine=engine_of(given, several=False),
        engine_args=engine_args,
        engine_python=given["engine_python"] or "",
        docker=given["docker"],
        image=given["image"] or "",
        start="launch" if given["launch"] else "attach" if given["attach"] else "auto",
        pull=given["pull"],
        gpu=given["gpu"] or "",
        gpu_price=given["gpu_price"],
        token_price=given["token_price"] or (),
        price_as=given["price_as"] or "",
        labels=labels_of(given),
        keep_text=given["keep_text"],
        kernel_stamps=not given["user_stamps"],
        batch_poll_s=given["batch_poll"],
        command=repeatable(given, command),
    )


def check_backend(options: Any) -> None:
    """Refuse at once what the backend can't be asked, whatever server stands behind it."""
    from benchsuite.asked import check_asked
    from benchsuite.driver import load

    check_asked(load(options.backend, options.options), options)
