"""What servers say of their own times, from the true schedule."""

from benchsuite.simulator.asked import Answer

_MS = 1e6


def rate(count: int, ns: int) -> float:
    """So many in that time, per second; 0 where no time passed."""
    return count / ns * 1e9 if ns else 0.0


def told(engine: str, answer: Answer) -> tuple[dict[str, object], str]:
    """Fields of an OpenAI-shaped answer, and header lines of one that isn't streamed."""
    if engine == "llamacpp":
        return {"timings": _llamacpp(answer)}, ""
    if engine == "openai":
        return {}, f"openai-processing-ms: {round(answer.times.total_ns / _MS)}\r\n"
    if engine == "tgi":
        return {}, tgi_headers(answer)
    if engine in ("", "vllm"):
        return {"metrics": _vllm(answer)}, ""
    return {}, ""


def _vllm(answer: Answer) -> dict[str, object]:
    """First token from being scheduled; generation from the first token to the last."""
    times, gaps = answer.times, answer.tokens - 1
    service_ns = times.prefill_ns + times.decode_ns
    return {
        "time_to_first_token_ms": times.prefill_ns / _MS,
        "queue_time_ms": times.queue_ns / _MS,
        "generation_time_ms": times.decode_ns / _MS,
        "mean_itl_ms": times.decode_ns / _MS / gaps if gaps else None,
        "tokens_per_second": rate(answer.tokens, service_ns) or None,
        "speculative_decoding": None,
    }


def _llamacpp(answer: Answer) -> dict[str, object]:
    times, computed = answer.times, answer.computed
    return {
        "cache_n": answer.cached,
        "prompt_n": computed,
        "prompt_ms": times.prefill_ns / _MS,
        "prompt_per_token_ms": times.prefill_ns / _MS / max(computed, 1),
        "prompt_per_second": rate(computed, times.prefill_ns),
        "predicted_n": answer.tokens,
        "predicted_ms": times.decode_ns / _MS,
        "predicted_per_token_ms": times.decode_ns / _MS / answer.tokens,
        "predicted_per_second": rate(answer.tokens, times.decode_ns),
    }


def tgi_headers(answer: Answer) -> str:
    """Header lines of TGI's whole answers: milliseconds, but `x-compute-time` in seconds."""
    times = answer.times
    inference_ns = times.prefill_ns + times.decode_ns
    lines = {
        "x-compute-type": "cpu+benchsuite-sim",
        "x-compute-time": f"{times.total_ns / 1e9:.6f}",
        "x-total-time": round(times.total_ns / _MS),
        "x-validation-time": 0,
        "x-queue-time": round(times.queue_ns / _MS),
        "x-inference-time": round(inference_ns / _MS),
        "x-time-per-token": round(inference_ns / _MS / answer.tokens),
        "x-prompt-tokens": answer.asked.prompt_tokens,
        "x-generated-tokens": answer.tokens,
    }
    return "".join(f"{name}: {value}\r\n" for name, value in lines.items())
