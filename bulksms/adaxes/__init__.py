"""The Adaxes REST API: one request, told as an `Attempt`."""

from bulksms.adaxes.check import Finding, Step, check
from bulksms.adaxes.client import Client, ClientSettings, Poll
from bulksms.adaxes.credentials import AccessToken, Account, Credentials, Token
from bulksms.adaxes.endpoint import Endpoint
from bulksms.adaxes.exchange import Exchange, is_unauthenticated
from bulksms.adaxes.log_in import LogInProblem
from bulksms.adaxes.look_ups import DirectoryObject, Listing, LookUp, group_members, look_up, search
from bulksms.adaxes.url import is_loopback, parse_base_url, parse_proxy, proxy_for, without_password

__all__ = [
    "AccessToken",
    "Account",
    "Client",
    "ClientSettings",
    "Credentials",
    "DirectoryObject",
    "Endpoint",
    "Exchange",
    "Finding",
    "Listing",
    "LogInProblem",
    "LookUp",
    "Poll",
    "Step",
    "Token",
    "check",
    "group_members",
    "is_loopback",
    "is_unauthenticated",
    "look_up",
    "parse_base_url",
    "parse_proxy",
    "proxy_for",
    "search",
    "without_password",
]
