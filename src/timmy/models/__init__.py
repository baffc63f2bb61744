"""Language models: one protocol, several providers. They answer and count tokens; they know nothing of money.

A provider is `builtin.BuiltinAgent`, `openai.OpenAICompatible` or `anthropic.Anthropic`; all keep the promises of `Provider`. Every wait
has an end, retries are few and happen only before the first piece of an answer, what a provider reports is believed only where
it can be true, and a provider's own words about trouble go no further. `judge` asks whether a request should be accepted; what
cannot be read clearly is never a yes. Our own token count is in `usage`.
"""

from timmy.models.evaluate import Accepted, Declined, judge, work_prompt
from timmy.models.protocol import Completion, Delta, Finish, Prompt, Provider, ProviderDown, ProviderRefused, Usage

__all__ = [
    "Accepted",
    "Completion",
    "Declined",
    "Delta",
    "Finish",
    "Prompt",
    "Provider",
    "ProviderDown",
    "ProviderRefused",
    "Usage",
    "judge",
    "work_prompt",
]
