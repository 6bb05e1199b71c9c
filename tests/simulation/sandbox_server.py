"""The sandbox's own server at the other end of the simulated network, instead of the ruder one."""

import asyncio
from dataclasses import dataclass

from bulksms.sandbox import Fault, FaultPlan, Sandbox
from bulksms.sandbox.send_sms import SlowSends
from bulksms.sandbox.server import Account, Away
from tests.simulation.seams import NightLoop
from tests.simulation.server import PORT, Witness
from tests.simulation.weather import Fate, Outage, Weather

EVERYBODYS = {
    Fate.S503: Fault.STATUS_503,
    Fate.S503_AFTER: Fault.STATUS_503_RETRY_AFTER,
    Fate.S429: Fault.STATUS_429,
    Fate.S500: Fault.STATUS_500_PROCESSED,
    Fate.S502: Fault.HTML_502_PROCESSED,
    Fate.S504: Fault.HTML_504_PROCESSED,
    Fate.HANG: Fault.STALL,
    Fate.DROP_AFTER: Fault.DROP_AFTER,
    Fate.PAGE: Fault.HTML_200,
    Fate.PAGE_403: Fault.HTML_403,
}
STOPPING = frozenset({Fault.STATUS_401, Fault.STATUS_405, Fault.STATUS_407, Fault.STATUS_501})
"""They stop a run, as the redirects do."""
PERSONAL = [it for it in Fault if it not in STOPPING and not it.startswith("redirect")]


@dataclass
class SandboxServer:
    """Plays the same weather: the fates of some recipients, and what everybody meets for a while."""

    loop: NightLoop
    weather: Weather
    witness: Witness

    async def serve(self) -> None:
        """Listen, and follow the storms."""
        chance, weather = self.weather.chance, self.weather
        scripts = {it: chance.choices(PERSONAL, k=len(fates)) for it, fates in weather.scripts.items()}
        sandbox = Sandbox(
            faults=FaultPlan.of(scripts),
            latency=weather.latency,
            seed=chance.getrandbits(32),
            port=PORT,
            retry_after=weather.retry_after,
            system=self.loop.system(),
            slow_sends=SlowSends(polls=weather.polls),
            account=Account(token_lifetime=weather.token_seconds or 1_800.0),
        )
        self.witness.journal = sandbox.journal
        async with sandbox:
            for storm in sorted(weather.storms):
                await asyncio.sleep(max(0.0, storm.begin - self.loop._now))
                if weather.is_calm:
                    break
                await self._storm(sandbox, storm.what, storm.end)
            while not weather.is_calm:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.5)
            sandbox.everybody = Fault.OK
            await asyncio.Event().wait()

    async def _storm(self, sandbox: Sandbox, what: Fate | Outage, until: float) -> None:
        self.witness.note("server", f"for a while: {what}")
        if isinstance(what, Outage):
            await sandbox.go_away(Away.REFUSED if what is Outage.DOWN else Away.UNAVAILABLE)
        else:
            sandbox.everybody = EVERYBODYS[what]
        await asyncio.sleep(max(0.0, until - self.loop._now))
        await sandbox.come_back()
        sandbox.everybody = None
        self.witness.note("server", "is as before")
