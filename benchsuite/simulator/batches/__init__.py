"""Batch APIs of OpenAI, Anthropic and Gemini, as their references and SDKs have them; kept in memory only."""

from benchsuite.simulator.batches import anthropic, gemini, openai
from benchsuite.simulator.batches.ledger import Ledger
from benchsuite.simulator.site import Site


def register(site: Site) -> None:
    """Put the pages of all three into a server."""
    ledger = Ledger(site.config.batches, site.at_once)
    openai.Pages(ledger).register(site)
    anthropic.Pages(ledger).register(site)
    gemini.Pages(ledger).register(site)
