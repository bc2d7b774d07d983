"""Batch APIs of OpenAI, Anthropic and Gemini, as their references and SDKs have them; kept in memory only."""

from benchsuite.simulator.batches import anthropic, gemini, openai
from benchsuite.simulator.batches.ledger import Ledger
from benchsuite.simulator.site import Site


def register(site: Site) -> None:
    """Put the pages of all three into a server."""
    ledger = Ledger(site.config.batches, site.at_once)
    of_openai, of_gemini = openai.Pages(ledger), gemini.Pages(ledger)
    of_openai.register(site)
    scheme = "https" if site.config.tls_cert else "http"
    anthropic.Pages(ledger, scheme).register(site)
    of_gemini.register(site)
    of_gemini.register_beside(of_openai, site)
