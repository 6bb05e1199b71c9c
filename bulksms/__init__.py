"""bulksms: bulk SMS through the Adaxes REST API, with a ledger that tells the truth after any crash."""

from bulksms.version import VERSION

__version__ = VERSION
