"""The public kit for drivers: SSE framing over a `Tape`, the OpenAI dialect, and errors as closed kinds."""
