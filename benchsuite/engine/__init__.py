"""The only timed part: worker processes with sockets, clocks and a schedule, and what they heard."""
