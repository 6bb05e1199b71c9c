# The public names, each once, with its module. `__init__.py` imports a name when it is first used.

from bulksms.adaxes import AccessToken as AccessToken
from bulksms.adaxes import Account as Account
from bulksms.adaxes import Endpoint as Endpoint
from bulksms.api.outcomes import Outcome as Outcome
from bulksms.api.plans import NotSendableError as NotSendableError
from bulksms.api.plans import PlanOptions as PlanOptions
from bulksms.api.plans import plan as plan
from bulksms.api.plans import preview as preview
from bulksms.api.runs import Hooks as Hooks
from bulksms.api.runs import OpenRun as OpenRun
from bulksms.api.runs import open_run as open_run
from bulksms.errors import BulksmsError as BulksmsError
from bulksms.errors import InputError as InputError
from bulksms.errors import LedgerError as LedgerError
from bulksms.errors import LedgerLockedError as LedgerLockedError
from bulksms.errors import PlanError as PlanError
from bulksms.errors import ServerError as ServerError
from bulksms.errors import UsageError as UsageError
from bulksms.input import BadRow as BadRow
from bulksms.input import Finding as Finding
from bulksms.input import InMemoryRows as InMemoryRows
from bulksms.input import InputOptions as InputOptions
from bulksms.input import Row as Row
from bulksms.input import open_input as open_input
from bulksms.ledger import ControlCommand as ControlCommand
from bulksms.ledger import LedgerReader as LedgerReader
from bulksms.ledger import MessageRecord as MessageRecord
from bulksms.ledger import open_ledger as open_ledger
from bulksms.model.message import Reason as Reason
from bulksms.model.message import State as State
from bulksms.model.run_settings import Deadline as Deadline
from bulksms.model.run_settings import DeliveryMode as DeliveryMode
from bulksms.model.run_settings import RunSettings as RunSettings
from bulksms.model.run_settings import StopReason as StopReason
from bulksms.planning.plan import Preview as Preview
from bulksms.report.summary import Summary as Summary
from bulksms.report.summary import status as status

__all__: list[str]  # noqa: PYI035 - its value are the names above
__version__: str
